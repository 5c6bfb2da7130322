"""Published checkpoints through the exporter: the bundle encodes and decodes as the modules do."""

import pytest
import torch

from tests.burgess import load_burgess
from workers.models import load_vae, open_bundle


@pytest.mark.parametrize("checkpoint", ["VAE_mnist", "factor_mnist"])
def test_a_published_vae_does_in_the_bundle_what_its_modules_do(checkpoint, burgess_bundle):
    vae = load_vae(open_bundle(burgess_bundle(checkpoint)))
    encoder, decoder = load_burgess(checkpoint)
    images = torch.rand(33, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    latents = torch.randn(33, 10, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        mean, log_variance = encoder(images)
        decoded = decoder(latents)
    ours, std = vae.encode(images)
    assert torch.allclose(ours, mean, atol=1e-5)
    assert torch.allclose(std, torch.exp(0.5 * log_variance), atol=1e-5)
    assert torch.allclose(vae.decode(latents), decoded, atol=1e-5)
    assert vae.manifest.architecture["encoder"]["steps"][0]["layer"] == "Upsample"
    assert vae.manifest.architecture["decoder"]["steps"][-1]["layer"] == "Upsample"
