"""What modules and bundle are tried on: seeded inputs, and the rows that the user gave."""

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmill.errors import InvalidLabels
from latentmill.specs import ImageRows, TableRows, VaeManifest
from workers.models.labels import conditions

EXAMPLES_AT_MOST = 2_000
_VALUES_AT_MOST = 2**22  # of the rows of a batch; a convolutional network holds hundreds of channels of each


class Examples(NamedTuple):
    """Rows (n, *rows.shape) float32 as the model takes them, and class indices (n,) for a conditional one."""

    rows: Tensor
    labels: Tensor | None


def given_examples(manifest: VaeManifest, given: Any) -> Examples:
    """The first 2,000 of a user's rows, as an upload has them; (rows, labels) for a conditional model.

    Rows of a table may be a DataFrame with the columns that the manifest names, or encoded already. Labels are class
    indices, or the classes' names. Raises InvalidDataset, InvalidLabels or ModelMismatch.
    """
    rows, labels = given, None
    if manifest.labels is not None:
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise InvalidLabels("The model is conditional: give examples=(rows, labels).", pointer="/examples")
        rows, labels = given
    x = torch.from_numpy(np.ascontiguousarray(_as_the_model_takes_them(manifest, rows)))
    return Examples(x, None if labels is None else _indices(manifest, labels, len(x)))


def _as_the_model_takes_them(manifest: VaeManifest, rows: Any) -> NDArray[np.float32]:
    if isinstance(manifest.rows, TableRows) and not isinstance(rows, Tensor | np.ndarray | list | tuple):
        from latentmill.tables.frames import as_frame
        from latentmill.tables.table import ProposedTable

        return ProposedTable(manifest.rows, {}).encode(as_frame(rows).head(EXAMPLES_AT_MOST))
    from workers.rows import codec

    array = np.asarray(rows.detach().cpu() if isinstance(rows, Tensor) else rows)[:EXAMPLES_AT_MOST]
    return codec(manifest.rows).to_model(array)


def _indices(manifest: VaeManifest, labels: Any, rows: int) -> Tensor:
    assert manifest.labels is not None
    classes = manifest.labels.classes
    said = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)[:EXAMPLES_AT_MOST].ravel()
    if said.dtype.kind not in "iu":
        places = {name: place for place, name in enumerate(classes)}
        unknown = sorted({str(label) for label in said} - set(places))
        if unknown:
            raise InvalidLabels(f"The examples' label {unknown[0]!r} is not among the classes {list(classes)[:10]}.")
        said = np.array([places[str(label)] for label in said])
    if len(said) != rows or (rows and not 0 <= said.min() <= said.max() < len(classes)):
        raise InvalidLabels(
            f"The examples need one label for each of {rows} rows, from 0 to {len(classes) - 1} or by its class's name."
        )
    return torch.from_numpy(said.astype(np.int64))


def bounded_rows(manifest: VaeManifest, wanted: int) -> int:
    """`wanted`, or fewer where rows are large, but two: 64 pictures of 512 x 512 would take 100 GB to decode."""
    return min(wanted, max(2, _VALUES_AT_MOST // prod(manifest.rows.shape)))


def example_rows(manifest: VaeManifest, rows: int, seed: int) -> Tensor:
    """Rows as an encoder takes them: within the declared range for images, standard normal for the others."""
    generator = torch.Generator().manual_seed(seed)
    declared = manifest.rows
    if isinstance(declared, ImageRows) and declared.mean is None:
        low, high = declared.range
        return low + (high - low) * torch.rand(rows, *declared.shape, generator=generator)
    return torch.randn(rows, *declared.shape, generator=generator)


def example_latents(manifest: VaeManifest, rows: int, seed: int) -> Tensor:
    """Standard normal latents (rows, *latent.shape)."""
    flat = torch.randn(rows, prod(manifest.latent.shape), generator=torch.Generator().manual_seed(seed))
    return flat.reshape(rows, *manifest.latent.shape)


def example_labels(manifest: VaeManifest, rows: int) -> Tensor | None:
    """Class indices (rows,), every class in turn; None for a model without labels."""
    return None if manifest.labels is None else torch.arange(rows) % len(manifest.labels.classes)


def example_conditions(manifest: VaeManifest, rows: int) -> Tensor | None:
    """`example_labels` as the modules take them: one-hot, or the index."""
    labels = example_labels(manifest, rows)
    return None if labels is None else conditions(labels, manifest)
