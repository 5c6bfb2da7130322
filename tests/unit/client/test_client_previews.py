"""Previews by the client and by the command line: arrays of the right kind, and files."""

import json

import numpy as np
import pytest

from latentmill.errors import InvalidRequest

IMAGES = {
    "object": "preview", "model": "mdl_1", "job": None, "strategy": {"kind": "prior", "temperature": 1.0}, "seed": 7,
    "indices": [0, 1], "row_kind": "image", "dtype": "uint8", "rows": [[[[0, 255]]], [[[1, 2]]]], "labels": ["a", "b"],
    "latents": [[0.10000000149011612], [-1.5]], "execution": {}, "warnings": ["odd"],
}  # fmt: skip
PREVIEW = "POST /v1/previews"
PNG = (200, {"Content-Type": "image/png"}, b"\x89PNG")


def test_rows_are_arrays_and_are_saved(peer, client, tmp_path) -> None:
    peer.documents["/v1/previews"] = IMAGES
    shown = client.previews.create("m", strategy={"kind": "prior"}, rows=2, include_latents=True)
    assert json.loads(peer.requests[0].body) == {
        "model": "m", "strategy": {"kind": "prior"}, "rows": 2, "include_latents": True
    }  # fmt: skip
    assert (shown.rows.dtype, shown.rows.shape, shown.rows.max()) == (np.uint8, (2, 1, 1, 2), 255)
    np.testing.assert_array_equal(shown.latents, np.array([[0.1], [-1.5]], np.float32))
    assert (shown.labels, shown.indices, len(shown)) == (["a", "b"], [0, 1], 2)
    with np.load(shown.save(tmp_path / "a.npz")) as saved:
        assert set(saved) == {"rows", "latents", "labels"}
        np.testing.assert_array_equal(saved["rows"], shown.rows)
    assert json.loads(shown.save(tmp_path / "a.json").read_text()) == IMAGES
    with pytest.raises(InvalidRequest, match=r"\.png, \.npz, \.json"):
        shown.save(tmp_path / "a.gif")
    peer.first(PREVIEW, PNG)
    assert shown.save(tmp_path / "a.png").read_bytes() == b"\x89PNG"
    assert peer.requests[-1].headers["Accept"] == "image/png"
    assert json.loads(peer.requests[-1].body) == {
        "model": "m", "strategy": IMAGES["strategy"], "rows": 2, "seed": 7
    }, "the picture is of the same rows"  # fmt: skip


def test_a_table_is_one_array_for_each_column(peer, client, tmp_path) -> None:
    rows = [{"n": 1.5, "i": 3, "c": "x", "b": True}, {"n": None, "i": 4, "c": None, "b": False}]
    peer.documents["/v1/previews"] = IMAGES | {"row_kind": "table", "dtype": None, "rows": rows, "latents": None}
    shown = client.previews.create(job="job_1", indices=np.array([4, 5]))
    assert json.loads(peer.requests[0].body) == {"job": "job_1", "indices": [4, 5]}
    assert shown.latents is None
    np.testing.assert_array_equal(shown.rows["n"], [1.5, np.nan])
    assert shown.rows["i"].dtype.kind == "i"
    assert shown.rows["c"].tolist() == ["x", None]
    assert shown.rows["b"].dtype == bool
    with pytest.raises(InvalidRequest, match="json"):
        shown.save(tmp_path / "a.npz")


def test_the_command_prints_or_saves(run_on_peer, peer, tmp_path) -> None:
    peer.documents["/v1/previews"] = IMAGES
    words = ["--strategy", "aggregate", "--fit", "f", "--rows", "2", "--seed", "7"]
    printed = run_on_peer("preview", "m", *words)
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout) == IMAGES
    assert "warning: odd" in printed.stderr
    strategy = {"kind": "aggregate", "fit": "f"}
    assert json.loads(peer.requests[-1].body) == {"model": "m", "strategy": strategy, "rows": 2, "seed": 7}
    peer.first(PREVIEW, (200, {"Content-Type": "application/json"}, json.dumps(IMAGES | {"job": "j"}).encode()), PNG)
    saved = run_on_peer("preview", "--job", "j", "--indices", "0, 1", "--out", tmp_path / "grid.png")
    assert saved.exit_code == 0, saved.output
    assert "grid.png: 2 rows (seed 7)" in saved.stderr
    assert (tmp_path / "grid.png").read_bytes() == b"\x89PNG"
    assert [json.loads(request.body) for request in peer.requests[-2:]] == [{"job": "j", "indices": [0, 1]}] * 2


def test_a_job_gives_its_rows_a_few_at_a_time(peer, client, replies) -> None:
    peer.documents |= {"/v1/jobs/job_1": replies.job("job_1", "running"), "/v1/jobs/job_1/rows": {"rows": [[1], [2]]}}
    assert client.jobs.get("job_1").rows(5, 2) == {"rows": [[1], [2]]}
    assert peer.requests[-1].query == {"first": ["5"], "count": ["2"]}


@pytest.mark.parametrize(
    "words", [["m"], ["m", "--strategy", "prior", "--out", "a.gif"], ["--job", "j", "--indices", "0,x"]]
)
def test_misuse_is_status_2(run_on_peer, peer, words) -> None:
    assert run_on_peer("preview", *words).exit_code == 2
    assert peer.requests == []
