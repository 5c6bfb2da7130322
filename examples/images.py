"""Images: a convolutional VAE on 1,797 real digits, and a dataset drawn from what its encoder learned.

    .venv/bin/python examples/images.py        picture.png, report.html and the datasets: in example-images/

The KL term has little weight (0.01), as people choose it for sharp reconstructions. What does that do to draws from
N(0, I), and what helps? A running `latentmill up` is used; where there is none, one is started for the time.
"""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from latentmill import Client, export_vae
from latentmill.errors import Unreachable
from latentmill.stack import Stack

LATENT_SIZE = 12
KL_WEIGHT = 0.01
ROWS = 20_000

parser = argparse.ArgumentParser(description="train, export, measure and generate images")
parser.add_argument("--out", type=Path, default=Path("example-images"))
parser.add_argument("--quick", action="store_true", help="every step in seconds, with rows that convince nobody")
options = parser.parse_args()
out: Path = options.out
out.mkdir(parents=True, exist_ok=True)

# ---- Your own code: data, modules, training -------------------------------------------------------------------------

digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
digits = digits[np.random.default_rng(0).permutation(len(digits))]  # in the file, neighbours are of one writer
seen, unseen = digits[:1400], digits[1400:]


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.conv2, self.norm2 = nn.Conv2d(24, 48, 4, stride=2, padding=1), nn.BatchNorm2d(48)
        self.mean = nn.Linear(48 * 4 * 4, LATENT_SIZE)
        self.log_variance = nn.Linear(48 * 4 * 4, LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.silu(self.norm1(self.conv1(x)))
        h = F.silu(self.norm2(self.conv2(h)))
        h = h.view(h.size(0), -1)
        return self.mean(h), self.log_variance(h)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm1 = nn.Linear(LATENT_SIZE, 48 * 4 * 4), nn.BatchNorm1d(48 * 4 * 4)
        self.conv1, self.norm2 = nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1), nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(24, 1, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = F.silu(self.norm1(self.linear(z))).reshape(-1, 48, 4, 4)
        h = F.silu(self.norm2(self.conv1(h)))
        return torch.sigmoid(self.conv2(h))


def train(encoder: Encoder, decoder: Decoder, images: Tensor, epochs: int) -> None:
    optimiser = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(images)).chunk(len(images) // 64):
            x = images[batch]
            mean, log_variance = encoder(x)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            reconstruction = F.binary_cross_entropy(decoder(z), x, reduction="sum") / len(x)
            kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1).mean()
            optimiser.zero_grad()
            (reconstruction + KL_WEIGHT * kl).backward()
            optimiser.step()
        schedule.step()
        if epoch % 15 == 0:
            print(f"  epoch {epoch}: reconstruction {reconstruction:.1f}, KL {kl:.1f} nats")


print(f"Training on {len(seen):,} digits; {len(unseen)} others are kept aside.")
torch.manual_seed(0)
torch.set_num_threads(1)  # so small a network gains little from more
encoder, decoder = Encoder(), Decoder()
train(encoder, decoder, torch.from_numpy(seen).float() / 255, epochs=2 if options.quick else 60)

# ---- From the modules to a bundle -----------------------------------------------------------------------------------

bundle = export_vae(
    out / "digits.vae.zip",
    name="digits",
    encoder=encoder,
    decoder=decoder,
    rows={"kind": "image", "shape": [1, 8, 8], "range": [0, 1]},
    latent_shape=[LATENT_SIZE],
    scale="log_variance",
    head="pair",
    likelihood={"kind": "bernoulli"},
    examples=seen,
)
print(f"{bundle.path} differs from the modules by at most {bundle.largest_difference:.1g}.", *bundle.notes, sep="\n  ")

# ---- Measure, and generate ------------------------------------------------------------------------------------------


def service(ending: ExitStack) -> Client:
    """The running `latentmill up`; where there is none, one in a temporary directory that ends with the script."""
    try:
        return Client()
    except Unreachable:
        print("Starting broker, API and workers ...")
        folder = ending.enter_context(tempfile.TemporaryDirectory())
        stack = ending.enter_context(Stack(data_dir=folder, port=0))
        return Client(stack.url, stack.api_key)


def generate(client: Client, strategy: dict[str, str]) -> np.ndarray:
    job = client.jobs.create(model, strategy=strategy, rows=ROWS, seed=7).wait()
    shutil.rmtree(out / strategy["kind"], ignore_errors=True)  # that of the last time
    folder = job.download(out / strategy["kind"])
    print(f"{strategy['kind']}: {ROWS:,} images in {folder}, every checksum verified.")
    return np.concatenate([np.load(path)["rows"] for path in sorted(folder.glob("*.npz"))])


with ExitStack() as ending:
    client = service(ending)
    model = client.models.add(bundle.path).wait()
    dataset = client.datasets.add(seen).wait()
    reference = client.datasets.add(unseen).wait()
    print("Fitting the latents of the digits, and comparing the densities on the digits kept aside ...")
    less = {"candidates": [{"kind": "gaussian"}], "rows": 200} if options.quick else {}
    report = client.reports.create(model, dataset, reference=reference, **less).wait()
    report.save(out / "report.html")
    print(report)
    from_prior = generate(client, {"kind": "prior"})
    recommended = generate(client, {"kind": "auto", "dataset": dataset.id})

# ---- Look -----------------------------------------------------------------------------------------------------------


def grid(images: np.ndarray) -> np.ndarray:
    """The first 80 images, ten in a line, dark on white."""
    tiles = np.pad(255 - images[:80, 0], ((0, 0), (1, 1), (1, 1)), constant_values=225)
    return np.pad(tiles.reshape(8, 10, 10, 10).swapaxes(1, 2).reshape(80, 100), 4, constant_values=255)


picture = np.hstack([grid(unseen), grid(from_prior), grid(recommended)])
Image.fromarray(picture.repeat(4, axis=0).repeat(4, axis=1)).save(out / "picture.png")
print(f"{out / 'picture.png'}: left real digits, in the middle draws from the prior, right draws as recommended.")
