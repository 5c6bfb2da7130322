"""What encoders and decoders may give beside the mean: every scale and layout of heads, likelihoods, priors."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.shapes.images import BERNOULLI, GREY, MlpDecoder, MlpEncoder
from tests.shapes.shape import Shape

TENSOR = {"kind": "tensor", "shape": [3, 5]}


class OneHead(nn.Sequential):
    """Both heads in one layer: whether halves or neighbours belong together is a matter of training."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 8))


class InterleavedPair(nn.Module):
    """Splits the neighbours itself, as disentangling-vae does."""

    def __init__(self):
        super().__init__()
        self.body = OneHead()

    def forward(self, x):
        return self.body(x).view(-1, 4, 2).unbind(-1)


class StdEncoder(MlpEncoder):
    """Its second head is the std itself, and may be negative: training saw only its square."""


class LogStdEncoder(MlpEncoder):
    def forward(self, x):
        mean, log_std = super().forward(x)
        return mean, log_std.clamp(min=-5.0, max=3.0)


class VarianceEncoder(MlpEncoder):
    def forward(self, x):
        mean, variance = super().forward(x)
        return mean, F.softplus(variance) + 1e-6


class Autoencoder(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 24), nn.SELU(), nn.Linear(24, 4))


class TensorEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(15, 16), nn.Softplus(), nn.LayerNorm(16))
        self.mean, self.scale = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.scale(h)


class TensorDecoder(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 16), nn.Softsign(), nn.Linear(16, 15), nn.Unflatten(1, (3, 5)))


class LearnedStdDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.std = nn.Linear(4, 16), nn.Linear(16, 15), nn.Linear(16, 15)

    def forward(self, z):
        h = torch.relu(self.body(z))
        return self.mean(h).view(-1, 3, 5), F.softplus(self.std(h)).view(-1, 3, 5) + 0.01


class CategoricalDecoder(nn.Module):
    """Each row is one of 6 categories, given as probabilities."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6))

    def forward(self, z):
        return F.softmax(self.body(z), dim=-1)


class CategoricalEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        return self.mean(x), self.log_variance(x)


class LogitsDecoder(nn.Module):
    """For BCEWithLogitsLoss: the sigmoid is in the loss."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))

    def forward(self, z):
        return self.net(z).view(-1, 1, 8, 8)


def mixture_prior():
    """Three clusters, as a VampPrior or a GMM-VAE learns them."""
    generator = torch.Generator().manual_seed(3)
    return {
        "kind": "mixture",
        "weights": torch.tensor([0.5, 0.3, 0.2]),
        "means": torch.randn(3, 4, generator=generator),
        "variances": 0.1 + torch.rand(3, 4, generator=generator),
    }


LEARNED = {"likelihood": {"kind": "gaussian", "std": "learned"}}
KNOWN = {"likelihood": {"kind": "gaussian", "std": 0.1}}

SHAPES = [
    Shape("chunked head", OneHead, MlpDecoder, GREY, options={"head": "chunked"}),
    Shape("interleaved head", OneHead, MlpDecoder, GREY, options={"head": "interleaved"}),
    Shape("interleaved, split by the module", InterleavedPair, MlpDecoder, GREY),
    Shape("std with negative values", StdEncoder, MlpDecoder, GREY, options={"scale": "std"}),
    Shape("log std", LogStdEncoder, MlpDecoder, GREY, options={"scale": "log_std"}),
    Shape("variance", VarianceEncoder, MlpDecoder, GREY, options={"scale": "variance"}),
    Shape("no scale", Autoencoder, MlpDecoder, GREY, options={"scale": "none", "prior": {"kind": "none"}}),
    Shape("decoder only", None, MlpDecoder, GREY, options=BERNOULLI),
    Shape("learned mixture prior", MlpEncoder, MlpDecoder, GREY, options={"prior": mixture_prior()}),
    Shape("learned std of the rows", TensorEncoder, LearnedStdDecoder, TENSOR, options=LEARNED),
    Shape(
        "tensor rows", TensorEncoder, TensorDecoder, TENSOR, options={"likelihood": {"kind": "gaussian", "std": 0.1}}
    ),
    Shape(
        "categorical likelihood",
        CategoricalEncoder,
        CategoricalDecoder,
        {"kind": "tensor", "shape": [6]},
        options={"likelihood": {"kind": "categorical"}},
    ),
    Shape("logits", MlpEncoder, LogitsDecoder, GREY, options=BERNOULLI, finish=torch.sigmoid),
]
