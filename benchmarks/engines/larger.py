"""Decoders as large as people train, where the work is in the layers and not in calling them."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from tests.shapes.shape import Shape


class Dense(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(10, 200), nn.ReLU(), nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()
        )


class Convolutional(nn.Module):
    """From 4 x 4 to 64 x 64, as in DCGAN."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 256 * 4 * 4)
        widths = [256, 128, 64, 32]
        blocks = [
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)
        ]
        self.up = nn.Sequential(*blocks, nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.up(self.fc(z).view(-1, 256, 4, 4))


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class ResidualDecoder(nn.Module):
    """Blocks of a diffusion model's VAE at 8 x 8, 16 x 16 and 32 x 32."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(4, 64, 3, padding=1)
        self.blocks = nn.ModuleList([Residual(64), Residual(64), Residual(64)])
        self.out = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, z):
        h = self.blocks[0](self.enter(z))
        for block in self.blocks[1:]:
            h = block(F.interpolate(h, scale_factor=2, mode="nearest"))
        return torch.tanh(self.out(h))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent = kind(16, 128, batch_first=True)
        self.out = nn.Linear(128, 8)

    def forward(self, z):
        return self.out(self.recurrent(z[:, None].expand(-1, 100, -1))[0])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(16, 64)
        self.place = nn.Parameter(torch.randn(1, 100, 64) / 8)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2)
        self.out = nn.Linear(64, 8)

    def forward(self, z):
        return self.out(self.layers(self.project(z)[:, None] + self.place))


SERIES = {"kind": "series", "steps": 100, "features": [f"f{number}" for number in range(8)]}


def image(*shape):
    return {"kind": "image", "shape": list(shape), "range": [-1, 1]}


LARGER = [
    Shape("dense, 28 x 28", None, Dense, {"kind": "image", "shape": [1, 28, 28]}, (10,)),
    Shape("convolutions, 3 x 64 x 64", None, Convolutional, image(3, 64, 64), (64,)),
    Shape("residual blocks, 3 x 32 x 32", None, ResidualDecoder, image(3, 32, 32), (4, 8, 8)),
    Shape("LSTM of 128, 100 steps", None, lambda: Recurrent(nn.LSTM), SERIES, (16,)),
    Shape("GRU of 128, 100 steps", None, lambda: Recurrent(nn.GRU), SERIES, (16,)),
    Shape("transformer of 64, 100 steps", None, Transformer, SERIES, (16,), engine="onnx"),
]
