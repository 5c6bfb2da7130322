"""A process that parses uploads, on a disk that fills up under it: that is no fault of the upload."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from latentmill.errors import StorageFull
from tests.small_disk import small_disk


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "256k") as disk:
        yield disk


def test_rows_that_do_not_fit_are_a_full_disk(sandbox, reading):
    upload = io.BytesIO()
    np.savez_compressed(upload, rows=np.zeros((1_000, 100), np.float32))  # small as it comes, large as it is kept
    with pytest.raises(StorageFull):
        sandbox.read(reading(upload.getvalue(), "rows.npz"), check=lambda: None)
