"""What a row is outside the model: images, series, tables, tensors, from uploads and to users."""

from workers.rows.codec import codec
from workers.rows.dataset import DatasetRows, dataset_rows
from workers.rows.fields import Field, RowBatch
from workers.rows.layout import laid_out
from workers.rows.row_codec import RowCodec

__all__ = ["DatasetRows", "Field", "RowBatch", "RowCodec", "codec", "dataset_rows", "laid_out"]
