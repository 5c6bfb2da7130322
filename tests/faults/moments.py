"""A kill in the middle of what is not a shard: everything that a worker does ends as if nothing had happened."""

import signal
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import psutil
from sqlalchemy import select

from latentmill.demo.digits import load
from latentmill.launcher import children_of
from latentmill.resources.datasets import Dataset
from latentmill.resources.fits import Fit
from latentmill.resources.reports import Report
from service.tables import EncodingRow
from service.work import Kind
from tests.acceptance.conftest import DEMO_BUNDLE
from tests.faults.follower import following
from tests.faults.holders import seize
from tests.faults.mill import LONGEST_SECONDS, Mill, until
from tests.faults.promises import assert_nothing_left_over, assert_whole

MEASURED = ("mismatch", "candidates", "floors", "recommendation")
FAMILY = {"kind": "mixture", "components": 2}
FEW = 8  # shards of a job whose end is what counts
MOST_TRIES = 20  # to meet something that takes milliseconds
KINDS: tuple[Kind, ...] = ("inspect", "read", "encode", "fit", "report", "finalize")


@dataclass(frozen=True)
class Begun:
    """Something that a worker will do, and how to see afterwards that it was done right."""

    subject_id: str
    check: Callable[[], None]


class Subjects:
    """What is done again and again, killed in the middle; and what comes of it when nobody is."""

    def __init__(self, mill: Mill) -> None:
        self.mill = mill
        self.client = mill.client
        self.images = load().training[:300]

    @cached_property
    def dataset(self) -> Dataset:
        return self.client.datasets.add(self.images, name=fresh("undisturbed")).wait(LONGEST_SECONDS)

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        fit = self.client.fits.create(self.mill.model, self.dataset, family=FAMILY).wait(LONGEST_SECONDS)
        found = fit.parameters()
        fit.delete()
        return found

    @cached_property
    def measured(self) -> dict[str, object]:
        return measured(self._report())

    def inspect(self) -> Begun:
        model = self.client.models.add(DEMO_BUNDLE, name=fresh("model"))

        def check() -> None:
            model.wait(LONGEST_SECONDS)
            assert model.data["manifest"] == self.mill.model.data["manifest"]
            model.delete()

        return Begun(model.id, check)

    def read(self) -> Begun:
        dataset = self.client.datasets.add(self.images, name=fresh("dataset"))

        def check() -> None:
            assert dataset.wait(LONGEST_SECONDS).data["digest"] == self.dataset.data["digest"]
            dataset.delete()

        return Begun(dataset.id, check)

    def encode(self) -> Begun:
        dataset = self.client.datasets.add(self.images, name=fresh("dataset")).wait(LONGEST_SECONDS)
        expected = self.parameters
        fit = self.client.fits.create(self.mill.model, dataset, family=FAMILY)
        of_dataset = select(EncodingRow.id).where(EncodingRow.dataset_id == dataset.id)
        with self.mill.database.reading() as session:
            encoding_id = session.execute(of_dataset).scalar_one()

        def check() -> None:
            assert_equal(fit.wait(LONGEST_SECONDS), expected)
            fit.delete()
            dataset.delete()

        return Begun(encoding_id, check)

    def fit(self) -> Begun:
        expected = self.parameters  # and with that the encoding is there
        fit = self.client.fits.create(self.mill.model, self.dataset, family=FAMILY)

        def check() -> None:
            assert_equal(fit.wait(LONGEST_SECONDS), expected)
            fit.delete()

        return Begun(fit.id, check)

    def report(self) -> Begun:
        expected = self.measured
        report = self._report()

        def check() -> None:
            assert measured(report) == expected
            report.delete()

        return Begun(report.id, check)

    def finalize(self) -> Begun:
        job = self.mill.submit("finalize", shards=FEW)

        def check() -> None:
            with following(self.mill, job) as follower:
                job.wait(LONGEST_SECONDS)
            assert_whole(self.mill, job, self.mill.undisturbed[:FEW], follower)

        return Begun(job.id, check)

    def _report(self) -> Report:
        return self.client.reports.create(self.mill.model, self.dataset, candidates=[{"kind": "gaussian"}], rows=50)


def kill_during(subjects: Subjects, kinds: Sequence[Kind]) -> None:
    """For each kind, SIGKILL the process that is in the middle of such an item; it is done all the same."""
    checks: list[Callable[[], None]] = []
    for kind in kinds:
        for _ in range(MOST_TRIES):
            begun: Begun = getattr(subjects, kind)()
            item = seize(subjects.mill, kind, begun.subject_id)
            if item is not None:
                item.signal(signal.SIGKILL)
                checks.append(begun.check)
                break
            begun.check()  # it was faster than we
        else:
            raise AssertionError(f"never met a worker at a {kind}")
    for check in checks:  # all of them recover at once
        check()
    until(lambda: not left_sandboxes(subjects.mill), "the sandboxes of killed workers have ended")
    assert_nothing_left_over(subjects.mill)


def left_sandboxes(mill: Mill) -> list[int]:
    """Sandboxes whose worker is gone: they came to the launcher, as orphans do. Each child keeps one of its own."""
    launcher = mill.stack.children["prompt"].launcher_id
    assert launcher is not None
    found = []
    for pid in children_of(launcher):
        with suppress(psutil.NoSuchProcess):
            one = psutil.Process(pid)
            if "workers.sandbox" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def fresh(word: str) -> str:
    """A name that nothing has."""
    return f"{word}-{uuid.uuid4().hex[:12]}"


def assert_equal(fit: Fit, expected: dict[str, np.ndarray]) -> None:
    """The fit has these parameters, to the bit."""
    found = fit.parameters()
    assert sorted(found) == sorted(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def measured(report: Report) -> dict[str, object]:
    """What the report measured, once it is there."""
    report.wait(LONGEST_SECONDS)
    return {name: report.data[name] for name in MEASURED}
