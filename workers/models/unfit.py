"""VAEs whose posteriors are not gaussian: why they cannot be bundles, and what can."""

_INSTEAD = (
    'Train a VAE with gaussian latents on the same rows, or an autoencoder without noise, which has the scale "none".'
)

QUANTISED = (
    "Whole numbers for latents are the codes of a VQ-VAE: a latent is the nearest entry of a codebook, so no row has a "
    "gaussian posterior, and what a density fitted to them gives lies between the entries, where the decoder was never "
    f"trained. {_INSTEAD}"
)
SPHERICAL = (
    "One scale for all values of a latent is the concentration of a hyperspherical VAE: its latents lie on the unit "
    "sphere, which a mean and a std do not say, and gaussian draws lie beside it, where the decoder was never trained. "
    f"{_INSTEAD} If it is one std for all values, expand it to the shape of the mean."
)
