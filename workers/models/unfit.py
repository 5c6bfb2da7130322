"""VAEs whose posteriors are not gaussian: why they cannot be bundles, and what can."""

_INSTEAD = (
    'Train a VAE with gaussian latents on the same rows, or an autoencoder without noise, which has the scale "none".'
)

QUANTISED = (
    "In a VQ-VAE a latent is the nearest entry of a codebook, so that no row has a gaussian posterior, and what a "
    f"density fitted to them gives lies between the entries, where the decoder was never trained. {_INSTEAD}"
)
SPHERICAL = (
    "In a hyperspherical VAE latents lie on the unit sphere, around a direction with one concentration: a mean and a "
    f"std do not say that, and gaussian draws lie beside the sphere, where the decoder was never trained. {_INSTEAD}"
)
