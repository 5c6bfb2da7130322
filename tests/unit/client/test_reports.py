"""Reports on the client's side: the table, the recommendation, and what to type next."""

import json

import pytest

from latentmill.columns import with_error
from latentmill.errors import DataError

CANDIDATES = [
    {
        "name": "prior", "strategy": {"kind": "prior"}, "gain": None, "marks": [], "error": None,
        "quality": {"decoded": {"kernel_distance": {"value": 0.512, "standard_error": 0.0214}}, "real": None},
    },
    {
        "name": "mixture", "strategy": {"kind": "aggregate", "fit": "fit_1"}, "fit": "fit_1", "marks": [],
        "gain": {"value": 1.23456, "standard_error": 0.05},
        "quality": {
            "decoded": {"kernel_distance": {"value": 0.001, "standard_error": 0.002}},
            "real": {"kernel_distance": {"value": 0.1, "standard_error": 0.02}},
        },
    },
    {"name": "flow", "strategy": None, "marks": ["memorises"], "error": "too few rows", "gain": None, "quality": {}},
]  # fmt: skip
REPORT = {
    "object": "report", "id": "rep_1", "name": None, "state": "ready", "error": None, "warnings": ["few rows"],
    "model": "mdl_1", "dataset": "dat_1", "progress": 1.0, "created_at": "2026-01-02T03:04:05Z",
    "settings": {"rows": 1000, "reference": "held out from the fit; the VAE may have trained on them"},
    "candidates": CANDIDATES,
    "recommendation": {
        "strategy": {"kind": "aggregate", "fit": "fit_1", "temperature": 1.0}, "candidate": "mixture",
        "reason": "Use the mixture. It halves the distance.", "evidence": "clear",
    },
}  # fmt: skip
QUEUED = REPORT | {"state": "queued", "recommendation": None, "candidates": [], "progress": 0.25}


def test_a_report_is_waited_for_and_printed(run_on_peer, peer, tmp_path) -> None:
    peer.documents |= {"/v1/reports": QUEUED, "/v1/reports/rep_1": REPORT}
    result = run_on_peer("report", "m", "d", "--reference", "t", "--rows", 1000, "--seed", 3)
    assert result.exit_code == 0, result.output
    asked = json.loads(peer.asked("POST /v1/reports")[0].body)
    assert asked == {"model": "m", "dataset": "d", "reference": "t", "rows": 1000, "seed": 3}
    assert "warning: few rows" in result.stderr
    assert result.stdout.splitlines() == [
        "report rep_1",
        "1,000 rows of each candidate; reference: held out from the fit; the VAE may have trained on them",
        "   candidate  gain over the prior, nats  kernel distance to decoded rows  to real rows",
        "   prior      -                          0.512 ± 0.021                    -",
        "→  mixture    1.235 ± 0.050              0.0010 ± 0.0020                  0.100 ± 0.020",
        "   flow       -                          -                                -              memorises; failed: "
        "too few rows",
        "mixture (clear)",
        "Use the mixture. It halves the distance.",
        "next: latentmill generate m --strategy aggregate --fit fit_1 --rows N --out DIR",
    ]


def test_the_page_is_written_and_json_is_json(run_on_peer, peer, replies, tmp_path) -> None:
    peer.documents |= {"/v1/reports": REPORT, "/v1/reports/rep_1": REPORT}
    peer.first("GET /v1/reports/rep_1", (200, {"Content-Type": "text/html"}, b"<!doctype html>"))
    result = run_on_peer("report", "m", "d", "--out", tmp_path / "r.html", "--json")
    assert json.loads(result.stdout) == REPORT
    assert (tmp_path / "r.html").read_bytes() == b"<!doctype html>"
    assert peer.asked("GET /v1/reports/rep_1")[0].headers["Accept"] == "text/html"


def test_a_report_without_an_answer_gives_no_command(run_on_peer, peer) -> None:
    said = {"strategy": None, "reason": "Only 40 rows are held out.", "evidence": "too few rows"}
    peer.documents["/v1/reports"] = REPORT | {"recommendation": said}
    result = run_on_peer("report", "m", "d")
    assert result.stdout.splitlines()[-2:] == ["no recommendation (too few rows)", "Only 40 rows are held out."]


def test_a_failed_report_is_an_error(run_on_peer, peer) -> None:
    problem = DataError("row 7: std is NaN").problem().model_dump()
    peer.documents["/v1/reports"] = QUEUED | {"state": "failed", "error": problem}
    result = run_on_peer("report", "m", "d")
    assert result.exit_code == 1
    assert "error: row 7: std is NaN" in result.stderr


def test_reports_are_listed_shown_and_deleted(run_on_peer, peer) -> None:
    peer.documents |= {
        "/v1/reports": {"data": [REPORT, QUEUED | {"id": "rep_2"}], "next_cursor": None},
        "/v1/reports/rep_1": REPORT,
        "/v1/reports/rep_2": QUEUED | {"id": "rep_2", "candidates": CANDIDATES[:1]},
    }
    listed = run_on_peer("reports", "list", "--model", "m").stdout.splitlines()
    assert listed[0].split()[3:] == ["model", "dataset", "use", "evidence", "created"]
    assert "aggregate" in listed[1]
    assert peer.requests[0].query["model"] == ["m"]
    assert "next: latentmill generate mdl_1" in run_on_peer("reports", "show", "rep_1").stdout
    unready = run_on_peer("reports", "show", "rep_2").stdout
    assert "0.25" in unready
    assert "next:" not in unready
    assert "deleted rep_1" in run_on_peer("reports", "delete", "rep_1").stderr
    assert peer.asked("DELETE /v1/reports/rep_1")


def test_a_report_in_python_is_its_table(client, peer, tmp_path) -> None:
    peer.documents |= {"/v1/reports": QUEUED, "/v1/reports/rep_1": REPORT}
    made = client.reports.create("m", "d", candidates=[{"kind": "gaussian"}], holdout=0.2)
    assert json.loads(peer.requests[0].body)["candidates"] == [{"kind": "gaussian"}]
    assert str(made) == "<report rep_1: queued>"
    made.wait()
    assert "→  mixture" in str(made)
    assert made.recommendation["evidence"] == made.data["recommendation"]["evidence"] == "clear"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.05, "1.235 ± 0.050"),
        (1234.5, 99.0, "1234 ± 99"),
        (-0.00012, 0.0000345, "-0.000120 ± 0.000034"),
        (3.14159, 0, "3.142"),
        (float("inf"), 0.1, "inf"),
        (None, 0.1, "-"),
    ],
)
def test_an_estimate_has_the_digits_that_its_error_allows(value, error, text) -> None:
    assert with_error({"value": value, "standard_error": error}) == text
