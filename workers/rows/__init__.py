"""What a row is outside the model: images, series, tables, tensors, from uploads and to users."""

from workers.rows.codec import codec
from workers.rows.fields import Field, RowBatch
from workers.rows.layout import laid_out
from workers.rows.row_codec import RowCodec

__all__ = ["Field", "RowBatch", "RowCodec", "codec", "laid_out"]
