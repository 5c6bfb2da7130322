"""Encoder outputs as mean and std, by every declared head and scale, against values worked out by hand."""

import pytest
import torch

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.heads import posterior_of, std_of

STD = torch.tensor([[0.5, 2.0, 1e-3], [1.0, 3.0, 7.0]])
MEAN = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
RAW = {"log_variance": STD.square().log(), "log_std": STD.log(), "variance": STD.square(), "std": STD}


def manifest(scale: str, head: str, shape: tuple[int, ...] = (3,)) -> VaeManifest:
    return VaeManifest.model_validate(
        {
            "schema": 1,
            "name": "m",
            "engine": "torch",
            "latent": {"shape": shape},
            "rows": {"kind": "tensor", "shape": [4]},
            "encoder": {"scale": scale, "head": head},
            "architecture": {"name": "mlp"},
        }
    )


@pytest.mark.parametrize("scale", list(RAW))
@pytest.mark.parametrize("head", ["pair", "chunked", "interleaved"])
def test_heads_and_scales(scale: str, head: str) -> None:
    raw = RAW[scale]
    outputs = {
        "pair": (MEAN, raw),
        "chunked": (torch.cat([MEAN, raw], dim=1),),
        "interleaved": (torch.stack([MEAN, raw], dim=2).reshape(2, 6),),
    }[head]
    mean, std = posterior_of(outputs, manifest(scale, head))
    assert torch.equal(mean, MEAN)
    torch.testing.assert_close(std, STD, rtol=1e-5, atol=0)


def test_a_std_below_zero_counts_as_its_size_and_a_variance_below_zero_as_none() -> None:
    assert std_of(torch.tensor([-0.3, 0.3]), "std").tolist() == pytest.approx([0.3, 0.3])
    assert std_of(torch.tensor([-0.3, 4.0]), "variance").isnan().tolist() == [True, False]


def test_a_deterministic_encoder_has_no_std() -> None:
    mean, std = posterior_of((MEAN,), manifest("none", "pair"))
    assert torch.equal(mean, MEAN)
    assert torch.equal(std, torch.zeros_like(MEAN))


def test_chunked_halves_the_channels_of_spatial_latents() -> None:
    both = torch.arange(2 * 4 * 3.0).reshape(2, 4, 3, 1)
    mean, std = posterior_of((both,), manifest("std", "chunked", (2, 3, 1)))
    assert torch.equal(mean, both[:, :2].reshape(2, 6))
    assert torch.equal(std, both[:, 2:].reshape(2, 6))
    with pytest.raises(InvalidBundle, match="halves axis 1, which has 3 entries"):
        posterior_of((torch.zeros(2, 3, 4),), manifest("std", "chunked", (6,)))
    with pytest.raises(InvalidBundle, match="needs 12 values per row"):
        posterior_of((torch.zeros(2, 11),), manifest("std", "interleaved", (6,)))
