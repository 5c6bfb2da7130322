"""VAEs of images: dense, convolutional, normalised, residual, with latents that are flat or have axes of their own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.shapes.shape import Shape

GREY = {"kind": "image", "shape": [1, 8, 8], "dtype": "float32"}
RGB = {"kind": "image", "shape": [3, 16, 16], "range": [-1, 1], "dtype": "float32"}
BERNOULLI = {"likelihood": {"kind": "bernoulli"}}


class MlpEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.mean = nn.Linear(32, 4)
        self.log_variance = nn.Linear(32, 4)

    def forward(self, x):
        h = F.relu(self.hidden(x.view(-1, 64)))
        return self.mean(h), self.log_variance(h)


class MlpDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 32)
        self.out = nn.Linear(32, 64)

    def forward(self, z):
        return torch.sigmoid(self.out(F.relu(self.hidden(z)))).view(-1, 1, 8, 8)


class ConvEncoder(nn.Module):
    def __init__(self, channels=1, size=8):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 4, stride=2, padding=1)
        self.fc = nn.Linear(16 * (size // 4) ** 2, 8)

    def forward(self, x):
        h = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)
        return self.fc(torch.flatten(h, start_dim=1)).chunk(2, dim=-1)


class ConvDecoder(nn.Module):
    def __init__(self, channels=1, size=8):
        super().__init__()
        self.size = size // 4
        self.fc = nn.Linear(4, 16 * self.size**2)
        self.conv1 = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.conv2 = nn.ConvTranspose2d(8, channels, 3, stride=2, padding=1, output_padding=1)

    def forward(self, z):
        h = self.fc(z).view(z.size(0), 16, self.size, self.size)
        return torch.sigmoid(self.conv2(F.elu(self.conv1(F.elu(h)))))


class BatchNormEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Dropout2d(0.1)
        )
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True))
        self.heads = nn.ModuleList([nn.Linear(16, 4), nn.Linear(16, 4)])

    def forward(self, x):
        h = self.dense(self.features(x))
        return tuple(head(h) for head in self.heads)


class BatchNormDecoder(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(4, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(8, 1, 3, padding=1),
            nn.Sigmoid(),
        )


class GroupNormEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding="valid", padding_mode="zeros")
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        h = F.silu(self.norm(self.first(x)))
        return self.out(self.second(h).mean(dim=(2, 3))).split(4, dim=1)


class GroupNormDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 8 * 4 * 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.ConvTranspose2d(8, 8, 2, stride=2)) for _ in range(2)
        )
        self.out = nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, z):
        h = self.project(z).reshape(-1, 8, 4, 4)
        for block in self.blocks:
            h = block(h)
        return torch.tanh(self.out(h))


class Residual(nn.Module):
    """A block that changes the number of channels, so its shortcut is a convolution."""

    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, stride) if stride != 1 or before != after else nn.Identity()

    def forward(self, x):
        h = F.relu(self.norm1(self.conv1(x)))
        h = self.norm2(self.conv2(h))
        h += self.shortcut(x)
        return F.relu(h)


class ResidualEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Residual(8, 8), Residual(8, 16, stride=2), Residual(16, 16, stride=2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mean, self.log_variance = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        h = self.pool(self.blocks(self.stem(x))).squeeze(-1).squeeze(-1)
        return self.mean(h), self.log_variance(h).clamp(-8, 8)


class ResidualDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 16 * 4 * 4)
        self.low, self.middle = Residual(16, 16), Residual(16, 8)
        self.out = nn.Conv2d(8, 3, 1)

    def forward(self, z):
        h = self.low(self.project(z).view(-1, 16, 4, 4))
        h = self.middle(F.interpolate(h, scale_factor=2, mode="nearest"))
        return torch.tanh(self.out(F.interpolate(h, size=(16, 16), mode="bilinear", align_corners=False)))


class UpsampleDecoder(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(4, 8 * 2 * 2),
            nn.Unflatten(1, (8, 2, 2)),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.ReflectionPad2d(1),
            nn.Conv2d(8, 8, 3),
            nn.GELU(),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(8, 1, 3, padding=1),
            nn.Sigmoid(),
        )


class PoolEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x):
        h = F.max_pool2d(F.mish(self.conv1(x)), 2)
        h = F.avg_pool2d(F.mish(self.conv2(h)), kernel_size=2).flatten(1)
        return self.mean(h), self.log_variance(h)


class ShuffleEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(2)
        self.conv = nn.Conv2d(12, 8, 3, stride=2, padding=1, groups=4)
        self.out = nn.Linear(8 * 16, 8)

    def forward(self, x):
        h = F.hardswish(self.conv(self.unshuffle(x)))
        return torch.tensor_split(self.out(h.flatten(1)), 2, dim=1)


class ShuffleDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 16 * 4 * 4)
        self.conv1 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.slope = nn.PReLU(8)

    def forward(self, z):
        h = self.slope(F.pixel_shuffle(self.conv1(self.project(z).view(-1, 16, 4, 4)), 2))
        return torch.tanh(F.pixel_shuffle(self.conv2(h), 2))


class HwcEncoder(nn.Module):
    """For rows as Keras and matplotlib have them: the channels come last."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.mean, self.log_variance = nn.Linear(128, 4), nn.Linear(128, 4)

    def forward(self, x):
        h = F.relu(self.conv(x.permute(0, 3, 1, 2))).flatten(1)
        return self.mean(h), self.log_variance(h)


class HwcDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8 * 4 * 4)
        self.conv = nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, z):
        return torch.sigmoid(self.conv(F.relu(self.fc(z)).view(-1, 8, 4, 4))).permute(0, 2, 3, 1)


class PlainDecoder(nn.Module):
    """For rows that were normalised: what it gives is not bounded."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8 * 8 * 8)
        self.conv = nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, z):
        return self.conv(F.relu(self.fc(z)).view(-1, 8, 8, 8))


class SpatialEncoder(nn.Module):
    """One convolution ends it, whose first channels are the means: latents are a picture of 4 channels."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.heads = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(F.silu(self.norm(self.down(x))))


class SpatialDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(4, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, z):
        return torch.tanh(self.up(F.silu(self.enter(z))))


class FlattenedEncoder(SpatialEncoder):
    """Latents that were trained as a picture, and are handled as a vector."""

    def __init__(self):
        super().__init__()
        self.heads = nn.Conv2d(8, 4, 4, stride=4)

    def forward(self, x):
        mean, log_variance = torch.chunk(super().forward(x), 2, dim=1)
        return mean.flatten(start_dim=1), log_variance.flatten(start_dim=1)


class FlattenedDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 8, stride=8)

    def forward(self, z):
        return torch.tanh(self.up(z.unflatten(1, (2, 2, 2))))


NORMALISED = {
    "kind": "image",
    "shape": [3, 16, 16],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "dtype": "float32",
}
LARGER_RGB = {**RGB, "shape": [3, 32, 32]}

SHAPES = [
    Shape("mlp", MlpEncoder, MlpDecoder, GREY, options=BERNOULLI),
    Shape("conv", ConvEncoder, ConvDecoder, GREY, options=BERNOULLI),
    Shape("batch norm", BatchNormEncoder, BatchNormDecoder, GREY, options=BERNOULLI),
    Shape("group norm, RGB", GroupNormEncoder, GroupNormDecoder, RGB),
    Shape("residual blocks", ResidualEncoder, ResidualDecoder, RGB),
    Shape("upsampling decoder", PoolEncoder, UpsampleDecoder, GREY, options=BERNOULLI),
    Shape("pixel shuffle", ShuffleEncoder, ShuffleDecoder, RGB),
    Shape("RGBA", lambda: ConvEncoder(4), lambda: ConvDecoder(4), {**GREY, "shape": [4, 8, 8]}),
    Shape("channels last", HwcEncoder, HwcDecoder, {**GREY, "shape": [8, 8, 3], "layout": "HWC"}),
    Shape("mean and std by channel", lambda: ConvEncoder(3, 16), PlainDecoder, NORMALISED),
    Shape("spatial latents", SpatialEncoder, SpatialDecoder, LARGER_RGB, (4, 16, 16), options={"head": "chunked"}),
    Shape("flattened latents", FlattenedEncoder, FlattenedDecoder, RGB, (8,)),
]
