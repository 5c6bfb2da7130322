"""Published checkpoints through the exporter: the bundle encodes and decodes as the modules do, or it is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latentmill import export_vae
from tests.burgess import LATENT_SIZE, load_burgess
from workers.models import load_vae, open_bundle
from workers.readers.dataset import read_dataset

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"


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


class OneHead(nn.Module):
    """The published encoder up to its last layer, whose outputs are a mean and a log variance in turn."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return torch.stack(self.encoder(x), dim=-1).flatten(1)


@pytest.mark.skipif(not IMAGES.is_file(), reason=f"MNIST is not beside the checkout ({IMAGES})")
def test_interleaved_heads_of_a_published_vae_declared_as_halves_are_found_out(tmp_path):
    """The mistake that this layout invites: the halves of its last layer are neither means nor scales."""
    encoder, decoder = load_burgess("VAE_mnist")
    images = np.load(read_dataset(IMAGES, IMAGES.name, out_dir=tmp_path).rows_path)[:200]
    notes = {}
    for head in ("chunked", "interleaved"):
        notes[head] = export_vae(
            tmp_path / f"{head}.vae.zip",
            name=head,
            encoder=OneHead(encoder),
            decoder=decoder,
            rows={"kind": "image", "shape": [1, 28, 28], "range": [0, 1]},
            latent_shape=[LATENT_SIZE],
            head=head,
            likelihood={"kind": "bernoulli"},
            examples=images,
        ).notes
    said = [note for note in notes["chunked"] if "is declared as" in note]
    assert len(said) == 1
    assert "decoding works when they are read as head 'interleaved' with scale 'log_variance'" in said[0]
    assert not any("is declared as" in note for note in notes["interleaved"])
