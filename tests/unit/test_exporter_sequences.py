"""`export_vae` on modules that go through sequences: torch's recurrent layers as users call them."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmill import export_vae
from latentmill.errors import InvalidBundle
from workers.models import load_vae, open_bundle

STEPS, FEATURES, HIDDEN, D = 6, 3, 5, 4
SERIES = {"kind": "series", "steps": STEPS, "features": ["a", "b", "c"], "mean": [0.0] * 3, "std": [1.0] * 3}


class Forward(nn.Module):
    """A module whose forward is `function(self, given)`, with the layers given by name."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, given):
        return self.function(self, given)


def encoder(function, width=HIDDEN, **layers):
    """`function` makes `width` values of each sequence; two linear heads follow."""

    def forward(self, x):
        h = function(self, x)
        return self.mean(h), self.scale(h)

    return Forward(forward, mean=nn.Linear(width, D), scale=nn.Linear(width, D), **layers)


def gru(**options):
    return nn.GRU(FEATURES, HIDDEN, **{"batch_first": True} | options)


def lstm(**options):
    return nn.LSTM(FEATURES, HIDDEN, **{"batch_first": True} | options)


def both_ends(self, x):
    """The last hidden state of both directions of the last layer."""
    _, (h, _) = self.lstm(x)
    return torch.cat([h[-2], h[-1]], dim=1)


def layers_and_directions(self, x):
    _, h = self.gru(x)
    h = h.view(2, 2, x.size(0), HIDDEN)[-1]
    return torch.cat((h[0], h[1]), -1)


def time_first(self, x):
    out, (h, c) = self.lstm(x.permute(1, 0, 2))
    return torch.cat([out[-1], h.squeeze(0), c[-1]], dim=1)


def time_first_pooled(self, x):
    out, _ = self.gru(self.norm(self.fc(x.transpose(0, 1))).tanh())
    return out.mean(dim=0) + out.max(dim=0)[0] + out.sum(0) / STEPS


def zero_states(self, x):
    h0 = torch.zeros(1, x.size(0), HIDDEN, device=x.device)
    c0 = torch.zeros_like(h0)
    return self.lstm(x, (h0, c0))[0][:, -1, :]


def learned_state(self, x):
    return self.gru(x, self.h0.repeat(1, x.shape[0], 1))[1].squeeze(0)


def all_states_flat(self, x):
    _, h = self.gru(x)
    return h.permute(1, 0, 2).reshape(x.size(0), -1)


def cells(self, x):
    h, c = torch.zeros(x.size(0), HIDDEN), torch.zeros(x.size(0), HIDDEN)
    for t in range(x.size(1)):
        h, c = self.cell(x[:, t], (h, c))
    return h + c


ENCODERS = {
    "gru, last step": encoder(lambda self, x: self.gru(x)[0][:, -1], gru=gru()),
    "gru, h[-1]": encoder(lambda self, x: self.gru(x)[1][-1], gru=gru(num_layers=2, dropout=0.5)),
    "lstm, both directions": encoder(both_ends, 2 * HIDDEN, lstm=lstm(num_layers=2, bidirectional=True)),
    "gru, layers and directions": encoder(layers_and_directions, 2 * HIDDEN, gru=gru(num_layers=2, bidirectional=True)),
    "lstm, time first": encoder(time_first, 3 * HIDDEN, lstm=lstm(batch_first=False)),
    "gru, time first, pooled": encoder(
        time_first_pooled,
        gru=gru(batch_first=False, bias=False),
        fc=nn.Linear(FEATURES, FEATURES),
        norm=nn.LayerNorm(FEATURES),
    ),
    "lstm, states of zeros": encoder(zero_states, lstm=lstm()),
    "gru, a learned state": encoder(learned_state, gru=gru(), h0=nn.Parameter(torch.randn(1, 1, HIDDEN))),
    "gru, all states": encoder(all_states_flat, 2 * HIDDEN, gru=gru(num_layers=2)),
    "lstm with a projection": encoder(lambda self, x: self.lstm(x)[1][0][-1], 2, lstm=lstm(proj_size=2)),
    "a plain rnn": encoder(
        lambda self, x: self.rnn(x)[1][0],
        rnn=nn.RNN(FEATURES, HIDDEN, nonlinearity="relu", batch_first=True),
    ),
    "lstm cells": encoder(cells, cell=nn.LSTMCell(FEATURES, HIDDEN)),
    "convolutions, then a gru": encoder(
        lambda self, x: self.gru(F.relu(self.conv(x.transpose(1, 2))).transpose(1, 2))[1][-1],
        conv=nn.Conv1d(FEATURES, FEATURES, 3, padding=1),
        gru=gru(),
    ),
}


def repeated(self, z):
    out, _ = self.lstm(z.unsqueeze(1).repeat(1, STEPS, 1))
    return self.out(out)


def expanded_with_state(self, z):
    h0 = torch.tanh(self.h0(z)).unsqueeze(0)
    out, _ = self.gru(z[:, None].expand(-1, STEPS, -1), h0)
    return self.out(out)


def states_by_view(self, z):
    """The common way to make the states of two layers: a view per row, then layers in front."""
    h0 = self.h0(z).view(-1, 2, HIDDEN).transpose(0, 1).contiguous()
    out, _ = self.lstm(z.repeat(STEPS, 1, 1).permute(1, 0, 2), (h0, torch.zeros_like(h0)))
    return self.out(out)


