"""Which of diffusers' autoencoders can be a bundle: AutoencoderKL. What the others are, and what to do instead."""

from latentmill.errors import InvalidBundle

KNOWN = "AutoencoderKL"

_MODULES = (
    'Give its modules to latentmill.export_vae, encoder and decoder, with scale="none" and prior={"kind": "none"}.'
)
_IMAGES = (
    "Latentmill takes rows of fixed shape up to four channels; an AutoencoderKL of single images can be converted."
)
_REFUSED = {
    "VQModel": (
        "a VQ-VAE: each latent is the nearest entry of its codebook, so that no row has a gaussian posterior, and what "
        "a density of means gives lies between the entries, where the decoder was never trained. Its codes need a "
        "model of their own; for gaussian latents train or take an AutoencoderKL."
    ),
    "AutoencoderTiny": f"deterministic, and made to imitate another's latents: it has no posterior. {_MODULES}",
    "AutoencoderDC": f"deterministic: its encoder gives latents without a posterior. {_MODULES}",
    "AutoencoderRAE": f"deterministic: its encoder gives features without a posterior. {_MODULES}",
    "AsymmetricAutoencoderKL": (
        "made for inpainting: its decoder takes a masked image beside the latents, which a draw does not have. Take "
        "the AutoencoderKL that it was made from."
    ),
    "ConsistencyDecoderVAE": (
        "decoding by a diffusion model, which draws noise of its own for every row: equal latents give other rows. "
        "Take the AutoencoderKL whose latents it decodes."
    ),
}
_VIDEO = (
    "Video", "Wan", "CogVideoX", "Mochi", "Allegro", "Magvit", "Cosmos", "TemporalDecoder", "VidTok", "QwenImage",
    "MiniMaxH3",
)  # fmt: skip
_SOUND = ("Audio", "Oobleck", "Vocoder", "AutoencoderSAME")


def check_class(name: object, folder: str) -> None:
    """Raises InvalidBundle, saying what the class is, for anything but an AutoencoderKL."""
    if name == KNOWN:
        return
    if not isinstance(name, str):
        raise InvalidBundle(
            f"config.json of {folder} names no class: it is not what diffusers' save_pretrained writes."
        )
    if name in _REFUSED:
        raise InvalidBundle(f"It cannot be a bundle: {name} is {_REFUSED[name]}")
    if any(word in name for word in _SOUND):
        raise InvalidBundle(f"It cannot be a bundle: {name} is an autoencoder of sound. {_IMAGES}")
    if any(word in name for word in _VIDEO):
        raise InvalidBundle(f"It cannot be a bundle: {name} is an autoencoder of video, or of frames. {_IMAGES}")
    raise InvalidBundle(
        f"{name} is not a class of diffusers' that can be converted; {KNOWN} is. If it has an encoder that gives mean "
        "and log variance, and a decoder, give these to latentmill.export_vae."
    )
