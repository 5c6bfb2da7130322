"""How digits.vae.zip was made: `python -m latentmill.demo.train` trains the demo's VAE again, in about a minute.

The KL term has little weight, as it has for people who want sharp reconstructions. The price is the demo's subject: the
encoder's latents no longer fill N(0, I).
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmill.demo.digits import SIDE, load
from latentmill.export import export_vae

BUNDLE = Path(__file__).parent / "digits.vae.zip"
LATENT_SIZE = 10
KL_WEIGHT = 0.01
EPOCHS = 300
BATCH_ROWS = 64
SEED = 3


class Encoder(nn.Module):
    """(n, 1, 8, 8) -> mean and log variance, (n, 10) each."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 24, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(24 * 16, 48)
        self.heads = nn.Linear(48, 2 * LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.heads(F.silu(self.hidden(self.features(x)))).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """(n, 10) -> (n, 1, 8, 8), the probability of ink."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(LATENT_SIZE, 64), nn.SiLU(), nn.Linear(64, 24 * 16), nn.SiLU())
        self.pixels = nn.Sequential(
            nn.ConvTranspose2d(24, 16, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid()
        )

    def forward(self, z: Tensor) -> Tensor:
        pixels: Tensor = self.pixels(self.hidden(z).view(-1, 24, SIDE // 2, SIDE // 2))
        return pixels


def train() -> tuple[Encoder, Decoder]:
    """The trained pair. The same versions of torch on the same processor give the same weights."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images = torch.from_numpy(load().training).float().div(255)[:, None]
    encoder, decoder = Encoder(), Decoder()
    optimiser = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).chunk(-(-len(images) // BATCH_ROWS)):
            loss = _loss(encoder, decoder, images[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
    return encoder, decoder


def _loss(encoder: Encoder, decoder: Decoder, x: Tensor) -> Tensor:
    """Reconstruction + KL_WEIGHT * KL(q(z|x) || N(0, I)), nats per row."""
    mean, log_variance = encoder(x)
    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    reconstruction = F.binary_cross_entropy(decoder(z), x, reduction="none").sum(dim=(1, 2, 3))
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
    loss: Tensor = (reconstruction + KL_WEIGHT * kl).mean()
    return loss


def main() -> int:
    encoder, decoder = train()
    bundle = export_vae(
        BUNDLE,
        name="digits",
        description=f"8x8 digits, trained on 1,297 images of scikit-learn's set with KL weight {KL_WEIGHT}.",
        encoder=encoder,
        decoder=decoder,
        rows={"kind": "image", "shape": [1, SIDE, SIDE], "range": [0, 1]},
        latent_shape=[LATENT_SIZE],
        scale="log_variance",
        head="pair",
        likelihood={"kind": "bernoulli"},
        examples=load().training,
    )
    sys.stdout.write(f"{bundle.path}: {bundle.path.stat().st_size:,} bytes, sha256 {bundle.digest}\n")
    sys.stdout.writelines(f"{note}\n" for note in bundle.notes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
