"""Reports: which strategy to use, with the evidence."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from latentmill.resources.datasets import Dataset
from latentmill.resources.disk import write_whole
from latentmill.resources.models import Model
from latentmill.resources.resource import Collection, Resource


class Report(Resource):
    """Measured diagnostics and a recommendation, in `data`."""

    path = "/v1/reports"
    noun = "report"

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page that shows the report."""
        page = self._transport.get(self.address, accept="text/html").content
        return write_whole(Path(path), page)


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
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Report:
        """Measure the candidates on `dataset` under `model`."""
        asked = {"reference": reference, "candidates": candidates, "rows": rows, "seed": seed}
        return self._create({"model": model, "dataset": dataset, **asked, "name": name, "metadata": metadata})
