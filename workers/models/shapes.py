"""The shapes that networks give against those that the manifest says, without running them."""

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from latentmill.specs.bundle import Encoder
from workers.models.architectures.registry import Networks
from workers.models.dry_run import dry_run
from workers.models.heads import expected_outputs, learns_std, posterior_of
from workers.models.labels import conditions
from workers.models.limits import BundleLimits


def check_shapes(networks: Networks, manifest: VaeManifest, limits: BundleLimits) -> int:
    """The networks give what the manifest says for batches of 1 and of 3 rows. Returns the most values per row."""
    most = 1
    for rows in (1, 3):
        y = conditions(torch.zeros(rows, dtype=torch.int64, device="meta"), manifest) if manifest.labels else None
        latents = torch.empty(rows, *manifest.latent.shape, device="meta")
        outputs, values = dry_run(networks.decoder, latents, y, part="decoder", limits=limits)
        _check_decoded(outputs, manifest, rows)
        most = max(most, values)
        if networks.encoder is not None:
            x = torch.empty(rows, *manifest.rows.shape, device="meta")
            outputs, values = dry_run(networks.encoder, x, y, part="encoder", limits=limits)
            _check_encoded(outputs, manifest, rows)
            most = max(most, values)
    return most


def _check_decoded(outputs: tuple[Tensor, ...], manifest: VaeManifest, rows: int) -> None:
    wanted = 2 if learns_std(manifest) else 1
    if len(outputs) != wanted:
        raise InvalidBundle(
            f"The decoder gives {len(outputs)} values, not {wanted}: x, and a std where the likelihood learns one.",
            pointer="/architecture/decoder/outputs",
        )
    shape = tuple(outputs[0].shape)
    expected = (rows, *manifest.rows.shape)
    categories = manifest.likelihood.kind == "categorical" and shape[:-1] == expected
    if shape != expected and not categories:
        raise InvalidBundle(
            f"The decoder gives rows of shape {list(shape[1:])} ({rows} latents gave {list(shape)}), but rows says "
            f"{list(manifest.rows.shape)}: correct rows.shape, or end the decoder with a Reshape.",
            pointer="/rows/shape",
        )


def _check_encoded(outputs: tuple[Tensor, ...], manifest: VaeManifest, rows: int) -> None:
    declared = manifest.encoder or Encoder()
    wanted = expected_outputs(declared)
    if len(outputs) != wanted:
        raise InvalidBundle(
            f"The encoder gives {len(outputs)} values, but head {declared.head!r} with scale {declared.scale!r} needs "
            f"{wanted}: pair means (mean, scale); chunked and interleaved mean one value that holds both.",
            pointer="/encoder/head",
        )
    if any(output.shape[:1] != (rows,) for output in outputs):
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise InvalidBundle(
            f"The encoder gives {shapes} for {rows} rows: the batch axis must stay first and free.",
            pointer="/architecture/encoder",
        )
    posterior_of(outputs, manifest)
