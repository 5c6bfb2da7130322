"""The VAEs of the experiment: one network, trained with different weights of the KL term, several times each."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.strategies.mnist import SIDE, Digits
from latentmill.export import export_vae

LATENT_SIZE = 10
EPOCHS = 16
BATCH_ROWS = 250


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. beta: weight of the KL term; None: no noise and no KL, an autoencoder."""

    name: str
    beta: float | None
    seed: int

    @property
    def key(self) -> str:
        return f"{self.name}-{self.seed}"


BETAS = {"beta 0.01": 0.01, "beta 0.1": 0.1, "beta 1": 1.0, "beta 4": 4.0, "autoencoder": None, "collapsed": 200.0}


def recipes(seeds: int) -> list[Recipe]:
    """Seed by seed, so that an unfinished run has every kind of model."""
    return [Recipe(name.replace(" ", "-"), beta, seed) for seed in range(seeds) for name, beta in BETAS.items()]


class Encoder(nn.Module):
    """(n, 1, 28, 28) -> mean and log variance, (n, 10) each."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 400), nn.ReLU(), nn.Linear(400, 200), nn.ReLU())
        self.heads = nn.Linear(200, 2 * LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.heads(self.hidden(x)).chunk(2, dim=1)
        return mean, log_variance


class MeanEncoder(nn.Module):
    """(n, 1, 28, 28) -> (n, 10): the encoder of an autoencoder, which knows no noise."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        mean, _ = self.encoder(x)
        return mean


class Decoder(nn.Module):
    """(n, 10) -> (n, 1, 28, 28), the probability of ink."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Sequential(
            nn.Linear(LATENT_SIZE, 200), nn.ReLU(), nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, SIDE**2)
        )

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(z))

    def logits(self, z: Tensor) -> Tensor:
        return self.pixels(z).view(-1, 1, SIDE, SIDE)


def trained(recipe: Recipe, digits: Digits, folder: Path, *, epochs: int = EPOCHS) -> Path:
    """The bundle of `recipe`, from `folder` or trained on `digits` and put there, in about a minute."""
    path = folder / f"{recipe.key}.vae.zip"
    if not path.exists():
        started = time.perf_counter()
        encoder, decoder = _train(recipe, digits, epochs)
        unfinished = path.with_suffix(".part")
        export_vae(
            unfinished,
            name=recipe.key,
            description=f"MNIST, KL weight {recipe.beta}, seed {recipe.seed}, {epochs} epochs of {len(digits):,} rows.",
            encoder=MeanEncoder(encoder) if recipe.beta is None else encoder,
            decoder=decoder,
            rows={"kind": "image", "shape": [1, SIDE, SIDE], "range": [0, 1]},
            latent_shape=[LATENT_SIZE],
            scale="none" if recipe.beta is None else "log_variance",
            likelihood={"kind": "bernoulli"},
        )
        unfinished.rename(path)
        print(f"{path.name}: trained in {time.perf_counter() - started:.0f} s", flush=True)
    return path


def _train(recipe: Recipe, digits: Digits, epochs: int) -> tuple[Encoder, Decoder]:
    torch.manual_seed(recipe.seed)
    images = torch.from_numpy(digits.images)[:, None]
    encoder, decoder = Encoder(), Decoder()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH_ROWS):
            loss = _loss(recipe.beta, encoder, decoder, images[rows].float() / 255)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return encoder, decoder


def _loss(beta: float | None, encoder: Encoder, decoder: Decoder, x: Tensor) -> Tensor:
    """Reconstruction + beta * KL(q(z|x) || N(0, I)), nats per row; an autoencoder reconstructs from the mean."""
    mean, log_variance = encoder(x)
    z = mean if beta is None else mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    reconstruction = F.binary_cross_entropy_with_logits(decoder.logits(z), x, reduction="none").sum(dim=(1, 2, 3))
    if beta is None:
        return reconstruction.mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
    return (reconstruction + beta * kl).mean()
