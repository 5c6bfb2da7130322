"""Previews: a few rows at once."""

import builtins
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidRequest
from latentmill.resources.disk import write_whole
from latentmill.resources.jobs import Job
from latentmill.resources.models import Model
from latentmill.resources.resource import plain
from latentmill.transport import JsonObject, Transport, json_of

PATH = "/v1/previews"
SUFFIXES = (".png", ".npz", ".json")
SHOWN_INDICES = 8
Array = NDArray[Any]


class Preview:
    """A few rows. `data` is the service's answer: strategy, seed, indices, labels, execution, warnings."""

    def __init__(self, transport: Transport, body: JsonObject, data: JsonObject) -> None:
        self._transport = transport
        self._body = body
        self.data = data

    def __repr__(self) -> str:
        whose = self.data["job"] or self.data["model"]
        more = ", ..." if len(self) > SHOWN_INDICES else ""
        return f"<preview of {whose}: rows {', '.join(map(str, self.indices[:SHOWN_INDICES]))}{more}>"

    def __len__(self) -> int:
        return len(self.data["rows"])

    @property
    def seed(self) -> int:
        return int(self.data["seed"])

    @property
    def indices(self) -> list[int]:
        """The numbers of the rows in their job, counted from 0."""
        return list(self.data["indices"])

    @property
    def labels(self) -> list[str] | None:
        """The class of each row, where rows have one."""
        labels = self.data["labels"]
        return None if labels is None else list(labels)

    @property
    def latents(self) -> Array | None:
        """(n, *latent shape) float32, when `include_latents` asked for them."""
        latents = self.data["latents"]
        return None if latents is None else np.array(latents, np.float32)

    @property
    def rows(self) -> Array | dict[str, Array]:
        """The rows as one array, as the shards of a job hold them; of a table one array for each column.

        In a column of numbers a missing value is NaN, in any other it is None.
        """
        if self.data["row_kind"] != "table":
            return np.array(self.data["rows"], self.data["dtype"])
        names = self.data["rows"][0]
        return {name: _column([row[name] for row in self.data["rows"]]) for name in names}

    def png(self) -> bytes:
        """The rows, which must be images, as one picture."""
        again = {name: value for name, value in self._body.items() if name != "include_latents"}
        if self.data["job"] is None:
            again |= {"seed": self.seed, "strategy": self.data["strategy"]}
        return _asked(self._transport, again, "image/png").content

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the rows, as the suffix says: images as one .png, arrays as .npz, the whole answer as .json."""
        path = Path(path)
        match path.suffix.lower():
            case ".png":
                return write_whole(path, self.png())
            case ".npz":
                return write_whole(path, self._npz())
            case ".json":
                return write_whole(path, json.dumps(self.data, ensure_ascii=False).encode())
        raise InvalidRequest(f"{path.name}: a preview is saved as one of {', '.join(SUFFIXES)}")

    def _npz(self) -> bytes:
        if isinstance(self.rows, dict):
            raise InvalidRequest("The columns of a table are no arrays of one kind; save it as .json")
        arrays = {"rows": self.rows, "latents": self.latents}
        if self.labels is not None:
            arrays["labels"] = np.array(self.labels)
        file = BytesIO()
        np.savez(file, allow_pickle=False, **{name: array for name, array in arrays.items() if array is not None})
        return file.getvalue()


class Previews:
    """What asks for previews."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        model: str | Model | None = None,
        *,
        strategy: Mapping[str, Any] | None = None,
        rows: int | None = None,
        seed: int | None = None,
        indices: Sequence[int] | None = None,
        job: str | Job | None = None,
        output: Literal["mean", "sample"] | None = None,
        include_latents: bool | None = None,
    ) -> Preview:
        """The first `rows` rows (8 when left out), or those of `indices`, by any strategy; with `job` its very rows."""
        which = {"rows": rows, "indices": indices if indices is None else builtins.list(indices)}
        how = {"seed": seed, "output": output, "include_latents": include_latents}
        body = plain({"model": model, "strategy": strategy, "job": job, **which, **how})
        body = {name: value for name, value in body.items() if value is not None}
        return Preview(self._transport, body, json_of(_asked(self._transport, body, "application/json")))


def _asked(transport: Transport, body: JsonObject, accept: str) -> httpx.Response:
    return transport.request("POST", PATH, repeatable=True, json=body, headers={"Accept": accept})


def _column(values: list[Any]) -> Array:
    missing = any(value is None for value in values)
    if missing and all(isinstance(value, float) for value in values if value is not None):
        return np.array([np.nan if value is None else value for value in values])
    return np.array(values, object if missing else None)
