"""Fits: densities fitted to aggregate posteriors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load

from latentmill.resources.datasets import Dataset
from latentmill.resources.models import Model
from latentmill.resources.resource import Collection, Resource


class Fit(Resource):
    """An aggregate posterior: `family`, `diagnostics`, `progress`."""

    path = "/v1/fits"
    noun = "fit"

    @property
    def diagnostics(self) -> dict[str, Any]:
        return dict(self.data.get("diagnostics") or {})

    def parameters(self) -> "dict[str, np.ndarray[Any, Any]]":
        """The fitted parameters by name."""
        return load(self._transport.get(f"{self.address}/parameters", accept="*/*").content)


class Fits(Collection[Fit]):
    resource = Fit

    def create(
        self,
        model: str | Model,
        dataset: str | Dataset,
        *,
        family: Mapping[str, Any],
        by_label: bool | None = None,
        holdout: float | None = None,
        seed: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Fit:
        """Fit `family` to the aggregate posterior of `dataset` under `model`."""
        optional = {"by_label": by_label, "holdout": holdout, "seed": seed, "name": name, "metadata": metadata}
        return self._create({"model": model, "dataset": dataset, "family": family, **optional})
