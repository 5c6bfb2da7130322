"""What rows tell: every candidate's, beside decoded and real ones, and how near one could come at best."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from workers.randomness.streams import Stream
from workers.reporting.candidates import Candidate, baseline_of, sample_of
from workers.reporting.ground import Ground
from workers.reporting.resemblance import Resemblance, resemblances
from workers.reporting.samples import Sample, around
from workers.reporting.yardstick import Look, Quality, Yardstick, yardstick_of
from workers.rows import RowBatch

Check = Callable[[], None]


@dataclass(frozen=True, eq=False)
class RowFindings:
    """What was found by looking at rows: by candidate quality and resemblance, and the floors."""

    samples: dict[str, Sample]
    reference: Sample
    quality: dict[str, Quality]
    resemblance: dict[str, Resemblance]
    floors: dict[str, Any]
    real: RowBatch | None
    features: int


def look_at_rows(
    ground: Ground,
    candidates: Sequence[Candidate],
    *,
    seed: int,
    batch_rows: int,
    threads: int,
    check: Callable[[], None],
    progress: Callable[[float], None],
) -> RowFindings:
    """The same number of rows of each candidate, from the same seed, against decoded and real reference rows."""
    judge, subject = ground.judge, ground.subject
    reference = around(judge, ground.first, seed=seed, stream=Stream.REPORT_REFERENCE, batch_rows=batch_rows)
    floor = around(judge, ground.second, seed=seed, stream=Stream.REPORT_FLOOR, batch_rows=batch_rows)
    real = judge.delivered(ground.first) if judge.rows is not None else None
    others = _other_real_rows(ground)
    yardstick = yardstick_of(ground, reference, real, others, seed=seed)
    samples = {}
    for each in candidates:
        if each.error is None:
            check()
            samples[each.name] = sample_of(
                each, subject, reference.labels, ground.compared, seed=seed, batch_rows=batch_rows
            )
    looks = {name: yardstick.look(sample) for name, sample in samples.items()}
    progress(0.3)
    baseline = looks.get(baseline_of(candidates).name)
    floor_look = yardstick.look(floor)

    def quality(name: str) -> Quality:
        with threadpool_limits(1):
            return yardstick.quality(looks[name], baseline, floor_look, check)

    done = 0
    measured: dict[str, Quality] = {}
    with ThreadPoolExecutor(threads, thread_name_prefix="quality") as pool:
        for name, quality_of in zip(looks, pool.map(quality, looks), strict=True):
            measured[name] = quality_of
            done += 1
            progress(0.3 + 0.5 * done / len(looks))
    floors = _floors(yardstick, floor_look, check)
    alike = resemblances(ground, yardstick, samples, looks, check)
    return RowFindings(samples, reference, measured, alike, floors, real, yardstick.decoded.rows.shape[1])


def _other_real_rows(ground: Ground) -> RowBatch | None:
    """As many real rows as the reference has, none of them its own: of the dataset, where it has enough of them."""
    if ground.subject.rows is None or ground.judge.rows is None:
        return None
    if len(ground.split.fit) >= ground.compared:
        return ground.subject.delivered(ground.split.fit[: ground.compared])
    return ground.judge.delivered(ground.second)


def _floors(yardstick: Yardstick, reconstructions: Look, check: Check) -> dict[str, Any]:
    """What no candidate can beat at this n: reconstructions of other rows, and other real rows."""
    floors = {"reconstructions": reconstructions}
    if yardstick.other_rows is not None:
        real = yardstick.row_features(yardstick.other_rows)
        floors["real"] = Look(real, reconstructions.latents, yardstick.other_rows)
    return {
        name: {
            "decoded": yardstick.distances(floor, yardstick.decoded.rows, check)[0],
            "real": None if yardstick.real is None else yardstick.distances(floor, yardstick.real, check)[0],
        }
        for name, floor in floors.items()
    }
