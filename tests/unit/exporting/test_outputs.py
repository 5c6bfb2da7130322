"""What encoders and decoders return: found by place and by name, or as it was said; else refused with what there is."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from latentmill import export_vae
from latentmill.errors import InvalidBundle
from latentmill.exporting.outputs import keys_of, shown
from workers.models import load_vae, open_bundle

D = 3
ROWS = {"kind": "tensor", "shape": [5]}


class Pair(NamedTuple):
    log_var: Tensor
    mu: Tensor


@dataclass
class Output:
    """As pythae's encoders return it."""

    embedding: Tensor
    log_covariance: Tensor
    levels: Tensor | None = None


class Heads(nn.Module):
    """x -> whatever `returned(self, mean, scale)` makes of them."""

    def __init__(self, returned):
        super().__init__()
        self.mean, self.scale = nn.Linear(5, D), nn.Linear(5, D)
        self.returned = returned

    def forward(self, x):
        return self.returned(self, self.mean(x), self.scale(x))


class Decoder(nn.Module):
    def __init__(self, returned=lambda x: x):
        super().__init__()
        self.out = nn.Linear(D, 5)
        self.returned = returned

    def forward(self, z):
        return self.returned(self.out(z))


@pytest.fixture
def export(tmp_path):
    torch.manual_seed(0)

    def exported(encoder, decoder=None, **options):
        path = tmp_path / "a.vae.zip"
        made = export_vae(
            path, name="a", encoder=encoder, decoder=decoder or Decoder(), rows=ROWS, latent_shape=D, **options
        )
        return load_vae(open_bundle(path)), made

    return exported


def drawn(self, mean, scale):
    return mean + torch.exp(0.5 * scale) * torch.randn_like(mean), mean, scale


FOUND = {
    "a list": (lambda self, mean, scale: [mean, scale], {}),
    "a named tuple in another order": (lambda self, mean, scale: Pair(log_var=scale, mu=mean), {}),
    "a dictionary": (lambda self, mean, scale: {"z": mean + 1, "z_log_var": scale, "z_mean": mean}, {}),
    "an ordered dictionary": (lambda self, mean, scale: OrderedDict(loc=mean, logvar=scale), {}),
    "a dataclass": (lambda self, mean, scale: Output(mean, scale), {}),
    "the contract's words": (lambda self, mean, scale: {"mean": mean, "scale": scale}, {}),
    "z before them, said by place": (drawn, {"outputs": {"mean": 1, "scale": 2}}),
    "names of their own, said": (
        lambda self, mean, scale: {"a": scale, "b": mean},
        {"outputs": {"mean": "b", "scale": "a"}},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_mean_and_scale_are_found(name, export):
    returned, options = FOUND[name]
    encoder = Heads(returned)
    vae, made = export(encoder, **options)
    assert made.engine == "torch"
    x = torch.randn(4, 5)
    mean, std = vae.encode(x)
    torch.testing.assert_close(mean, encoder.mean(x).detach())
    torch.testing.assert_close(std, torch.exp(0.5 * encoder.scale(x)).detach())


def test_means_alone_may_stand_among_others(export):
    encoder = Heads(lambda self, mean, scale: {"embedding": mean, "hidden": scale})
    vae, _ = export(encoder, scale="none")
    x = torch.randn(4, 5)
    torch.testing.assert_close(vae.encode(x)[0], encoder.mean(x).detach())
    encoder = Heads(lambda self, mean, scale: (mean, scale))
    with pytest.raises(InvalidBundle, match=r'where mean is wanted.*outputs=\{"mean": 0\}'):
        export(encoder, scale="none")
    vae, _ = export(encoder, scale="none", outputs={"mean": 0})
    torch.testing.assert_close(vae.encode(x)[0], encoder.mean(x).detach())


DECODED = {
    "a dictionary": (lambda x: {"reconstruction": x, "z": x + 1}, {}),
    "one value": (lambda x: {"anything": x}, {}),
    "a tuple, said": (lambda x: (x + 1, x), {"outputs": {"x": 1}}),
    "the mean of two names": (lambda x: {"recon_x": x, "out": x + 1}, {"outputs": {"x": "recon_x"}}),
}


@pytest.mark.parametrize("name", DECODED)
def test_the_row_is_found(name, export):
    returned, options = DECODED[name]
    decoder = Decoder(returned)
    vae, _ = export(None, decoder, **options)
    z = torch.randn(4, D)
    torch.testing.assert_close(vae.decode(z), decoder.out(z).detach())


UNCLEAR = {
    "three": (
        drawn,
        {},
        r"3 tensors in a tuple \(0: \[3, 3\], 1: \[3, 3\], 2: \[3, 3\]\), where mean and scale are wanted",
    ),
    "nothing known": (lambda self, mean, scale: {"a": mean, "b": scale, "c": mean}, {}, r"'a': \[3, 3\].*outputs="),
    "another scale": (
        lambda self, mean, scale: {"mu": mean, "sigma": scale},
        {},
        r"returns 'sigma', but scale says 'log_v.*scale=\"std\"",
    ),
    "one tensor": (
        lambda self, mean, scale: torch.cat([mean, scale], 1),
        {},
        r"one tensor of shape \[3, 6\].*\"chunked\"",
    ),
    "a wrong name": (
        lambda self, mean, scale: {"mu": mean, "lv": scale},
        {"outputs": {"mean": "m", "scale": "lv"}},
        "outputs says 'm' for 'mean'",
    ),
    "half of them": (drawn, {"outputs": {"mean": 1}}, "outputs has no 'scale'"),
    "a number": (lambda self, mean, scale: 3.0, {}, "returns float"),
    "a Normal as log variance": (
        lambda self, mean, scale: Normal(mean, scale.exp()),
        {},
        'a Normal, whose scale is a std.*scale="std"',
    ),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_cannot_be_told_apart_is_listed(name, export):
    returned, options, says = UNCLEAR[name]
    with pytest.raises(InvalidBundle, match=says):
        export(Heads(returned), engine="torch", **options)


def test_a_normal_is_its_mean_and_its_std():
    mean, std = torch.zeros(3, D), torch.ones(3, D)
    for returned in (Normal(mean, std), Independent(Normal(mean, std), 1)):
        assert keys_of(returned, ("mean", "scale"), {}, part="encoder", scale="std") == ["mean", "stddev"]
    with pytest.raises(InvalidBundle, match="distribution, Bernoulli"):
        keys_of(torch.distributions.Bernoulli(mean), ("mean", "scale"), {}, part="encoder", scale="std")


def test_what_was_returned_is_shown_in_a_line():
    assert shown({"a": torch.zeros(2, 3), "b": None}) == "1 tensors in a dict ('a': [2, 3], 'b': NoneType)"
    assert len(shown([torch.zeros(2)] * 100)) < 200
