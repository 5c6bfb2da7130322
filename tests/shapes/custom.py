"""Modules with a forward of their own: what torch.nn has no layer for, and what only a graph can hold."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests.shapes.images import BERNOULLI, GREY, MlpDecoder, MlpEncoder
from tests.shapes.sequences import FEATURES, SERIES, STEPS
from tests.shapes.shape import Shape


class SkipEncoder(nn.Module):
    """Looks at rows and columns apart, and joins what it sees with what came in."""

    def __init__(self):
        super().__init__()
        self.across, self.down = nn.Linear(8, 3), nn.Linear(8, 3)
        self.out = nn.Linear(2 * 24 + 64, 8)

    def forward(self, x):
        batch = x.shape[0]
        image = x.reshape(batch, 8, 8) * 2 - 1
        across = torch.relu(self.across(image)).reshape(batch, -1)
        down = torch.relu(self.down(image.transpose(1, 2))).reshape(batch, -1)
        both = torch.cat([across, down, image.reshape(batch, 64)], dim=-1)
        mean, log_variance = torch.split(self.out(both), 4, dim=-1)
        return mean, log_variance


class SkipDecoder(nn.Module):
    """Gives the latents again to every layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 16), nn.Linear(20, 16), nn.Linear(20, 64)

    def forward(self, z):
        h = torch.relu(self.first(z))
        h = torch.relu(self.second(torch.cat([h, z], dim=1)))
        h = torch.stack([torch.sigmoid(self.third(torch.cat([h, z], dim=1)))], dim=1)
        return h.view(len(z), 1, 8, 8)


class Vae(nn.Module):
    """One class that does it all, as tutorials have it. Its forward draws, so the exporter is given its two halves."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.fc_mu, self.fc_var = nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

    def encode(self, x):
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_var(h)

    def forward(self, x):
        mean, log_variance = self.encode(x)
        return self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)), mean, log_variance


class VaeEncoder(nn.Module):
    """The first half of it."""

    def __init__(self):
        super().__init__()
        self.vae = Vae()

    def forward(self, x):
        return self.vae.encode(x)


class WeightNormEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = weight_norm(nn.Conv2d(1, 8, 4, stride=2, padding=1))
        self.heads = spectral_norm(nn.Linear(128, 8))

    def forward(self, x):
        return self.heads(F.relu(self.conv(x)).flatten(1)).chunk(2, dim=1)


class WeightNormDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(weight_norm(nn.Linear(4, 32)), nn.ReLU(), weight_norm(nn.Linear(32, 64)), nn.Sigmoid())

    def forward(self, z):
        return self.net(z).view(-1, 1, 8, 8)


class AttentionEncoder(nn.Module):
    """The steps of a series attend to each other; a learned token gathers what they say."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(FEATURES, 8)
        self.place = nn.Parameter(torch.randn(1, STEPS, 8) / 4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.heads = nn.Linear(8, 8)

    def forward(self, x):
        h = self.norm(self.project(x) + self.place)
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.heads(h.mean(dim=1)).chunk(2, dim=-1)


class TransformerDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 8)
        self.place = nn.Parameter(torch.randn(1, STEPS, 8) / 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True, activation="gelu")
        self.out = nn.Linear(8, FEATURES)

    def forward(self, z):
        return self.out(self.layer(self.project(z)[:, None] + self.place))


class EinsumDecoder(nn.Module):
    """Every pixel is a product of its row, its column and the latents."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(4, 6, 8) / 2)
        self.columns = nn.Parameter(torch.randn(6, 8) / 2)

    def forward(self, z):
        return torch.sigmoid(torch.einsum("nd,dkr,kc->nrc", z, self.rows, self.columns)).unsqueeze(1)


class Posterior(NamedTuple):
    mean: Tensor
    log_variance: Tensor


class NamedEncoder(MlpEncoder):
    def forward(self, x):
        return Posterior(*super().forward(x))


class DrawingEncoder(MlpEncoder):
    """Draws z itself, and gives it before the heads: the exporter is told which of the three are which."""

    def forward(self, x):
        mean, log_variance = super().forward(x)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean), mean, log_variance


class DictionaryEncoder(MlpEncoder):
    def forward(self, x):
        mean, log_variance = super().forward(x)
        return {"mu": mean, "logvar": log_variance}


class FlatEncoder(nn.Sequential):
    """Takes and gives rows of 64 numbers, whatever picture they are."""

    def __init__(self):
        super().__init__(nn.Linear(64, 32), nn.Hardtanh(), nn.Linear(32, 8))


class FlatDecoder(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 32), nn.CELU(), nn.Linear(32, 64), nn.Hardsigmoid())


PLACES = {"outputs": {"mean": 1, "scale": 2}}

SHAPES = [
    Shape("reshape and concatenation", SkipEncoder, SkipDecoder, GREY, options=BERNOULLI),
    Shape("halves of one class", VaeEncoder, lambda: Vae().decoder, GREY, options=BERNOULLI, flat=True),
    Shape("flat rows", FlatEncoder, FlatDecoder, GREY, options={"head": "chunked"}, flat=True),
    Shape("weight and spectral norm", WeightNormEncoder, WeightNormDecoder, GREY),
    Shape("attention", AttentionEncoder, TransformerDecoder, SERIES, engine="onnx"),
    Shape("einsum", MlpEncoder, EinsumDecoder, GREY, engine="onnx"),
    Shape("named tuple", NamedEncoder, MlpDecoder, GREY),
    Shape("dictionary", DictionaryEncoder, MlpDecoder, GREY),
    Shape("z among the outputs", DrawingEncoder, MlpDecoder, GREY, options=PLACES),
]
