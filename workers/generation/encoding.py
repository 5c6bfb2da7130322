"""A dataset through the encoder: the pipeline backwards.

file -> floats        a thread, a few batches ahead
floats -> posteriors  here, on the device
posteriors -> file    here too: they are small
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.errors import InvalidLabels, ModelMismatch
from workers.disk import disk_errors
from workers.generation.conveyor import Conveyor
from workers.generation.decoding import device_errors, on_device
from workers.models import Vae
from workers.posteriors.encoding import DIGEST_BYTES, EncodingWriter
from workers.rows import DatasetRows, codec

DEPTH = 2  # batches that wait between two stages
HEAD_TEST_ROWS = 2_000

Labels = NDArray[np.int64] | None
HeadTest = Callable[[Vae, NDArray[np.float32], Labels], list[str]]


@dataclass(frozen=True, slots=True)
class EncodingSummary:
    """What came of an encoding; `deterministic` where every std is 0."""

    rows: int
    deterministic: bool
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows from `first_row` as the model takes them, their classes in the model, and what tells them apart."""

    first_row: int
    rows: NDArray[np.float32]
    labels: Labels
    digests: NDArray[np.uint8]


def encode_dataset(
    vae: Vae,
    rows: DatasetRows,
    labels: NDArray[np.int32] | None,
    out_path: Path,
    *,
    classes: tuple[str, ...] | None,
    batch_rows: int,
    head_test: HeadTest,
    check: Callable[[], None],
    progress: Callable[[float], None],
) -> EncodingSummary:
    """Writes the posteriors of `rows` (N, ...) to `out_path`, then lets `head_test` judge the encoder by decoding.

    rows, labels: as the readers left them, memory maps at best, typed rows as `dataset_rows` gives them; `labels` are
    numbers of `classes`, and stay so in the encoding. `check` is called before each batch and may raise to stop;
    `progress` hears the fraction that is done.
    """
    number_in_model = numbers_in_model(vae, labels, classes)
    ahead: Conveyor[_Batch] = Conveyor(DEPTH)
    largest_std = 0.0
    with (
        disk_errors("an encoding was written"),
        ThreadPoolExecutor(1, thread_name_prefix="encode") as threads,
        EncodingWriter(out_path, len(rows), vae.manifest.latent.size, labels is not None, classes=classes) as writer,
        ahead.closing(),
    ):
        threads.submit(ahead.fill, _batches(vae, rows, labels, number_in_model, batch_rows))
        for batch in ahead:
            check()
            mean, std = _encode(vae, batch)
            end = batch.first_row + len(mean)
            own_labels = None if labels is None else labels[batch.first_row : end]
            writer.write(batch.first_row, mean, std, own_labels, batch.digests)
            largest_std = max(largest_std, float(std.max()))
            progress(end / len(rows))
    return EncodingSummary(len(rows), largest_std == 0.0, _head_warnings(vae, rows, labels, number_in_model, head_test))


def copy_latents(
    rows: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    out_path: Path,
    *,
    classes: tuple[str, ...] | None,
    latent_size: int,
    check: Callable[[], None],
) -> EncodingSummary:
    """The encoding that a dataset of latents is already: rows (N, 2, ...) of means and stds."""
    total, size = len(rows), int(np.prod(rows.shape[2:]))
    if size != latent_size:
        raise ModelMismatch(f"The dataset's latents have {size:,} values, the model's {latent_size:,}")
    step = max(1, 2**20 // size)
    largest_std = 0.0
    with (
        disk_errors("an encoding was written"),
        EncodingWriter(out_path, total, size, labels is not None, classes=classes) as writer,
    ):
        for first in range(0, total, step):
            check()
            block = np.asarray(rows[first : first + step]).reshape(-1, 2, size)
            own_labels = None if labels is None else labels[first : first + step]
            writer.write(first, block[:, 0], block[:, 1], own_labels, row_digests(block))
            largest_std = max(largest_std, float(block[:, 1].max()))
    return EncodingSummary(total, largest_std == 0.0, [])


def row_digests(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, 16): the first half of the sha256 of each row's bytes."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    digests = b"".join(hashlib.sha256(row.data).digest()[:DIGEST_BYTES] for row in flat)
    return np.frombuffer(digests, np.uint8).reshape(len(rows), DIGEST_BYTES)


def _batches(
    vae: Vae,
    rows: DatasetRows,
    labels: NDArray[np.int32] | None,
    number_in_model: NDArray[np.int64] | None,
    batch_rows: int,
) -> Iterator[_Batch]:
    to_model = codec(vae.manifest.rows).to_model
    for first in range(0, len(rows), batch_rows):
        block = np.asarray(rows[first : first + batch_rows])
        classes = _model_labels(labels, number_in_model, slice(first, first + batch_rows))
        yield _Batch(first, to_model(block, first), classes, row_digests(block))


@torch.inference_mode()
def _encode(vae: Vae, batch: _Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with device_errors("encoder", batch.first_row, len(batch.rows)):
        labels = None if batch.labels is None else on_device(batch.labels, vae.device)
        mean, std = vae.encode(on_device(batch.rows, vae.device), labels)
        return mean.cpu().numpy(), std.cpu().numpy()


def numbers_in_model(
    vae: Vae, labels: NDArray[np.int32] | None, classes: tuple[str, ...] | None
) -> NDArray[np.int64] | None:
    """For each class of the dataset its number in a conditional model, which matches classes by their text."""
    if vae.manifest.labels is None:
        return None
    if labels is None or classes is None:
        raise InvalidLabels(f"The model {vae.manifest.name!r} is conditional, but the dataset has no labels")
    numbers = {name: number for number, name in enumerate(vae.manifest.labels.classes)}
    if unknown := [name for name in classes if name not in numbers]:
        raise InvalidLabels(
            f"The model {vae.manifest.name!r} does not know the class {unknown[0]!r} of the dataset; "
            f"it knows {', '.join(list(numbers)[:10])}"
        )
    return np.array([numbers[name] for name in classes], np.int64)


def _model_labels(
    labels: NDArray[np.int32] | None, number_in_model: NDArray[np.int64] | None, where: slice | NDArray[np.int64]
) -> Labels:
    if labels is None or number_in_model is None:
        return None
    return number_in_model[labels[where]]


def _head_warnings(
    vae: Vae,
    rows: DatasetRows,
    labels: NDArray[np.int32] | None,
    number_in_model: NDArray[np.int64] | None,
    head_test: HeadTest,
) -> list[str]:
    """The head test on at most 2,000 rows, spread evenly: files are often sorted."""
    some = np.linspace(0, len(rows) - 1, min(len(rows), HEAD_TEST_ROWS), dtype=np.int64)
    return head_test(vae, codec(vae.manifest.rows).to_model(rows[some]), _model_labels(labels, number_in_model, some))
