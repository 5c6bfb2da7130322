"""When things are deleted by themselves, as people and programs say it; and the limits, shown."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from latentmill.durations import seconds_of
from latentmill.errors import InvalidRequest, LimitReached
from tests.unit.client.test_client_uploads import parts_of

MODEL = {"object": "model", "id": "mdl_1", "name": None, "state": "ready", "error": None, "warnings": []}
JOB = {**MODEL, "object": "job", "id": "job_1", "state": "succeeded"}
WHEN = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _documents(peer):
    peer.documents |= {"/v1/jobs": JOB, "/v1/models": MODEL, "/v1/datasets": {**MODEL, "object": "dataset"}}


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("24h", 86_400), ("90d", 7_776_000), ("1.5h", 5400), ("7", 7)]
)
def test_a_duration_is_a_number_and_a_unit(text, seconds) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "0", "0s", "1w", "1e3", "1d2h", "nan", "٣d"])
def test_what_is_no_duration_is_refused(text) -> None:
    with pytest.raises(InvalidRequest, match="say 45s, 30m, 24h or 90d"):
        seconds_of(text)


def meant(fields) -> dict[str, datetime | float]:
    """What a body says of expiry."""
    found = {"expires_at": fields.get("expires_at"), "expires_in": fields.get("expires_in")}
    read = {"expires_at": datetime.fromisoformat, "expires_in": float}
    return {name: read[name](value) for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"expires_in": "2h"}, {"expires_in": 7200.0}),
        ({"expires_in": 60}, {"expires_in": 60}),
        ({"expires_in": timedelta(days=1)}, {"expires_in": 86_400.0}),
        ({"expires_at": WHEN}, {"expires_at": "2031-05-01T12:00:00+00:00"}),
        ({"expires_at": "2031-05-01T12:00:00Z"}, {"expires_at": "2031-05-01T12:00:00Z"}),
        ({}, {}),
    ],
)
def test_a_job_and_an_upload_say_it_in_the_same_words(peer, client, tmp_path, said, sent) -> None:
    (tmp_path / "m.vae.zip").write_bytes(b"bundle")
    client.jobs.create("m", strategy={"kind": "prior"}, rows=1, **said)
    client.models.add(tmp_path / "m.vae.zip", **said)
    client.datasets.add([[1.0]], **said)
    job, model, dataset = peer.requests
    body = json.loads(job.body)
    assert meant(body) == meant(sent)
    for upload in (model, dataset):
        assert meant(
            {name: value.decode() for name, (file, value) in parts_of(upload).items() if file is None}
        ) == meant(sent)


def test_the_command_line_takes_both(run, peer, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", peer.url)
    (tmp_path / "m.vae.zip").write_bytes(b"bundle")
    added = run("models", "add", str(tmp_path / "m.vae.zip"), "--expires-in", "90d")
    assert added.exit_code == 0, added.output
    assert parts_of(peer.requests[0])["expires_in"][1] == b"7776000.0"
    wrong = run("models", "add", str(tmp_path / "m.vae.zip"), "--expires-in", "soon")
    assert (wrong.exit_code, "say 45s, 30m, 24h or 90d" in wrong.stderr) == (1, True)


def test_limits_are_shown_with_what_is_used(run, peer, monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", peer.url)
    usage = {"stored_bytes": 1500, "planned_bytes": 70, "running_jobs": 1, "queued_jobs": 0}
    peer.documents["/v1/limits"] = {"stored_bytes": 20_000, "queued_jobs": None, "tenant": "acme", "usage": usage}
    shown = run("limits")
    assert shown.exit_code == 0, shown.output
    assert "tenant acme" in shown.output
    assert [line.split() for line in shown.output.splitlines() if "_" in line] == [
        ["stored_bytes", "20,000", "1,500"],
        ["queued_jobs", "none", "0"],
    ]
    assert "about 70 bytes" in shown.output


def test_a_request_that_came_too_often_is_made_again_also_where_others_would_not_be(peer, client, replies) -> None:
    peer.first("DELETE /v1/models/m", replies.problem(LimitReached(), **{"Retry-After": "0"}))
    peer.documents["/v1/models/m"] = {}
    client.models.delete("m")
    assert len(peer.asked("DELETE /v1/models/m")) == 2
