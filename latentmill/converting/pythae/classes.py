"""What each of pythae's classes says of its latents and its rows, and why some cannot be a bundle."""

from dataclasses import dataclass
from typing import Any, Literal

from latentmill.errors import InvalidBundle


@dataclass(frozen=True)
class Latents:
    """The posterior that the encoder gives, the prior that pythae trains against, and whether a loss is a likelihood.

    flow: the decoder sees z = flow(z0), where z0 has the gaussian posterior. moved: what it sees has no posterior
    that an encoder gives, only the prior. likelihood: False where rows are compared otherwise than value by value.
    """

    scale: Literal["log_variance", "none"] = "log_variance"
    prior: Literal["standard_normal", "mixture", "none"] = "standard_normal"
    likelihood: bool = True
    flow: bool = False
    moved: bool = False
    note: str = ""


_IMPORTANCE = "{name} weights several draws of each posterior; the encoder's gaussian is what it draws them from."
_DETERMINISTIC = Latents(scale="none", prior="none", likelihood=False)
_MOVED = Latents(moved=True)

CLASSES: dict[str, Latents] = {
    "VAE": Latents(),
    "BetaVAE": Latents(),
    "DisentangledBetaVAE": Latents(),
    "BetaTCVAE": Latents(),
    "FactorVAE": Latents(),
    "INFOVAE_MMD": Latents(),
    "Adversarial_AE": Latents(),
    "MSSSIM_VAE": Latents(likelihood=False, note="MSSSIM_VAE compares pictures by their structure: no noise is known."),
    "VAEGAN": Latents(likelihood=False, note="VAEGAN compares rows by what a discriminator sees: no noise is known."),
    "IWAE": Latents(note=_IMPORTANCE),
    "CIWAE": Latents(note=_IMPORTANCE),
    "MIWAE": Latents(note=_IMPORTANCE),
    "PIWAE": Latents(note=_IMPORTANCE),
    "VAMP": Latents(prior="mixture"),
    "AE": _DETERMINISTIC,
    "RAE_L2": _DETERMINISTIC,
    "RAE_GP": _DETERMINISTIC,
    "WAE_MMD": Latents(scale="none", likelihood=False),
    "VAE_LinNF": Latents(flow=True),
    "VAE_IAF": Latents(flow=True),
    "HVAE": _MOVED,
    "RHVAE": _MOVED,
}

_GAUSSIAN = "Train a class with gaussian latents on the same rows, VAE or BetaVAE, or RAE_L2 without noise."
_QUANTISED = (
    "each latent is an entry of its codebook, the nearest one, so that no row has a gaussian posterior, and what a "
    "density of means gives lies between the entries, where the decoder was never trained. Its codes need a model of "
    f"their own, such as pythae's PixelCNNSampler. {_GAUSSIAN}"
)
_REFUSED = {
    "VQVAE": f"VQVAE is a VQ-VAE: {_QUANTISED}",
    "HRQVAE": f"HRQVAE is a hierarchical VQ-VAE: {_QUANTISED}",
    "SVAE": (
        "SVAE is a hyperspherical VAE: its latents lie on the unit sphere, around a direction with a concentration, "
        "which a mean and a std do not say, and gaussian draws lie beside the sphere, where the decoder was never "
        f"trained. {_GAUSSIAN}"
    ),
    "PoincareVAE": (
        "PoincareVAE has latents in a hyperbolic ball: their density is not gaussian in the numbers that the decoder "
        f"takes, and gaussian draws leave the ball. {_GAUSSIAN}"
    ),
}


def latents_of(name: str) -> Latents:
    """What is known of pythae's class `name`. Raises InvalidBundle for one that cannot be a bundle, or is unknown."""
    if name in _REFUSED:
        raise InvalidBundle(f"It cannot be a bundle: {_REFUSED[name]}")
    if name not in CLASSES:
        raise InvalidBundle(
            f"{name} is not one of pythae's classes that Latentmill knows ({', '.join(CLASSES)}). Give its networks to "
            "latentmill.export_vae, with what they mean: encoder, decoder, scale, prior and likelihood."
        )
    return CLASSES[name]


def likelihood_of(name: str, config: dict[str, Any], *, own_loss: bool) -> tuple[dict[str, Any], str]:
    """The likelihood that the loss of `name` means, and what the user should know of it."""
    if own_loss:
        return {"kind": "point"}, "The model has a loss of its own: no noise around its rows is known."
    loss = config.get("reconstruction_loss", "mse")
    if not CLASSES[name].likelihood:
        return {"kind": "point"}, ""
    if name == "HVAE" and loss == "bce":
        return {"kind": "point"}, "HVAE's bce takes what is decoded for logits: rows are those, as pythae gives them."
    if loss == "bce":
        return {"kind": "bernoulli"}, ""
    return {"kind": "gaussian", "std": 1.0}, (
        "pythae's mse is half the sum of squares: gaussian noise of std 1 around every value, which jobs with output "
        '"sample" add. Give a likelihood to draw with another std.'
    )
