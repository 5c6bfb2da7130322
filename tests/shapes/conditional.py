"""Conditional VAEs: classes as one-hot vectors or as indices, joined to values in the ways that people join them."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.shapes.images import BERNOULLI, GREY
from tests.shapes.shape import Shape

CLASSES = ["cat", "dog", "eel"]
ONE_HOT = {"labels": {"classes": CLASSES, "encoding": "one_hot"}, **BERNOULLI}
INDEX = {"labels": {"classes": CLASSES, "encoding": "index"}, **BERNOULLI}


class OneHotEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64 + 3, 32)
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x, y):
        h = F.relu(self.hidden(torch.cat((x.flatten(1), y), dim=1)))
        return self.mean(h), self.log_variance(h)


class OneHotDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4 + 3, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

    def forward(self, z, y):
        return self.net(torch.cat((z, y), dim=1)).reshape(z.shape[0], 1, 8, 8)


class PlanesEncoder(nn.Module):
    """The classes as constant channels beside the image's."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1 + 3, 8, 4, stride=2, padding=1)
        self.heads = nn.Linear(128, 8)

    def forward(self, x, y):
        planes = y[:, :, None, None].expand(-1, -1, x.size(2), x.size(3))
        return self.heads(F.relu(self.conv(torch.cat([x, planes], dim=1))).flatten(1)).chunk(2, dim=1)


class EmbeddingEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 5)
        self.hidden = nn.Linear(64 + 5, 32)
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x, y):
        h = torch.tanh(self.hidden(torch.cat([x.view(x.size(0), -1), self.embedding(y)], dim=-1)))
        return self.mean(h), self.log_variance(h)


class EmbeddingDecoder(nn.Module):
    """Scales and shifts the channels of each class, as FiLM and conditional norms do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8 * 4 * 4)
        self.film = nn.Embedding(3, 16)
        self.norm = nn.InstanceNorm2d(8)
        self.out = nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1)

    def forward(self, z, y):
        scale, shift = self.film(y).unsqueeze(-1).unsqueeze(-1).chunk(2, dim=1)
        h = self.norm(self.fc(z).view(-1, 8, 4, 4)) * (1 + scale) + shift
        return torch.sigmoid(self.out(F.relu(h)))


SHAPES = [
    Shape("conditional, one-hot", OneHotEncoder, OneHotDecoder, GREY, options=ONE_HOT),
    Shape("conditional, planes of a one-hot", PlanesEncoder, OneHotDecoder, GREY, options=ONE_HOT),
    Shape("conditional, index", EmbeddingEncoder, EmbeddingDecoder, GREY, options=INDEX),
]
