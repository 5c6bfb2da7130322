"""Datasets: reference rows that a user uploads."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Literal

from latentmill.resources.expiry import Duration, Moment, expiry_fields
from latentmill.resources.models import Model
from latentmill.resources.resource import Collection, Resource, plain
from latentmill.resources.uploading import as_field, labels_as_file, rows_as_file


class Dataset(Resource):
    """Reference rows: `rows`, `row_shape`, `layout` of images, `labels` (counts by class), `digest`, `warnings`."""

    path = "/v1/datasets"
    noun = "dataset"


class Datasets(Collection[Dataset]):
    resource = Dataset

    def add(
        self,
        rows: Any,
        *,
        labels: Any = None,
        kind: Literal["rows", "latents"] | None = None,
        label_column: str | None = None,
        model: str | Model | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_at: Moment | None = None,
        expires_in: Duration | None = None,
    ) -> Dataset:
        """Upload rows: a path, an array, a DataFrame, or a mapping of arrays (`mean`, `std`) for kind `latents`.

        A path is a file (npz, npy, parquet, csv, idx, idx.gz, a zip of images) or a folder of images, which is zipped
        into a temporary file on the way. Images become rows in the order of their paths; where every one lies in a
        folder beside others, the folders' names are the labels. `model` names the table model whose columns the rows
        have: they are read as it has them, and what it could not encode is refused with row and column.
        """
        with ExitStack() as opened:
            files = {"file": opened.enter_context(rows_as_file(rows))}
            if labels is not None:
                files["labels"] = opened.enter_context(labels_as_file(labels))
            options = {"kind": kind, "label_column": label_column, "model": plain(model)}
            whose = {"name": name, "metadata": as_field(metadata)}
            fields = {**options, **whose, **expiry_fields(expires_at, expires_in)}
            return self._made(self._transport.upload(Dataset.path, fields, files))
