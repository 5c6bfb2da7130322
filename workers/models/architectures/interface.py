"""What an architecture is: from numbers to an encoder and a decoder without weights. Operators add their own."""

from typing import Any, Protocol

from torch import nn

from latentmill.specs import VaeManifest
from workers.models.limits import BundleLimits

ENTRY_POINTS = "latentmill.architectures"


class Architecture(Protocol):
    """A function (numbers, manifest, limits) -> (encoder or None, decoder), found by the name in `vae.json`.

    `numbers` is what stands in the field architecture beside the name: JSON that a stranger wrote. The function checks
    each of them, its type and a bound, before it makes anything, and raises InvalidBundle with a pointer
    ("/architecture/width") and the way out; a number that it does not know is refused, too. `manifest` says what rows,
    latents, labels and heads there are; what the architecture cannot have it refuses. `limits` are the operator's:
    what is made is held to them afterwards, by a run without memory, so that a bound of the numbers has only to keep
    the making itself short (a million layers, say).

    The encoder takes (x, y), the decoder (z, y): float32 tensors with the batch axis first, x of manifest.rows.shape, z
    of manifest.latent.shape, y the labels (one-hot float, or the index), None where there are none. Both return a tuple
    of tensors, batch axis first: the decoder (x,), or (x, std) where the likelihood learns one; the encoder what its
    head says: (mean, scale), or one tensor that holds both, or (mean,) with scale "none". There is no encoder where
    manifest.encoder is None. In evaluation mode a row's result depends on that row alone, and on no random number.

    Weights are called `encoder.<name>` and `decoder.<name>` in the bundle, after the names in each state_dict. The
    function runs under torch.device("meta"): nothing may be read, and every parameter and buffer must be in the
    state_dict, for its values come from the bundle (no buffer with persistent=False).
    """

    def __call__(
        self, numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits, /
    ) -> tuple[nn.Module | None, nn.Module]: ...
