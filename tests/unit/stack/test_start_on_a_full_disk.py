"""`latentmill up` where the disk has no room: it says so, and leaves nothing running."""

from pathlib import Path

import psutil
import pytest

from latentmill.errors import StorageFull
from latentmill.stack import Stack
from tests.small_disk import fill, small_disk


@pytest.mark.parametrize("left", [0, 16_384])
def test_a_stack_without_room_does_not_start_and_says_why(tmp_path: Path, left: int) -> None:
    before = set(psutil.Process().children(recursive=True))
    with small_disk(tmp_path / "small", "1m") as disk:
        fill(disk, leave_bytes=left)
        with pytest.raises(StorageFull, match="no space left for"), Stack(data_dir=disk / "data", port=0):
            pass
    assert set(psutil.Process().children(recursive=True)) <= before