def time_first_decoder(self, z):
    out, _ = self.gru(z.expand(STEPS, *z.shape))
    return torch.sigmoid(self.out(out)).permute(1, 0, 2)


def unrolled(self, z):
    """Each step reads what the one before it made, from a learned start."""
    h, value, made = self.h0(z), self.start.expand(z.size(0), -1), []
    for _ in range(STEPS):
        h = self.cell(value, h)
        value = self.out(h)
        made.append(value)
    return torch.stack(made, dim=1)


def start_token(self, z):
    token = self.start.unsqueeze(1).expand(len(z), 1, -1)
    given = torch.cat([token, z.repeat_interleave(STEPS - 1, dim=0).view(len(z), STEPS - 1, D)[..., :FEATURES]], dim=1)
    return self.out(self.gru(given, self.h0(z)[None])[0])


def backwards(self, z):
    out, _ = self.lstm(z.repeat(1, STEPS).view(-1, STEPS, D))
    return self.out(torch.flip(out, dims=[1]))


def recurrent(layer=nn.GRU, **options):
    return layer(D, HIDDEN, **{"batch_first": True} | options)


OUT = nn.Linear(HIDDEN, FEATURES)
DECODERS = {
    "repeated": Forward(repeated, lstm=recurrent(nn.LSTM), out=OUT),
    "expanded, a state of z": Forward(expanded_with_state, gru=recurrent(), h0=nn.Linear(D, HIDDEN), out=OUT),
    "states by view": Forward(
        states_by_view, lstm=recurrent(nn.LSTM, num_layers=2), h0=nn.Linear(D, 2 * HIDDEN), out=OUT
    ),
    "time first": Forward(time_first_decoder, gru=recurrent(batch_first=False), out=OUT),
    "gru cells, one after the other": Forward(
        unrolled,
        cell=nn.GRUCell(FEATURES, HIDDEN),
        h0=nn.Linear(D, HIDDEN),
        out=OUT,
        start=nn.Parameter(torch.randn(1, FEATURES)),
    ),
    "backwards": Forward(backwards, lstm=recurrent(nn.LSTM), out=OUT),
}


# torch says once in a process that it has no faster kernel for that.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def exported(tmp_path: Path, encoder, decoder):
    options = {"likelihood": {"kind": "gaussian", "std": 0.1}, "rows": SERIES, "latent_shape": [D], "engine": "torch"}
    bundle = export_vae(tmp_path / "a.vae.zip", name="a", encoder=encoder, decoder=decoder, **options)
    assert bundle.largest_difference <= 1e-5
    return load_vae(open_bundle(bundle.path)), bundle


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_sequences(name, tmp_path):
    encoder = ENCODERS[name].eval()
    vae, _ = exported(tmp_path, encoder, DECODERS["repeated"])
    x = torch.randn(7, STEPS, FEATURES)
    with torch.no_grad():
        mean, log_variance = encoder(x)
    ours = vae.encode(x)
    torch.testing.assert_close(ours[0], mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[1], torch.exp(0.5 * log_variance), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_of_sequences(name, tmp_path):
    decoder = DECODERS[name].eval()
    vae, _ = exported(tmp_path, None, decoder)
    z = torch.randn(7, D)
    with torch.no_grad():
        torch.testing.assert_close(vae.decode(z), decoder(z), atol=1e-5, rtol=1e-5)


def test_a_cell_that_runs_again_keeps_its_weights_once(tmp_path):
    _, bundle = exported(tmp_path, None, DECODERS["gru cells, one after the other"])
    steps = bundle.manifest.architecture["decoder"]["steps"]
    assert [step["id"] for step in steps if step.get("layer") == "GRUCell"] == ["cell"]
    assert len([step for step in steps if step.get("same_as") == "cell"]) == STEPS - 1
    assert sorted(name for name in open_bundle(bundle.path).tensors if ".cell." in name) == [
        f"decoder.cell.{kind}_{side}" for kind in ("bias", "weight") for side in ("hh", "ih")
    ]


REFUSED = {
    "rows as the steps of a sequence": (lambda self, x: self.gru(x)[0][:, -1], gru(batch_first=False), "one row to"),
    "rows without a batch": (lambda self, x: self.gru(x[:, 0])[0], gru(), "one row to"),
    "states mixed over rows": (
        lambda self, x: self.gru(x, self.mean(x[:, 0, :]).repeat(1, 2).view(2, -1, HIDDEN))[1][-1],
        gru(num_layers=2),
        "rows and their values are mixed",
    ),
    "a state of random numbers": (
        lambda self, x: self.gru(x, torch.randn(1, len(x), HIDDEN))[1][-1],
        gru(),
        "an axis of rows",
    ),
    "the first row's state": (lambda self, x: self.gru(x)[1][:, 0].expand(len(x), -1), gru(), "picks rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_mix_rows_is_refused_with_its_line(name, tmp_path):
    function, layer, says = REFUSED[name]
    encoder = Forward(function, gru=layer, mean=nn.Linear(FEATURES, HIDDEN))
    with pytest.raises(InvalidBundle, match=rf"{says}.*test_exporter_sequences\.py, line \d+"):
        export_vae(
            tmp_path / "a.vae.zip", name="a", encoder=encoder, decoder=nn.Linear(HIDDEN, STEPS * FEATURES), rows=SERIES,
            latent_shape=[HIDDEN], scale="none", engine="torch",
        )  # fmt: skip
