"""Decoders that return logits: told by the likelihood, by the examples, or by the user."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from latentmill import export_vae
from latentmill.errors import InvalidBundle, InvalidDataset
from workers.models import load_vae, open_bundle

D = 2
IMAGE = {"kind": "image", "shape": [1, 4, 4]}
BERNOULLI, CATEGORICAL = {"kind": "bernoulli"}, {"kind": "categorical"}
COLUMNS = [
    {"name": "a", "kind": "number", "missing": True},
    {"name": "b", "kind": "category", "categories": ["x", "y", "z"]},
    {"name": "c", "kind": "boolean"},
]


def linear(size, scale=4.0):
    layer = nn.Linear(D, size)
    nn.init.normal_(layer.weight, std=scale)
    return layer


@pytest.fixture
def export(tmp_path):
    torch.manual_seed(0)

    def exported(decoder, rows=IMAGE, encoder=None, **options):
        path = tmp_path / "a.vae.zip"
        made = export_vae(path, name="a", encoder=encoder, decoder=decoder, rows=rows, latent_shape=D, **options)
        return load_vae(open_bundle(path)), made

    return exported


@pytest.mark.parametrize("engine", ["torch", pytest.param("onnx", marks=pytest.mark.full)])
def test_logits_of_a_bernoulli_get_a_sigmoid(engine, export):
    decoder = linear(16)
    vae, made = export(decoder, likelihood=BERNOULLI, engine=engine)
    z = torch.randn(5, D)
    torch.testing.assert_close(vae.decode(z).flatten(1), torch.sigmoid(decoder(z)).detach())
    note = next(note for note in made.notes if "logits" in note)
    assert note.startswith("The likelihood is bernoulli, but decoded values reach from -")
    assert 'a Sigmoid is appended to it. If it returns means, say decoder_returns="mean".' in note


def test_probabilities_stay_as_they_are(export):
    decoder = nn.Sequential(linear(16), nn.Sigmoid())
    vae, made = export(decoder, likelihood=BERNOULLI)
    assert not any("logits" in note for note in made.notes)
    z = torch.randn(5, D)
    torch.testing.assert_close(vae.decode(z).flatten(1), decoder(z).detach())


def test_what_the_user_says_counts(export):
    decoder = linear(16)
    z = torch.randn(5, D)
    vae, made = export(decoder, likelihood=BERNOULLI, decoder_returns="mean")
    torch.testing.assert_close(vae.decode(z).flatten(1), decoder(z).detach())
    assert any("taken as they are, as decoder_returns says" in note for note in made.notes)
    vae, made = export(decoder, likelihood={"kind": "gaussian", "std": 0.1}, decoder_returns="logits")
    torch.testing.assert_close(vae.decode(z).flatten(1), torch.sigmoid(decoder(z)).detach())
    vae, made = export(decoder, likelihood={"kind": "gaussian", "std": 0.1})
    assert [note for note in made.notes if "values" in note or "logits" in note] == []
    with pytest.raises(InvalidBundle, match="decoder_returns must be auto, mean or logits, not 'log'"):
        export(decoder, decoder_returns="log")


def test_images_of_another_range_get_no_sigmoid_by_themselves(export):
    decoder = nn.Sequential(linear(16), nn.Tanh())
    for rows in (IMAGE | {"range": [-1, 1]}, IMAGE | {"mean": [0.1], "std": [0.3]}):
        vae, made = export(decoder, rows, likelihood=BERNOULLI)
        z = torch.randn(5, D)
        torch.testing.assert_close(vae.decode(z).flatten(1), decoder(z).detach())
        assert any("They are taken as they are: a likelihood of probabilities fits" in note for note in made.notes)
        _, made = export(decoder, rows, likelihood=BERNOULLI, decoder_returns="logits")
        assert any("lies in [0, 1], which is not what the rows hold" in note for note in made.notes)


def test_examples_tell_a_linear_decoder_from_logits(export):
    """One that overshoots a little reconstructs better as it is; its twin with logits does not."""
    x = torch.rand(200, D) * 0.9 + 0.05
    rows = {"kind": "tensor", "shape": [D]}
    same = nn.Linear(D, D)
    nn.init.eye_(same.weight)
    nn.init.zeros_(same.bias)
    same_too = copy.deepcopy(same)
    likelihood = {"likelihood": BERNOULLI, "scale": "none", "examples": x.numpy()}
    _, made = export(same, rows, same_too, **likelihood)
    assert any("closer to the examples than what a Sigmoid makes of them" in note for note in made.notes)

    logits, steep = copy.deepcopy(same), copy.deepcopy(same)
    with torch.no_grad():
        logits.weight *= 6
        logits.bias -= 3
        steep.weight *= 4 / 6
    vae, made = export(steep, rows, logits, **likelihood)
    assert any("a Sigmoid is appended" in note for note in made.notes)
    torch.testing.assert_close(vae.decode(torch.ones(1, D)), torch.sigmoid(torch.full((1, D), 2 / 3)))


def test_categories_are_made_to_add_up(export):
    decoder = nn.Sequential(linear(12), nn.Unflatten(1, (4, 3)))
    vae, made = export(decoder, {"kind": "tensor", "shape": [4]}, likelihood=CATEGORICAL)
    z = torch.randn(5, D)
    torch.testing.assert_close(vae.decode_with_std(z)[0], decoder(z).softmax(-1).detach())
    assert any("a Softmax is appended" in note for note in made.notes)
    sums = nn.Sequential(linear(12), nn.Sigmoid(), nn.Unflatten(1, (4, 3)))
    _, made = export(sums, {"kind": "tensor", "shape": [4]}, likelihood=CATEGORICAL)
    assert any("decoded categories add up to" in note for note in made.notes)

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = linear(12)

        def forward(self, z):
            return self.out(z).view(-1, 3, 4)

    with pytest.raises(InvalidBundle, match="Move the categories to the last axis"):
        export(First(), {"kind": "tensor", "shape": [4]}, likelihood=CATEGORICAL)


def test_a_table_gets_what_each_column_needs(export):
    decoder = linear(6)
    rows = {"kind": "table", "columns": COLUMNS}
    vae, made = export(decoder, rows, likelihood=CATEGORICAL)
    z = torch.randn(5, D)
    raw = decoder(z).detach()
    wanted = torch.cat([raw[:, :1], raw[:, 1:2].sigmoid(), raw[:, 2:5].softmax(1), raw[:, 5:].sigmoid()], 1)
    torch.testing.assert_close(vae.decode(z), wanted)
    assert any("a Softmax for each column of categories" in note for note in made.notes)
    vae, _ = export(decoder, rows, likelihood={"kind": "gaussian", "std": 1.0})
    torch.testing.assert_close(vae.decode(z), raw)


def test_a_table_of_examples_is_encoded_as_the_bundle_says(export):
    rows = {"kind": "table", "columns": [{**COLUMNS[0], "mean": 5.0, "std": 2.0}, *COLUMNS[1:]]}
    frame = pd.DataFrame({"c": [True, False] * 20, "b": list("xyzy") * 10, "a": [1.0, None, 3.0, 9.0] * 10})
    encoder, decoder = nn.Linear(6, D), linear(6, 0.1)
    _, made = export(decoder, rows, encoder, scale="none", examples=frame)
    assert any("no better than the mean row" in note for note in made.notes)
    with pytest.raises(InvalidDataset, match="'w'"):
        export(decoder, rows, encoder, scale="none", examples=frame.assign(b="w"))


def test_examples_are_decoded_with_typed_rows_and_labels(export):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (40, 4, 4), np.uint8)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.Linear(18, 2 * D)

        def forward(self, x, y):
            return self.heads(torch.cat([x.flatten(1), y], 1)).chunk(2, 1)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Sequential(nn.Linear(D + 2, 16), nn.Sigmoid())

        def forward(self, z, y):
            return self.out(torch.cat([z, y], 1))

    options = {"encoder": Encoder(), "labels": ["no", "yes"]}
    for labels in (rng.integers(0, 2, 40), np.array(["no", "yes"] * 20)):
        _, made = export(Decoder(), examples=(rows, labels), **options)
        assert any("no better than the mean row" in note for note in made.notes)
    for examples, says in (
        (rows, r"give examples=\(rows, labels\)"),
        ((rows, np.array(["no", "maybe"] * 20)), "'maybe' is not among the classes"),
        ((rows, np.zeros(3, int)), "one label for each of 40 rows"),
    ):
        with pytest.raises(Exception, match=says):
            export(Decoder(), examples=examples, **options)
