"""What a worker does with a newly uploaded bundle: open it, run it, measure it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle, OutOfMemory
from latentmill.specs import ImageRows, MeasuredExecution, TableRows, VaeManifest
from workers.devices import DeviceKind, is_out_of_memory
from workers.models.architectures.registry import build
from workers.models.bundle import Bundle, open_bundle
from workers.models.limits import DEFAULT_LIMITS, BundleLimits
from workers.models.measuring import measure
from workers.models.rows_alone import try_rows
from workers.models.shapes import check_shapes
from workers.models.vae import Vae, load_vae

_PROBABILITY_SLACK = 1e-3
_PROBABILITIES = {"bernoulli": "Sigmoid", "categorical": "Softmax"}  # likelihoods, and what makes logits fit them


@dataclass(frozen=True)
class Inspection:
    """What an accepted bundle is, how fast it decodes on each device, and what its owner should know."""

    manifest: VaeManifest
    executions: dict[str, MeasuredExecution]
    warnings: list[str]


def inspect_bundle(
    path: Path, *, devices: list[DeviceKind], threads: int, limits: BundleLimits = DEFAULT_LIMITS
) -> Inspection:
    """Open the bundle at `path`, run it on seeded input and measure it on `devices`; InvalidBundle where it fails."""
    inspection = try_bundle(path, devices=devices, threads=threads, limits=limits)
    refuse_unmeasured(inspection.executions, devices)
    return inspection


def try_bundle(
    path: Path,
    *,
    devices: list[DeviceKind],
    threads: int,
    limits: BundleLimits = DEFAULT_LIMITS,
    sha256: str | None = None,
) -> Inspection:
    """As `inspect_bundle`, but it may fit into the memory of none of the devices: others may be measured elsewhere."""
    bundle = open_bundle(path, limits=limits, sha256=sha256)
    values_per_row = _values_per_row(bundle)
    vae = load_vae(bundle, inspected=True)
    tried = try_rows(vae)
    warnings = [*_check_decoder(vae, *tried.decoded), *_check_encoder(vae, tried.encoded)]
    executions, more = _measured(bundle, devices, threads, values_per_row)
    return Inspection(bundle.manifest, executions, [*warnings, *more])


def measured_on(
    path: Path, devices: list[DeviceKind], *, threads: int, limits: BundleLimits, sha256: str
) -> tuple[dict[str, MeasuredExecution], list[str]]:
    """How fast the bundle at `path`, which was tried already, decodes on `devices`; and warnings."""
    bundle = open_bundle(path, limits=limits, sha256=sha256)
    return _measured(bundle, devices, threads, _values_per_row(bundle))


def _values_per_row(bundle: Bundle) -> int:
    """The most values that one step holds for a row, once the steps are seen to fit together."""
    if bundle.manifest.engine == "onnx":
        from workers.models.onnx.checking import check_graphs

        return check_graphs(bundle)
    return check_shapes(build(bundle.manifest, bundle.limits), bundle.manifest, bundle.limits)


def _measured(
    bundle: Bundle, devices: list[DeviceKind], threads: int, values_per_row: int
) -> tuple[dict[str, MeasuredExecution], list[str]]:
    executions: dict[str, MeasuredExecution] = {}
    warnings: list[str] = []
    for device in devices:
        try:
            vae = _loaded(bundle, device, threads)
        except InvalidBundle as error:
            if device == "cpu":
                raise
            warnings.append(error.detail)  # it runs on the CPU: what is wrong is this device, not the bundle
            continue
        measured = None
        if vae is not None:
            measured, more = measure(
                vae, device, threads=threads, values_per_row=values_per_row, row_bytes=row_bytes(bundle.manifest)
            )
            warnings += more
        if measured is None:
            warnings.append(f"A batch of 64 rows does not fit into the memory of this worker's device {device}.")
        else:
            executions[device] = measured
    return executions, warnings


def _loaded(bundle: Bundle, device: DeviceKind, threads: int) -> Vae | None:
    """The model on the device; None where that has no memory for it."""
    try:
        return load_vae(bundle, device=device, threads=threads, inspected=True)
    except (RuntimeError, MemoryError, OutOfMemory) as error:
        if not is_out_of_memory(error):
            raise
        return None


def refuse_unmeasured(executions: Mapping[str, MeasuredExecution], devices: Iterable[DeviceKind]) -> None:
    """A model that fits into no device is of no use."""
    if not executions:
        raise InvalidBundle(
            f"A batch of 64 rows does not fit into the memory of any device here ({', '.join(devices)}); "
            "make the decoder's widest layers narrower."
        )


def row_bytes(manifest: VaeManifest) -> int:
    """Bytes of one delivered row before compression."""
    rows = manifest.rows
    if isinstance(rows, TableRows):
        return 8 * len(rows.columns)
    values = torch.Size(rows.shape).numel()
    return values if isinstance(rows, ImageRows) and rows.dtype == "uint8" else 4 * values


def _check_decoder(vae: Vae, rows: Tensor, std: Tensor | None = None) -> list[str]:
    """Decoded values of N(0, I) draws are finite; for a Bernoulli likelihood they look like probabilities."""
    _refuse_infinite(rows, "decoder gives", "latents drawn from N(0, I)")
    if std is not None:
        _refuse_infinite(std, "decoder's std has", "latents drawn from N(0, I)")
    low, high = float(rows.min()), float(rows.max())
    kind = vae.manifest.likelihood.kind
    if kind in _PROBABILITIES and (low < -_PROBABILITY_SLACK or high > 1 + _PROBABILITY_SLACK):
        return [
            f"The likelihood is {kind}, but decoded values reach from {low:.3g} to {high:.3g}: if the decoder "
            f"returns logits, end it with a {_PROBABILITIES[kind]} and export it again."
        ]
    return []


def _check_encoder(vae: Vae, encoded: tuple[Tensor, ...] | None) -> list[str]:
    """Mean and std of seeded rows within the declared range are finite."""
    if vae.manifest.encoder is None or encoded is None:
        return []
    mean, std = encoded
    _refuse_infinite(mean, "encoder's mean has", "random rows")
    scale = vae.manifest.encoder.scale
    if not bool(torch.isfinite(std).all()):
        return [
            f"The encoder's std, read from its {scale.replace('_', ' ')}, is not finite on random rows: is the scale "
            f"really {scale!r}? An encoding of real rows with such values is refused."
        ]
    return []


def _refuse_infinite(values: Tensor, what: str, given: str) -> None:
    if bad := int((~torch.isfinite(values)).sum()):
        raise InvalidBundle(f"The {what} {bad:,} of {values.numel():,} values that are NaN or infinite for {given}.")
