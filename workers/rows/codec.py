"""The one place that knows which codec belongs to which kind of row."""

from latentmill.specs import ImageRows, Rows, SeriesRows, TableRows, TensorRows
from workers.rows.images import ImageCodec
from workers.rows.row_codec import RowCodec
from workers.rows.tables import TableCodec
from workers.rows.tensors import SeriesCodec, TensorCodec


def codec(rows: Rows) -> RowCodec:
    """The codec for rows of this kind."""
    match rows:
        case ImageRows():
            return ImageCodec(rows)
        case SeriesRows():
            return SeriesCodec(rows)
        case TableRows():
            return TableCodec(rows)
        case TensorRows():
            return TensorCodec(rows)
