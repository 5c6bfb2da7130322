"""An export of large rows, or of a deep network, is tried with few rows and compared as float32 allows."""

import pytest
from torch import nn

from latentmill import export_vae
from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import bounded_rows
from latentmill.exporting.round_trip import Originals, compare
from workers.models.bundle import parse_manifest

MANIFEST = b'{"name": "a", "engine": "onnx", "latent": {"shape": [2]}, "rows": {"kind": "tensor", "shape": [%d]}}'


class Counted(nn.Module):
    """A decoder that says how many rows it was called with."""

    def __init__(self, size):
        super().__init__()
        self.size, self.rows = size, set()
        self.fc = nn.Linear(2, 1)

    def forward(self, z):
        self.rows.add(len(z))
        return self.fc(z).expand(-1, self.size)


class Shaky:
    """A network that gives a row by itself a little different from what it was in its batch, as deep ones do."""

    manifest = parse_manifest(MANIFEST % 2)

    def __init__(self, off=0.0):
        self.off = off

    def decode_with_std(self, latents, labels):
        return latents * (1.0 + (3e-5 + self.off if len(latents) == 1 else 0.0)), None

    def originals(self):
        return Originals(None, lambda latents, labels: (self.decode_with_std(latents, labels)[0],), "network")


def test_as_many_rows_as_their_values_allow_and_two_at_least():
    assert [bounded_rows(parse_manifest(MANIFEST % size), 64) for size in (10, 3 * 512 * 512, 2**24)] == [64, 5, 2]


def test_a_decoder_of_large_rows_is_called_with_few(tmp_path):
    decoder = Counted(2**20)
    rows = {"kind": "tensor", "shape": [2**20]}
    export_vae(tmp_path / "a.vae.zip", name="a", encoder=None, decoder=decoder, rows=rows, latent_shape=2)
    assert max(decoder.rows) <= 8


def test_a_row_by_itself_is_compared_with_what_the_original_gives_for_it_alone():
    assert compare(Shaky(), Shaky().originals()) == 0.0
    with pytest.raises(InvalidBundle, match="differs by"):
        compare(Shaky(off=2e-5), Shaky().originals())
