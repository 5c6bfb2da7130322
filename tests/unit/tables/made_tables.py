"""Any tables: a few rows of columns of every kind, with missing values anywhere."""

import pandas as pd
from hypothesis import strategies as st

NUMBERS = st.floats(-1e12, 1e12).map(lambda value: round(value, 6))
INTEGERS = st.integers(-(2**22), 2**22)
TEXTS = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() and text.isprintable())
COLUMN = st.sampled_from(["number", "integer", "boolean", "text"])
OF_KIND = {"number": NUMBERS, "integer": INTEGERS, "boolean": st.booleans(), "text": TEXTS}
DTYPES = {"number": "Float64", "integer": "Int64", "boolean": "boolean", "text": "string"}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """A few rows of any columns that vary, with missing values anywhere."""
    rows = draw(st.integers(2, 12))
    columns = {}
    for number in range(draw(st.integers(1, 5))):
        kind = draw(COLUMN)
        some = OF_KIND[kind] | st.none() if draw(st.booleans()) else OF_KIND[kind]
        varies = st.lists(some, min_size=rows, max_size=rows).filter(
            lambda values: len(set(values)) > 1 and any(value is not None for value in values)
        )
        columns[f"{kind} {number}"] = pd.Series(draw(varies), dtype=DTYPES[kind])
    return pd.DataFrame(columns)
