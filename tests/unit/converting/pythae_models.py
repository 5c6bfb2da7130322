"""Run as a program, `python pythae_models.py FOLDER`: models of pythae's, some trained, with what they give themselves.

With a second word, `benchmarks`, those that it has for MNIST and CIFAR instead.

Writes FOLDER/NAME (as pythae saves it), FOLDER/NAME.npz (its own outputs), and FOLDER/live-NAME.vae.zip, the bundle of
the live model, with its notes in FOLDER/live.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from pythae import models
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.models.nn.benchmarks import cifar, mnist
from pythae.trainers import (
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerTrainer,
    CoupledOptimizerTrainerConfig,
)
from torch import nn

from latentmill import export_pythae
from latentmill.errors import LatentmillError

FOLDER = Path(sys.argv[1])
IMAGE = (1, 8, 8)


class ConvEncoder(BaseEncoder):
    def __init__(self, config):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.mean, self.log_var = nn.Linear(64, config.latent_dim), nn.Linear(64, config.latent_dim)

    def forward(self, x):
        h = self.net(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))


class ConvDecoder(BaseDecoder):
    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(config.latent_dim, 64)
        self.net = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Sigmoid())

    def forward(self, z):
        return ModelOutput(reconstruction=self.net(self.fc(z).reshape(z.shape[0], 4, 4, 4)))


class AxesEncoder(BaseEncoder):
    """Latents that keep their axes, 2 x 4 x 4: latent_dim says nothing of them."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 2, 4, 2, 1)

    def forward(self, x):
        return ModelOutput(embedding=self.net(x))


class AxesDecoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.net = nn.ConvTranspose2d(2, 1, 4, 2, 1)

    def forward(self, z):
        return ModelOutput(reconstruction=self.net(z))


class OwnLoss(models.VAE):
    def loss_function(self, *given):
        return super().loss_function(*given)


class OwnForward(models.VAE):
    def forward(self, inputs, **options):
        return super().forward(inputs, **options)


def rows(shape, count=64):
    """Rows in [0, 1] of two factors."""
    generator = torch.Generator().manual_seed(1)
    factors, loadings = torch.randn(count, 2, generator=generator), torch.randn(2, int(np.prod(shape)))
    return torch.sigmoid(factors @ loadings).reshape(count, *shape)


def trained(model, trainer=BaseTrainer, config=BaseTrainerConfig, **options):
    """The model after two epochs of pythae's own trainer."""
    common = {"output_dir": str(FOLDER / "training"), "num_epochs": 2, "learning_rate": 1e-3, "no_cuda": True}
    data = rows(model.input_dim)
    config = config(per_device_train_batch_size=32, **common, **options)
    trainer(model=model, train_dataset=BaseDataset(data, torch.zeros(len(data))), training_config=config).train()
    return model


def benchmark(module, kind, data, shape):
    """A VAE of the networks that pythae has for a known data set."""
    config = models.VAEConfig(input_dim=shape, latent_dim=4)
    encoder, decoder = getattr(module, f"Encoder_{kind}_VAE_{data}"), getattr(module, f"Decoder_{kind}_AE_{data}")
    return models.VAE(config, encoder=encoder(config), decoder=decoder(config))


def benchmarks():
    yield "conv-mnist", benchmark(mnist, "Conv", "MNIST", (1, 28, 28))
    yield "conv-cifar", benchmark(cifar, "Conv", "CIFAR", (3, 32, 32))
    yield "resnet-cifar", benchmark(cifar, "ResNet", "CIFAR", (3, 32, 32))


