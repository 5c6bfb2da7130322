"""A published VAE of somebody else's making: the checkpoints of disentangling-vae (Burgess and others, 2018).

Our own module code for their weights, as a user would write it. They want 32 x 32 pixels where MNIST has 28 x 28, so
the encoder begins with a resize and the decoder ends with one; one layer gives mean and log variance interleaved.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from latentmill import export_vae

CHECKPOINTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "disentangling-vae"
LATENT_SIZE = 10

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


class BurgessEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resize = nn.Upsample(size=(32, 32), mode="bilinear", align_corners=False)
        self.conv1 = nn.Conv2d(1, 32, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 4, stride=2, padding=1)
        self.lin1 = nn.Linear(512, 256)
        self.lin2 = nn.Linear(256, 256)
        self.mu_logvar_gen = nn.Linear(256, 2 * LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch = x.size(0)
        x = torch.relu(self.conv1(self.resize(x)))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.conv3(x))
        x = x.view((batch, -1))
        x = torch.relu(self.lin1(x))
        x = torch.relu(self.lin2(x))
        mean, log_variance = self.mu_logvar_gen(x).view(-1, LATENT_SIZE, 2).unbind(-1)
        return mean, log_variance


class BurgessDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(LATENT_SIZE, 256)
        self.lin2 = nn.Linear(256, 256)
        self.lin3 = nn.Linear(256, 512)
        self.convT1 = nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1)
        self.convT2 = nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1)
        self.convT3 = nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1)
        self.resize = nn.Upsample(size=(28, 28), mode="bilinear", align_corners=False)

    def forward(self, z: Tensor) -> Tensor:
        batch = z.size(0)
        x = torch.relu(self.lin1(z))
        x = torch.relu(self.lin2(x))
        x = torch.relu(self.lin3(x))
        x = x.view(batch, 32, 4, 4)
        x = torch.relu(self.convT1(x))
        x = torch.relu(self.convT2(x))
        return self.resize(torch.sigmoid(self.convT3(x)))


def load_burgess(checkpoint: str) -> tuple[BurgessEncoder, BurgessDecoder]:
    """The modules with a published checkpoint's weights; skips the test where the checkpoints are absent."""
    path = CHECKPOINTS / checkpoint / "model.pt"
    if not path.is_file():
        pytest.skip(f"the checkpoint is not beside the checkout ({path})")
    state = torch.load(path, map_location="cpu", weights_only=True)
    encoder, decoder = BurgessEncoder(), BurgessDecoder()
    for module, part in ((encoder, "encoder."), (decoder, "decoder.")):
        weights = {name.removeprefix(part): weight for name, weight in state.items() if name.startswith(part)}
        module.load_state_dict(weights)
        module.eval()
    return encoder, decoder


@pytest.fixture(scope="session")
def burgess_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a checkpoint's name, get its bundle."""
    folder = tmp_path_factory.mktemp("burgess")

    def bundle(checkpoint: str) -> Path:
        path = folder / f"{checkpoint}.vae.zip"
        if not path.exists():
            encoder, decoder = load_burgess(checkpoint)
            export_vae(
                path,
                name=checkpoint,
                encoder=encoder,
                decoder=decoder,
                rows={"kind": "image", "shape": [1, 28, 28], "range": [0, 1]},
                latent_shape=[LATENT_SIZE],
                likelihood={"kind": "bernoulli"},
            )
        return path

    return bundle


@pytest.fixture(scope="session")
def burgess_encoder() -> Callable[[str], Encode]:
    """Give a checkpoint's name, get its own encoder: images (n, 1, 28, 28) in [0, 1] -> mean, log variance (n, 10)."""
    return lambda checkpoint: load_burgess(checkpoint)[0]
