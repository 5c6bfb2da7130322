"""Modules of VAEs that no bundle can be made of: the exporter says which, why, and what can be."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Distribution

from latentmill import export_vae
from latentmill.errors import InvalidBundle

ROWS = {"kind": "tensor", "shape": [6]}


class VectorQuantizer(nn.Module):
    """The nearest entry of a codebook, as in van den Oord and others, 2017."""

    def __init__(self, entries: int = 8, size: int = 4):
        super().__init__()
        self.codebook = nn.Embedding(entries, size)

    def forward(self, z):
        return self.codebook(torch.cdist(z, self.codebook.weight).argmin(dim=1))


class QuantisingEncoder(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 4), VectorQuantizer())


class CodesEncoder(nn.Module):
    """Gives the numbers of the entries, with the search written into its forward."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(6, 4)
        self.entries = nn.Parameter(torch.randn(8, 4))

    def forward(self, x):
        return torch.cdist(self.project(x), self.entries).argmin(dim=1, keepdim=True)


class VonMisesFisher(Distribution):
    """What implementations of hyperspherical VAEs return, as far as it matters here."""

    arg_constraints = {}

    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:1], loc.shape[1:])


class SphericalEncoder(nn.Module):
    """A direction, and one concentration (Davidson and others, 2018)."""

    def __init__(self):
        super().__init__()
        self.mean, self.concentration = nn.Linear(6, 4), nn.Linear(6, 1)

    def forward(self, x):
        return nn.functional.normalize(self.mean(x), dim=-1), nn.functional.softplus(self.concentration(x)) + 1


class DistributionEncoder(SphericalEncoder):
    def forward(self, x):
        return VonMisesFisher(*super().forward(x))


def decoder(size: int = 4) -> nn.Module:
    return nn.Linear(size, 6)


QUANTISING = nn.Sequential(VectorQuantizer(), nn.Linear(4, 6))
REFUSED = {
    "a quantiser in the encoder": (
        QuantisingEncoder(),
        decoder(),
        {"scale": "none"},
        ("'1', a VectorQuantizer", "VQ-VAE"),
    ),
    "a quantiser in the decoder": (nn.Linear(6, 4), QUANTISING, {"scale": "none"}, ("decoder has '0'", "VQ-VAE")),
    "codes": (CodesEncoder(), decoder(1), {"scale": "none", "latent_shape": 1}, ("whole numbers (int64)", "VQ-VAE")),
    "one concentration": (SphericalEncoder(), decoder(), {}, ("[3, 1]", "hyperspherical")),
    "a distribution on the sphere": (DistributionEncoder(), decoder(), {}, ("VonMisesFisher", "hyperspherical")),
}


@pytest.mark.parametrize("engine", ["auto", "onnx"])
@pytest.mark.parametrize("name", REFUSED)
def test_the_kind_is_named_with_the_reason_and_the_way_out(name: str, engine: str, tmp_path: Path) -> None:
    encoder, rows_of, options, says = REFUSED[name]
    options = {"latent_shape": 4, "engine": engine, **options}
    with pytest.raises(InvalidBundle) as refused:
        export_vae(tmp_path / "a.vae.zip", name="a", encoder=encoder, decoder=rows_of, rows=ROWS, **options)
    for words in (*says, "where the decoder was never trained", "gaussian latents"):
        assert words in refused.value.detail
    assert list(tmp_path.iterdir()) == []


def test_layers_of_torch_that_quantise_weights_are_something_else(tmp_path: Path) -> None:
    stub = nn.Sequential(torch.ao.quantization.FakeQuantize(), nn.Linear(6, 4))
    with pytest.raises(InvalidBundle) as refused:
        export_vae(
            tmp_path / "a.zip", name="a", encoder=stub, decoder=decoder(), rows=ROWS, latent_shape=4, scale="none",
            engine="torch",
        )  # fmt: skip
    assert "VQ-VAE" not in refused.value.detail
