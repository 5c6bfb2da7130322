"""Downloads: resumed, verified, whole or not there."""

import json

import pytest

from latentmill.errors import Conflict, NotReady, StorageFault, VerificationFailed
from latentmill.resources.dataset_folder import verify_dataset

SHARD = "/v1/jobs/job_1/shards/1"
NAME = "data-00001-of-00003.npz"


@pytest.fixture
def content(peer):
    return peer.add_dataset()


@pytest.fixture
def job(client, content):
    return client.jobs.get("job_1")


def held(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_is_fetched_and_verified(job, content, tmp_path) -> None:
    seen = []
    folder = job.download(tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "out"
    assert held(folder) == content
    assert seen[-1] == (900_000, 900_000)
    verified = verify_dataset(folder)
    assert (verified.job, verified.files, verified.rows, verified.size_bytes) == ("job_1", 3, 30, 900_000)


def test_a_broken_connection_is_resumed_where_it_broke(peer, job, content, tmp_path) -> None:
    peer.breaks[SHARD] = [100_000, 50_000]
    assert held(job.download(tmp_path)) == content
    asked = [request.headers["Range"] for request in peer.asked(f"GET {SHARD}")]
    assert asked[0] is None
    first, second = (int(value.removeprefix("bytes=").removesuffix("-")) for value in asked[1:])
    assert 0 < first <= 100_000
    assert first < second <= 150_000


def test_a_second_run_goes_on_and_keeps_what_is_right(peer, job, content, tmp_path) -> None:
    (tmp_path / "data-00000-of-00003.npz").write_bytes(content["data-00000-of-00003.npz"])
    (tmp_path / f"{NAME}.part").write_bytes(content[NAME][:120_000])
    (tmp_path / "data-00002-of-00003.npz").write_bytes(b"damaged")
    progress = []
    assert held(job.download(tmp_path, progress=lambda done, total: progress.append(done))) == content
    assert progress[-1] == 900_000
    assert peer.asked("GET /v1/jobs/job_1/shards/0") == []
    assert [request.headers["Range"] for request in peer.asked(f"GET {SHARD}")] == ["bytes=120000-"]


@pytest.mark.parametrize("beginning", [b"x" * 120_000, b"x" * 300_000, b"x" * 400_000])
def test_a_wrong_beginning_is_thrown_away(peer, job, content, tmp_path, beginning) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(beginning)
    progress = []
    assert held(job.download(tmp_path, progress=lambda done, total: progress.append(done))) == content
    assert progress[-1] == 900_000


def test_wrong_bytes_are_never_published(peer, job, tmp_path) -> None:
    peer.files[SHARD] = b"y" * 300_000
    with pytest.raises(VerificationFailed, match=NAME):
        job.download(tmp_path)
    assert NAME not in held(tmp_path)
    assert "manifest.json" not in held(tmp_path)
    assert len(peer.asked(f"GET {SHARD}")) == 2


def test_a_manifest_cannot_write_outside_the_folder(peer, job, tmp_path) -> None:
    manifest = json.loads(peer.files["/v1/jobs/job_1/manifest"])
    manifest["shards"][1]["name"] = "../outside.npz"
    peer.files["/v1/jobs/job_1/manifest"] = json.dumps(manifest).encode()
    with pytest.raises(VerificationFailed, match=r"manifest\.json cannot be read"):
        job.download(tmp_path / "out")
    assert not (tmp_path / "outside.npz").exists()


def test_sums_that_disagree_with_the_manifest_are_refused(peer, job, tmp_path) -> None:
    peer.files["/v1/jobs/job_1/files/SHA256SUMS"] = f"{'0' * 64}  {NAME}\n".encode()
    with pytest.raises(VerificationFailed, match="disagree"):
        job.download(tmp_path)


def test_a_job_without_a_manifest_is_not_ready(peer, job, replies, tmp_path) -> None:
    peer.first("GET /v1/jobs/job_1/manifest", replies.problem(NotReady("job job_1 is running")))
    with pytest.raises(NotReady, match="is running"):
        job.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_of_a_job_that_failed_come_without_a_manifest(job, content, tmp_path) -> None:
    assert held(job.download(tmp_path, partial=True)) == {
        name: data for name, data in content.items() if name.startswith("data-")
    }


def test_a_folder_that_cannot_be_made_is_named(job, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFault, match="file"):
        job.download(tmp_path / "file" / "out")


def test_a_folder_with_another_jobs_files_is_refused_and_left_as_it_is(job, content, tmp_path) -> None:
    other = json.dumps(json.loads(content["manifest.json"]) | {"job": "job_2"}).encode()
    (tmp_path / "manifest.json").write_bytes(other)
    with pytest.raises(Conflict, match="holds the dataset of job_2"):
        job.download(tmp_path)
    assert held(tmp_path) == {"manifest.json": other}
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "data-00000-of-00009.npz.part").write_bytes(b"half of something else")
    with pytest.raises(Conflict, match="data-00000-of-00009"):
        job.download(tmp_path)


def test_verify_names_every_difference(job, tmp_path) -> None:
    job.download(tmp_path)
    (tmp_path / NAME).write_bytes(b"y" * 300_000)
    (tmp_path / "data-00002-of-00003.npz").unlink()
    with pytest.raises(VerificationFailed, match="2 of 3 files") as caught:
        verify_dataset(tmp_path)
    assert {error.pointer: error.message for error in caught.value.errors} == {
        NAME: "differs from its checksum",
        "data-00002-of-00003.npz": "is missing",
    }
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(VerificationFailed, match="not a complete dataset folder"):
        verify_dataset(tmp_path)
