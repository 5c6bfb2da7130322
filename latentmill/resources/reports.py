"""Reports: which strategy to use, with the evidence."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from latentmill.columns import aligned, with_error
from latentmill.resources.datasets import Dataset
from latentmill.resources.disk import write_whole
from latentmill.resources.models import Model
from latentmill.resources.resource import Collection, Resource


class Report(Resource):
    """Measured diagnostics and a recommendation, in `data`. As text it is a table and the recommendation."""

    path = "/v1/reports"
    noun = "report"

    def __str__(self) -> str:
        return "\n".join(self.summary()) if self.state == "ready" else repr(self)

    @property
    def recommendation(self) -> dict[str, Any]:
        """The `strategy` to use (None where nothing can be said), the `reason` and the `evidence`."""
        return dict(self.data.get("recommendation") or {})

    def summary(self) -> list[str]:
        """The lines of a table of the candidates, and the recommendation; `→` stands before the recommended one."""
        settings = self.data.get("settings") or {}
        over = "prior" if any(each.get("name") == "prior" for each in self.data["candidates"]) else "diagonal gaussian"
        gain, distance = f"gain over the {over}, nats", "kernel distance to decoded rows"
        head = ["", "candidate", gain, distance, "to real rows", ""]
        chosen = self._recommended_name()
        table = [head, *(_cells(each, each.get("name") == chosen) for each in self.data["candidates"])]
        about = [f"{settings['rows']:,} rows of each candidate"] if settings.get("rows") else []
        about += [f"reference: {settings['reference']}"] if settings.get("reference") else []
        said = self.recommendation
        verdict = f"{chosen or 'no recommendation'} ({said['evidence']})" if said.get("evidence") else ""
        return [
            *filter(None, ["; ".join(about)]),
            *aligned(table),
            *filter(None, [verdict, said.get("reason")]),
        ]

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page that shows the report."""
        page = self._transport.get(self.address, accept="text/html").content
        return write_whole(Path(path), page)

    def _recommended_name(self) -> str | None:
        strategy = self.recommendation.get("strategy")
        if strategy is None:
            return None
        named = self.recommendation.get("candidate")
        same = (each.get("name") for each in self.data["candidates"] if each.get("strategy") == strategy)
        return named or next(same, None) or str(strategy.get("kind"))


class Reports(Collection[Report]):
    resource = Report

    def create(
        self,
        model: str | Model,
        dataset: str | Dataset,
        *,
        reference: str | Dataset | None = None,
        candidates: Sequence[Mapping[str, Any]] | Literal["default"] | None = None,
        rows: int | None = None,
        seed: int | None = None,
        holdout: float | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Report:
        """Measure the candidates on rows held out of `dataset` under `model`, or on `reference`."""
        asked = {"reference": reference, "candidates": candidates, "rows": rows, "seed": seed, "holdout": holdout}
        return self._create({"model": model, "dataset": dataset, **asked, "name": name, "metadata": metadata})


def _cells(candidate: Mapping[str, Any], chosen: bool) -> list[str]:
    quality = candidate.get("quality") or {}
    distances = [with_error((quality.get(to) or {}).get("kernel_distance")) for to in ("decoded", "real")]
    remarks = [*(candidate.get("marks") or []), *([f"failed: {candidate['error']}"] if candidate.get("error") else [])]
    return [
        "→" if chosen else "",
        str(candidate.get("name", "")),
        with_error(candidate.get("gain")),
        *distances,
        "; ".join(remarks),
    ]
