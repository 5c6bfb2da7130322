"""What the service relies on in storage; a further implementation joins by a line in `storage`."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latentmill.errors import NotFound, StorageFault, StorageFull
from service.settings import MIB, Settings
from service.storage import Storage, open_storage
from service.storage.storage import PIECE_BYTES
from tests.small_disk import small_disk

OPENERS: dict[str, Callable[[Path], Storage]] = {
    "local": lambda folder: open_storage(Settings(data_dir=folder)),
}


@pytest.fixture(params=OPENERS)
def storage(request, tmp_path) -> Storage:
    return OPENERS[request.param](tmp_path / "data")


def keys(storage: Storage, prefix: str = "ten_1") -> list[str]:
    return [file.key for file in storage.list(prefix)]


def content(storage: Storage, key: str) -> bytes:
    return b"".join(storage.read(key))


def test_what_was_put_is_read_whole_and_by_ranges(storage, tmp_path):
    data = os.urandom(3 * PIECE_BYTES + 17)
    source = tmp_path / "source"
    source.write_bytes(data)
    storage.put("ten_1/jobs/job_1/0-1-ab.npz", source)
    pieces = list(storage.read("ten_1/jobs/job_1/0-1-ab.npz"))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert b"".join(storage.read("ten_1/jobs/job_1/0-1-ab.npz", 5, 10)) == data[5:15]
    assert b"".join(storage.read("ten_1/jobs/job_1/0-1-ab.npz", PIECE_BYTES - 3)) == data[PIECE_BYTES - 3 :]
    assert b"".join(storage.read("ten_1/jobs/job_1/0-1-ab.npz", 7, 0)) == b""
    assert storage.size_bytes("ten_1/jobs/job_1/0-1-ab.npz") == len(data)
    with storage.as_file("ten_1/jobs/job_1/0-1-ab.npz") as path:
        assert path.read_bytes() == data


def test_an_existing_key_takes_the_same_bytes_and_no_others(storage):
    storage.put_bytes("ten_1/a", b"one")
    storage.put_bytes("ten_1/a", b"one")
    with pytest.raises(StorageFault, match="other bytes"):
        storage.put_bytes("ten_1/a", b"two")
    assert content(storage, "ten_1/a") == b"one"


def test_a_file_from_another_file_system_is_copied_in(storage):
    if not os.path.isdir("/dev/shm"):
        pytest.skip("this machine has no second file system to take a file from")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as source:
        source.write(b"elsewhere")
        source.flush()
        storage.put("ten_1/a", Path(source.name))
        storage.put("ten_1/a", Path(source.name))
    assert content(storage, "ten_1/a") == b"elsewhere"


def test_what_was_put_outlives_its_source(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    storage.put("ten_1/a", source)
    source.unlink()
    assert content(storage, "ten_1/a") == b"bytes"
    source.write_bytes(b"other bytes")
    with pytest.raises(StorageFault, match="other bytes"):
        storage.put("ten_1/a", source)


def test_an_upload_is_hashed_and_there_only_after_its_commit(storage):
    with storage.receive("ten_1/upload") as incoming:
        incoming.write(b"some ")
        incoming.write(b"bytes")
        assert storage.size_bytes("ten_1/upload") is None
        assert keys(storage) == []
        incoming.commit()
    assert incoming.size_bytes == 10
    assert incoming.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert content(storage, "ten_1/upload") == b"some bytes"


def test_an_upload_without_a_commit_leaves_nothing(storage, tmp_path):
    with storage.receive("ten_1/upload") as incoming:
        incoming.write(b"half")
    with pytest.raises(KeyError), storage.receive("ten_1/upload") as incoming:  # noqa: PT012
        incoming.write(b"half")
        raise KeyError
    assert keys(storage) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_listing_is_of_one_folder_sorted_with_sizes(storage):
    for key in ("ten_1/jobs/b", "ten_1/jobs/a/x", "ten_1/jobs2/c", "ten_2/jobs/d"):
        storage.put_bytes(key, key.encode())
    assert keys(storage, "ten_1/jobs") == ["ten_1/jobs/a/x", "ten_1/jobs/b"]
    assert keys(storage) == ["ten_1/jobs/a/x", "ten_1/jobs/b", "ten_1/jobs2/c"]
    assert keys(storage, "ten_3") == []
    (file,) = storage.list("ten_2")
    assert file.size_bytes == len("ten_2/jobs/d")
    assert file.modified_at.tzinfo is not None


def test_deleting_is_idempotent_and_by_folder(storage):
    for key in ("ten_1/jobs/a", "ten_1/jobs/b/x", "ten_1/other"):
        storage.put_bytes(key, b"x")
    storage.delete("ten_1/other")
    storage.delete("ten_1/other")
    storage.delete_prefix("ten_1/jobs")
    storage.delete_prefix("ten_1/jobs")
    assert keys(storage) == []
    storage.put_bytes("ten_1/jobs/a", b"again")
    assert content(storage, "ten_1/jobs/a") == b"again"


def test_what_is_not_there_is_said(storage):
    assert storage.size_bytes("ten_1/none") is None
    with pytest.raises(NotFound):
        storage.read("ten_1/none")
    with pytest.raises(NotFound), storage.as_file("ten_1/none"):
        pass


def test_a_reader_keeps_its_file_while_it_is_deleted(storage):
    data = os.urandom(2 * PIECE_BYTES)
    storage.put_bytes("ten_1/a", data)
    pieces = storage.read("ten_1/a")
    first = next(pieces)
    storage.delete("ten_1/a")
    assert first + b"".join(pieces) == data


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "a/../b", "a/./b", ".hidden", "a/.b", "a b", "a\\b", "ä", "a\n", "a\0", "x" * 513],
)
def test_keys_that_could_leave_their_folder_are_refused(storage, key):
    for use in (storage.read, storage.size_bytes, storage.delete, storage.delete_prefix):
        with pytest.raises(ValueError, match="not a storage key"):
            use(key)
    with pytest.raises(ValueError, match="not a storage key"):
        storage.put_bytes(key, b"")


def test_check_leaves_nothing(storage, tmp_path):
    storage.check()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_place_where_nothing_can_be_written_is_a_storage_fault(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    storage = OPENERS["local"](tmp_path / "data")
    for refuse in (storage.check, lambda: storage.put_bytes("ten_1/a", b"x")):
        with pytest.raises(StorageFault):
            refuse()


@pytest.fixture
def disk(tmp_path, request) -> Iterator[Path]:
    """A file system of 64 KiB, or of the size that is asked for."""
    with small_disk(tmp_path / "small", getattr(request, "param", "64k")) as folder:
        yield folder


def test_a_full_disk_is_storage_full_and_nothing_is_left_on_it(disk):
    storage = OPENERS["local"](disk)
    for size in (100_000, 2_000_000):
        with pytest.raises(StorageFull):
            storage.put_bytes("ten_1/a", b"x" * size)
    assert [path for path in disk.rglob("*") if path.is_file()] == []
    storage.put_bytes("ten_1/a", b"x" * 10_000)


@pytest.fixture
def mib() -> Callable[..., Storage]:
    """Storage in a folder, with a reserve and perhaps a capacity in MiB."""

    def open_one(folder: Path, *, reserve: float = 0, capacity: float | None = None) -> Storage:
        bounds = {"reserve_bytes": int(reserve * MIB), "capacity_bytes": capacity and int(capacity * MIB)}
        return open_storage(Settings.model_validate({"data_dir": folder, "storage": bounds}))

    return open_one


@pytest.mark.parametrize("disk", ["8m"], indirect=True)
def test_the_reserve_of_a_disk_is_left_to_others(disk, mib):
    storage = mib(disk, reserve=4)
    storage.require_room(4 * MIB)
    with pytest.raises(StorageFull, match=r"storage\.reserve_bytes"):
        storage.require_room(4 * MIB + 1)
    storage.put_bytes("ten_1/a", b"x" * MIB)
    with pytest.raises(StorageFull):
        storage.require_room(4 * MIB)
    storage.put_bytes("ten_1/b", b"x" * (3 * MIB + 1))
    storage.require_to_go_on()
    for refuse in (lambda: storage.require_room(0), storage.check):
        with pytest.raises(StorageFull):
            refuse()
    storage.put_bytes("ten_1/c", b"x" * (2 * MIB))  # what must be written may be: the reserve is for that
    with pytest.raises(StorageFull):
        storage.require_to_go_on()
    storage.delete_prefix("ten_1")
    storage.require_room(4 * MIB)


def test_a_capacity_is_of_all_that_lies_in_the_data_directory(tmp_path, mib):
    storage = mib(tmp_path, capacity=2)
    storage.require_room(2 * MIB)
    source = tmp_path / "scratch"
    source.write_bytes(b"x" * MIB)
    storage.put("ten_1/a", source)  # one file with two names
    time.sleep(0.25)  # a count of the files is believed for a moment
    with pytest.raises(StorageFull, match=r"storage\.capacity_bytes"):
        storage.require_room(MIB + 1)
    storage.require_room(MIB)
    storage.require_to_go_on()


def test_an_unknown_storage_is_refused():
    with pytest.raises(ValueError, match="no storage for"):
        open_storage(Settings.model_validate({"storage": {"url": "s3://bucket"}}))