def made():
    """Every model by name."""
    torch.manual_seed(0)
    bce = {"input_dim": IMAGE, "latent_dim": 3, "reconstruction_loss": "bce"}
    yield "VAE", trained(models.VAE(models.VAEConfig(**bce)))
    yield "VAMP", trained(models.VAMP(models.VAMPConfig(**bce, number_components=6)))
    coupled = {"encoder_optimizer_cls": "Adam", "decoder_optimizer_cls": "Adam"}
    rae = models.RAE_L2(models.RAE_L2_Config(input_dim=(12,), latent_dim=3))
    yield "RAE_L2", trained(rae, CoupledOptimizerTrainer, CoupledOptimizerTrainerConfig, **coupled)
    config = models.BetaVAEConfig(input_dim=IMAGE, latent_dim=3)
    yield "conv", trained(models.BetaVAE(config, encoder=ConvEncoder(config), decoder=ConvDecoder(config)))
    yield "resnet", benchmark(mnist, "ResNet", "MNIST", (1, 28, 28))
    plain = {"input_dim": IMAGE, "latent_dim": 3}
    config = models.VAEConfig(latent_dim=3)  # without input_dim
    yield "shapeless", models.VAE(config, encoder=ConvEncoder(config), decoder=ConvDecoder(config))
    yield "axes", models.AE(models.AEConfig(**plain), encoder=AxesEncoder(), decoder=AxesDecoder())
    yield "AE", models.AE(models.AEConfig(**plain))
    yield "WAE_MMD", models.WAE_MMD(models.WAE_MMD_Config(**plain))
    yield "VAEGAN", models.VAEGAN(models.VAEGANConfig(**plain))
    yield "IWAE", models.IWAE(models.IWAEConfig(**plain))
    yield "Adversarial_AE", models.Adversarial_AE(models.Adversarial_AE_Config(**plain, deterministic_posterior=True))
    yield "VAE_IAF", models.VAE_IAF(models.VAE_IAF_Config(**plain, hidden_size=16))
    yield "VAE_LinNF", models.VAE_LinNF(models.VAE_LinNF_Config(**plain, flows=["Planar", "Radial"]))
    yield "HVAE", models.HVAE(models.HVAEConfig(**plain))
    yield "VQVAE", models.VQVAE(models.VQVAEConfig(**plain, num_embeddings=8))
    yield "SVAE", models.SVAE(models.SVAEConfig(**plain))
    yield "PoincareVAE", models.PoincareVAE(models.PoincareVAEConfig(**plain))
    yield "OwnLoss", OwnLoss(models.VAEConfig(**plain))
    yield "OwnForward", OwnForward(models.VAEConfig(**plain))


def flowed(model, z):
    """What the decoder of `model` sees of latents z before its flow, if it has one."""
    if isinstance(model, models.VAE_IAF):
        return model.iaf_flow.inverse(z).out
    for layer in getattr(model, "net", ()):
        z = layer(z).out
    return z


@torch.no_grad()
def outputs(model):
    """What pythae gives for seeded rows and latents."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(9, *(model.input_dim or IMAGE), generator=generator)
    encoded = model.encoder(x)
    z = torch.randn(encoded["embedding"].shape, generator=generator)
    values = {"x": x, "z": z, "mean": encoded["embedding"], "decoded": model.decoder(z)["reconstruction"]}
    values["decoded_after_flow"] = model.decoder(flowed(model, z))["reconstruction"]
    if "log_covariance" in encoded:
        values["std"] = torch.exp(0.5 * encoded["log_covariance"])
    if isinstance(model, models.VAMP):
        values["log_prior"] = model._log_p_z(z) - 0.5 * model.latent_dim * np.log(2 * np.pi)  # which pythae leaves out
    return {name: value.numpy() for name, value in values.items()}


live = {}
for name, model in benchmarks() if "benchmarks" in sys.argv else made():
    model.save(str(FOLDER / name))
    before = {part: module.training for part, module in model.named_modules()}
    try:
        said = {"kind": "image", "shape": list(IMAGE)} if model.input_dim is None else None
        bundle = export_pythae(FOLDER / f"live-{name}.vae.zip", model, rows=said)
        live[name] = {"notes": bundle.notes}
    except LatentmillError as error:
        live[name] = {"refused": error.detail}
    assert before == {part: module.training for part, module in model.named_modules()}
    np.savez(FOLDER / f"{name}.npz", **outputs(model.eval()))
(FOLDER / "live.json").write_text(json.dumps(live))
