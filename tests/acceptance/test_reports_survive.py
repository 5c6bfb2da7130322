"""Reports on the real stack: whoever dies on the way, and whoever asks twice, the content is the same."""

import signal
import time
from contextlib import suppress

import psutil
import pytest

from latentmill import Client
from latentmill.demo.digits import load
from latentmill.errors import Gone, InUse
from latentmill.resources import Report
from latentmill.resources.resource import Resource
from latentmill.stack import Stack
from tests.acceptance.test_same_bytes import compute_children

MEASURED = ("mismatch", "candidates", "floors", "recommendation")


@pytest.fixture
def asked(client: Client, demo_model: Resource):
    """Asks for a report of the demo's model on digits; the same one each time."""
    dataset = client.datasets.add(load().training, name="digits-to-report").wait()
    fit = client.fits.create(demo_model, dataset, family={"kind": "mixture", "components": 2}).wait()

    def ask() -> Report:
        candidates = [{"kind": "gaussian"}, {"kind": "aggregate", "fit": fit.id, "temperature": 0.8}]
        return client.reports.create(demo_model, dataset, candidates=candidates, rows=50)

    return ask


def measured(report: Report) -> dict:
    report.wait()
    return {name: report.data[name] for name in MEASURED}


def running(report: Report) -> Report:
    deadline = time.monotonic() + 60
    while report.refresh().state == "queued" and time.monotonic() < deadline:
        time.sleep(0.01)
    return report


@pytest.mark.full
def test_a_report_whose_worker_is_killed_is_made_again_the_same(asked, stack: Stack) -> None:
    undisturbed = measured(asked())
    report = running(asked())
    assert report.state == "running"
    for child in compute_children(stack):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGKILL)
    assert not report.refresh().ended
    assert measured(report) == undisturbed


@pytest.mark.full
def test_two_equal_reports_agree_and_one_at_work_holds_what_it_needs(asked, client: Client) -> None:
    first, second = asked(), asked()
    for name in (first.data["model"], first.data["dataset"], first.data["candidates"][2]["fit"]):
        collection = {"mdl": client.models, "dat": client.datasets, "fit": client.fits}[name[:3]]
        with pytest.raises(InUse, match=first.id):
            collection.delete(name)
    assert measured(first) == measured(second)
    assert first.data["candidates"][2]["name"].endswith("at temperature 0.8")
    third = running(asked())
    client.reports.delete(third.id)
    with pytest.raises(Gone):
        client.reports.get(third.id)
    assert measured(asked()) == measured(first)
