"""Downloads: whole, in ranges, resumed, verified."""

import base64
import hashlib

import pytest


@pytest.fixture
def job(client, model, worker):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 500}
    made = client.post("/v1/jobs", json=body).json()["id"]
    worker.shard()
    worker.shard()
    worker.finalize()
    return made


@pytest.fixture
def url(job):
    return f"/v1/jobs/{job}/shards/1"


@pytest.fixture
def data(client, url):
    return client.get(url).content


def test_a_whole_shard_can_be_verified(client, job, url):
    listed = client.get(f"/v1/jobs/{job}/shards").json()["data"][1]
    answer = client.get(url)
    sha256 = hashlib.sha256(answer.content)
    assert answer.status_code == 200
    assert listed == {
        "index": 1, "name": "data-00001-of-00002.npz", "first_row": 500, "rows": 500,
        "bytes": len(answer.content), "sha256": sha256.hexdigest(), "url": url,
    }  # fmt: skip
    assert answer.headers["etag"] == f'"sha256-{sha256.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(sha256.digest()).decode()}:"
    assert answer.headers["content-disposition"] == 'attachment; filename="data-00001-of-00002.npz"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_head_says_the_same_without_the_bytes(client, url):
    whole, head = client.get(url), client.head(url)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("etag", "content-length", "repr-digest", "accept-ranges", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-5", -5, None), ("bytes=5-99999999", 5, None),
     ("bytes = 3-3", 3, 4), ("bytes=-99999999", 0, None)],
)  # fmt: skip
def test_a_range_is_a_part_of_the_file(client, url, data, asked, start, stop):
    part = client.get(url, headers={"Range": asked})
    expected = data[start:stop]
    assert part.status_code == 206
    assert part.content == expected
    first = start if start >= 0 else len(data) + start
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(data)}"
    assert part.headers["repr-digest"] == client.head(url).headers["repr-digest"]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_of_the_file_is_416(client, url, data, asked):
    refused = client.get(url, headers={"Range": asked})
    assert (refused.status_code, refused.json()["code"]) == (416, "range_not_satisfiable")
    assert refused.headers["content-range"] == f"bytes */{len(data)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "rows=0-1", "bytes=a-b", "bytes=-", "nonsense"])
def test_what_is_no_single_range_of_bytes_is_ignored(client, url, data, asked):
    whole = client.get(url, headers={"Range": asked})
    assert (whole.status_code, whole.content) == (200, data)


def test_a_resumed_download_is_of_the_same_file_or_whole(client, url, data):
    etag = client.head(url).headers["etag"]
    resumed = client.get(url, headers={"Range": "bytes=7-", "If-Range": etag})
    assert (resumed.status_code, resumed.content) == (206, data[7:])
    for other in ('"sha256-other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        whole = client.get(url, headers={"Range": "bytes=7-", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, data)


def test_what_the_client_has_is_not_sent_again(client, url):
    etag = client.head(url).headers["etag"]
    for has in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = client.get(url, headers={"If-None-Match": has})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_redirect_false_gives_the_bytes(client, url, data):
    assert client.get(url, params={"redirect": "false"}).content == data


def test_manifest_and_files_are_there_when_the_job_has_succeeded(client, job):
    manifest = client.get(f"/v1/jobs/{job}/manifest")
    assert manifest.status_code == 200
    assert manifest.headers["content-type"] == "application/json"
    assert client.get(f"/v1/jobs/{job}/files/manifest.json").content == manifest.content
    assert client.get(f"/v1/jobs/{job}/files/SHA256SUMS").content == b"sums"
    assert client.head(f"/v1/jobs/{job}/files/README.md").headers["content-length"] == "4"
    assert client.get(f"/v1/jobs/{job}/files/nothing").status_code == 404


def test_what_is_not_made_yet_is_not_ready(client, model):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
    job = client.post("/v1/jobs", json=body).json()["id"]
    for path in ("manifest", "files/README.md", "shards/0"):
        refused = client.get(f"/v1/jobs/{job}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert client.get(f"/v1/jobs/{job}/shards/1").status_code == 404
    assert client.get(f"/v1/jobs/{job}/shards").json()["data"] == []


def test_shards_are_listed_by_number_page_by_page(client, job):
    first = client.get(f"/v1/jobs/{job}/shards", params={"limit": 1}).json()
    assert ([shard["index"] for shard in first["data"]], first["has_more"]) == ([0], True)
    rest = client.get(f"/v1/jobs/{job}/shards", params={"cursor": first["next_cursor"]}).json()
    assert ([shard["index"] for shard in rest["data"]], rest["has_more"], rest["next_cursor"]) == ([1], False, None)


def test_a_file_that_vanished_from_storage_is_a_fault_and_no_empty_answer(client, url, worker):
    for key in worker.stored_keys():
        worker.storage.delete(key)
    answer = client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_fault")
    assert answer.headers["retry-after"]
