"""`export_vae` on many shapes of modules: what it takes does the same in the bundle, what it refuses it names."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmill import export_vae
from latentmill.errors import InvalidBundle, StorageFault
from workers.models import load_vae, open_bundle

D = 4
IMAGE = {"kind": "image", "shape": [1, 8, 8]}
TENSOR = {"kind": "tensor", "shape": [12]}


class Forward(nn.Module):
    """A module whose forward is `function(self, given[, y])`, with the layers given by name."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            if isinstance(layer, torch.Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)
        self.function = function

    def forward(self, given):
        return self.function(self, given)


class Conditional(Forward):
    def forward(self, given, y):
        return self.function(self, given, y)


def linear_decoder(size=64):
    return nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, size))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def export(tmp_path: Path):
    """Export, open again, and check on rows of our own that the bundle does what the modules do."""

    def exported(encoder=None, decoder=None, rows=IMAGE, **options):
        size = int(np.prod(rows["shape"]))
        decoder = decoder or linear_decoder(size)
        options = {"latent_shape": [D], "likelihood": {"kind": "point"}} | options
        bundle = export_vae(tmp_path / "a.vae.zip", name="a", encoder=encoder, decoder=decoder, rows=rows, **options)
        assert bundle.largest_difference <= 1e-5
        return load_vae(open_bundle(bundle.path)), bundle

    return exported


def heads(width=64, size=2 * D):
    return nn.Linear(width, size)


def two_heads(self, h):
    return self.mean(h), self.scale(h)


def image_encoder(function, **layers):
    """An encoder for 1 x 8 x 8 images: `function` makes 64 values of them, two linear heads follow."""
    return Forward(
        lambda self, x: two_heads(self, function(self, x)), mean=heads(size=D), scale=heads(size=D), **layers
    )


def residual(self, x):
    h = F.relu(self.a(x))
    return (x + self.b(h)).flatten(1)


ENCODERS = {
    "flat": image_encoder(lambda self, x: x.view(x.size(0), -1)),
    "flatten from 1": image_encoder(lambda self, x: torch.flatten(x, 1)),
    "reshape by shape": image_encoder(lambda self, x: x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])),
    "nn.Flatten": image_encoder(lambda self, x: self.flat(x), flat=nn.Flatten()),
    "a branch on the shape": image_encoder(lambda self, x: (x if x.dim() == 2 else x.view(len(x), -1)) * 2 - 1),
    "conv and batch norm": image_encoder(
        lambda self, x: self.net(x),
        net=nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Flatten()
        ),
    ),
    "dense and batch norm": image_encoder(
        lambda self, x: self.norm(self.fc(x.flatten(1))), fc=nn.Linear(64, 64), norm=nn.BatchNorm1d(64)
    ),
    "group norm, silu": image_encoder(
        lambda self, x: F.silu(self.norm(self.conv(x))).mean(dim=1).flatten(1),
        conv=nn.Conv2d(1, 8, 3, padding="same", padding_mode="reflect"),
        norm=nn.GroupNorm(2, 8),
    ),
    "residual": image_encoder(residual, a=nn.Conv2d(1, 3, 3, padding=1), b=nn.Conv2d(3, 1, 3, padding=1)),
    "layer norm, gelu tanh": image_encoder(
        lambda self, x: F.gelu(self.norm(x.flatten(1)), approximate="tanh"), norm=nn.LayerNorm(64)
    ),
    "pools and upsampling": image_encoder(
        lambda self, x: F.interpolate(
            F.avg_pool2d(F.max_pool2d(x, 2), 2), scale_factor=4, mode="bilinear", align_corners=False
        ).flatten(1)
    ),
    "adaptive pool, pixel shuffle": image_encoder(
        lambda self, x: self.shuffle(F.adaptive_avg_pool2d(x, 4).repeat(1, 4, 1, 1)).flatten(1),
        shuffle=nn.PixelShuffle(2),
    ),
    "pads": image_encoder(
        lambda self, x: self.pad(F.pad(x, (1, 0, 2, 0), value=0.5))[:, :, 3:-2, 2:].reshape(-1, 64),
        pad=nn.ReflectionPad2d((1, 0, 1, 2)),
    ),
    "permute and transpose": image_encoder(lambda self, x: x.permute(0, 2, 3, 1).transpose(1, 2).reshape(len(x), 64)),
    "chunk, cat, stack": image_encoder(
        lambda self, x: torch.cat(
            [torch.stack(x.chunk(2, dim=2), dim=1).flatten(2)[:, 0], x[:, 0, 4:].flatten(1)], dim=-1
        )
    ),
    "numpy's numbers": image_encoder(
        lambda self, x: self.fc(x.reshape(-1, np.prod((1, 8, 8)))) * np.float32(0.5),
        fc=nn.Linear(np.prod((1, 8, 8)), 64),
    ),
    "split and select": image_encoder(
        lambda self, x: torch.cat([part.flatten(1) for part in x.split([3, 5], dim=-1)] + [x[..., 0].flatten(1)], 1)[
            :, :64
        ]
    ),
    "stored mean and std": image_encoder(
        lambda self, x: ((x - self.shift) / self.spread + torch.tensor([0.5])).flatten(1),
        shift=torch.full((1, 1, 1, 1), 0.3),
        spread=nn.Parameter(torch.rand(8) + 1),
    ),
    "functions of one value": image_encoder(
        lambda self, x: (1 - torch.exp(-x.abs()).clamp(0.1, 0.9) ** 2).softmax(dim=-1).flatten(1)
    ),
    "functions with stored weights": image_encoder(
        lambda self, x: F.layer_norm(F.conv2d(x, self.kernel * 0.5, padding=1) @ self.weight, [8], eps=1e-4).flatten(1),
        kernel=nn.Parameter(torch.randn(1, 1, 3, 3)),
        weight=nn.Parameter(torch.randn(8, 8)),
    ),
    "gates, norms of another kind": image_encoder(
        lambda self, x: self.norm(F.glu(self.wide(x), dim=1) + F.softshrink(self.up(x)[..., ::2])).flatten(1),
        wide=nn.Conv2d(1, 2, 1),
        up=nn.Upsample(scale_factor=(1, 2)),
        norm=nn.RMSNorm(8),
    ),
    "turned and repeated": image_encoder(
        lambda self, x: (
            torch.flip(x.movedim(2, 3), [2])[:, :, :4].repeat(1, 1, 2, 1).flatten(1)
            + x[:, :, :1].repeat_interleave(8, dim=2).flatten(1)
            + x.amax(dim=(1, 2)).tile(1, 8)
            + x.sum(-1, keepdim=True).expand(-1, -1, -1, 8).reshape(len(x), -1)
            - x.min(dim=3)[0].sqrt().pow(2).repeat(1, 8, 1).flatten(1)
        ),
    ),
    "a weight's product of its own": image_encoder(
        lambda self, x: torch.addmm(self.bias, x.flatten(1), self.first @ self.second),
        bias=nn.Parameter(torch.randn(64)),
        first=nn.Parameter(torch.randn(64, 2)),
        second=nn.Parameter(torch.randn(2, 64)),
    ),
    "in place": image_encoder(lambda self, x: F.relu(self.conv(x), inplace=True).flatten(1), conv=nn.Conv2d(1, 1, 1)),
    "the same layer twice": image_encoder(lambda self, x: self.same(self.same(x.flatten(1))), same=nn.Linear(64, 64)),
    "linear with its own weights": image_encoder(
        lambda self, x: F.linear(x.flatten(1), self.weight), weight=nn.Parameter(torch.randn(64, 64) / 8)
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name, export):
    encoder = ENCODERS[name]
    encoder.train()
    vae, _ = export(encoder)
    assert encoder.training
    assert all(part.training for part in encoder.modules())
    encoder.eval()
    x = torch.rand(20, 1, 8, 8)
    mean, std = vae.encode(x)
    with torch.no_grad():
        expected_mean, log_variance = encoder(x)
    torch.testing.assert_close(mean, expected_mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(std, torch.exp(0.5 * log_variance), atol=1e-5, rtol=1e-5)


HEADS = {
    "pair": (lambda self, x: tuple(self.heads(x.flatten(1)).chunk(2, 1)), "pair"),
    "unbind": (lambda self, x: self.heads(x.flatten(1)).view(-1, D, 2).unbind(-1), "pair"),
    "chunked": (lambda self, x: self.heads(x.flatten(1)), "chunked"),
    "interleaved": (lambda self, x: self.heads(x.flatten(1)), "interleaved"),
    "interleaved view": (lambda self, x: self.heads(x.flatten(1)).view(-1, D, 2), "interleaved"),
}
SCALES = {
    "log_variance": lambda s: torch.exp(0.5 * s),
    "log_std": torch.exp,
    "variance": torch.sqrt,
    "std": torch.abs,
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name, export):
    function, head = HEADS[name]
    encoder = Forward(function, heads=heads())
    vae, _ = export(encoder, head=head)
    x = torch.rand(6, 1, 8, 8)
    both = encoder.heads(x.flatten(1)).detach()
    mean, log_variance = both.view(-1, D, 2).unbind(-1) if name not in ("pair", "chunked") else both.chunk(2, 1)
    ours = vae.encode(x)
    torch.testing.assert_close(ours[0], mean)
    torch.testing.assert_close(ours[1], torch.exp(0.5 * log_variance))


@pytest.mark.parametrize("scale", SCALES)
def test_scales_become_std(scale, export):
    encoder = Forward(lambda self, x: tuple(self.heads(x.flatten(1)).chunk(2, 1)), heads=heads())
    vae, _ = export(encoder, scale=scale)
    x = torch.rand(6, 1, 8, 8)
    expected = SCALES[scale](encoder(x)[1].detach())
    torch.testing.assert_close(vae.encode(x)[1], expected, equal_nan=True)


def test_no_scale_means_no_noise(export):
    vae, _ = export(Forward(lambda self, x: self.heads(x.flatten(1)), heads=heads(size=D)), scale="none")
    mean, std = vae.encode(torch.rand(6, 1, 8, 8))
    assert mean.shape == std.shape == (6, D)
    assert not std.any()


def test_latents_and_rows_with_axes(export):
    encoder = nn.Sequential(nn.Conv2d(3, 8, 4, stride=2, padding=1))
    decoder = nn.Sequential(nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), nn.Tanh())
    rows = {"kind": "image", "shape": [3, 8, 8], "range": [-1, 1]}
    vae, _ = export(encoder, decoder, rows, latent_shape=[4, 4, 4], head="chunked")
    mean, std = vae.encode(torch.rand(5, 3, 8, 8))
    assert mean.shape == std.shape == (5, 64)
    z = torch.randn(5, 64)
    torch.testing.assert_close(vae.decode(z), decoder(z.view(5, 4, 4, 4)).detach())


def test_conditional_modules_with_one_hot_and_index(export):
    classes = ["a", "b", "c"]

    def decode(self, z, y):
        return self.out(torch.cat([z, y], dim=1)).view(-1, 1, 8, 8)

    def encode(self, x, y):
        tiled = y[:, :, None, None].expand(-1, -1, 8, 8)
        return self.heads(self.conv(torch.cat([x, tiled], 1)).flatten(1)).chunk(2, 1)

    encoder = Conditional(encode, heads=heads(), conv=nn.Conv2d(4, 1, 1))
    decoder = Conditional(decode, out=nn.Linear(D + 3, 64))
    vae, _ = export(encoder, decoder, labels={"classes": classes})
    y = torch.tensor([2, 0, 1, 2])
    z, x = torch.randn(4, D), torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(vae.decode(z, y), decoder(z, F.one_hot(y, 3).float()).detach())
    torch.testing.assert_close(vae.encode(x, y)[0], encoder(x, F.one_hot(y, 3).float())[0].detach())

    def by_index(self, z, y):
        return self.out(torch.cat([z, self.names(y), F.one_hot(y, 3).float()], dim=1))

    decoder = Conditional(by_index, out=nn.Linear(D + 5, 64), names=nn.Embedding(3, 2))
    vae, bundle = export(None, decoder, labels={"classes": classes, "encoding": "index"})
    torch.testing.assert_close(vae.decode(z, y).flatten(1), decoder(z, y).detach())
    assert any("[64]" in note for note in bundle.notes)


def test_decoders_with_a_learned_std(export):
    decoder = Forward(lambda self, z: (self.x(z), F.softplus(self.s(z)) + 0.1), x=nn.Linear(D, 12), s=nn.Linear(D, 12))
    vae, _ = export(None, decoder, TENSOR, likelihood={"kind": "gaussian", "std": "learned"})
    z = torch.randn(3, D)
    mean, std = vae.decode_with_std(z)
    torch.testing.assert_close((mean, std), tuple(value.detach() for value in decoder(z)))


@pytest.mark.parametrize(
    "std", [lambda s, x: s.exp().expand_as(x), lambda s, x: torch.ones_like(x) * s.exp(), lambda s, x: x * 0 + s.exp()]
)
def test_decoders_with_one_std_for_all_rows(std, export):
    decoder = Forward(
        lambda self, z: (self.x(z), std(self.log_std, self.x(z))),
        x=nn.Linear(D, 12),
        log_std=nn.Parameter(torch.randn(12)),
    )
    vae, _ = export(None, decoder, TENSOR, likelihood={"kind": "gaussian", "std": "learned"}, engine="torch")
    z = torch.randn(3, D)
    torch.testing.assert_close(vae.decode_with_std(z), tuple(value.detach() for value in decoder(z)))


def test_what_no_output_needs_is_not_looked_at(export):
    def drawing(self, x):
        mean, log_variance = self.heads(x.flatten(1)).chunk(2, 1)
        return mean + torch.randn_like(mean) * log_variance.exp(), mean, log_variance

    vae, bundle = export(Forward(drawing, heads=heads()), outputs={"mean": 1, "scale": 2}, engine="torch")
    assert bundle.engine == "torch"
    assert vae.encode(torch.rand(3, 1, 8, 8))[0].shape == (3, D)


def test_a_learned_prior_travels(export):
    means = torch.randn(3, D)
    prior = {"kind": "mixture", "weights": torch.full((3,), 1 / 3), "means": means, "variances": torch.ones(3, D)}
    vae, _ = export(None, prior=prior)
    assert np.allclose(vae.prior_parameters["means"], means)


def test_the_same_modules_give_the_same_bytes(export):
    encoder, decoder = ENCODERS["residual"], linear_decoder()
    first = export(encoder, decoder)[1]
    assert first.digest == export(encoder, decoder)[1].digest
    assert [path.name for path in first.path.parent.iterdir()] == ["a.vae.zip"]


def test_the_folder_is_made_and_the_result_is_short_to_read(tmp_path):
    path = tmp_path / "new" / "a.vae.zip"
    bundle = export_vae(path, name="a", encoder=None, decoder=linear_decoder(), latent_shape=D, rows=IMAGE)
    assert path.is_file()
    assert len(repr(bundle)) - len(str(path)) < 220
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match="file"):
        export_vae(
            tmp_path / "file" / "a.zip", name="a", encoder=None, decoder=linear_decoder(), latent_shape=D, rows=IMAGE
        )


def test_modes_are_noted_and_examples_are_decoded(export):
    rows = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    _, bundle = export(ENCODERS["conv and batch norm"], examples=rows)
    assert "BatchNorm and Dropout" in bundle.notes[0]
    assert "declared as head 'pair'" in bundle.notes[1]


REFUSED = {
    "drawing": (lambda self, x: torch.randn_like(x.flatten(1)[:, :D]), {}, "draws random numbers"),
    "a branch on values": (
        lambda self, x: x.flatten(1)[:, :D] if x.sum() > 0 else -x.flatten(1)[:, :D],
        {},
        "only known",
    ),
    "a layer of another kind": (
        lambda self, x: self.attention(x[:, 0], x[:, 0], x[:, 0])[0][:, 0, :D],
        {"attention": nn.MultiheadAttention(8, 2, batch_first=True)},
        "MultiheadAttention",
    ),
    "a bilinear layer": (lambda self, x: self.b(x.flatten(1), x.flatten(1)), {"b": nn.Bilinear(64, 64, D)}, "Bilinear"),
    "an unknown function": (lambda self, x: torch.cumsum(x.flatten(1), 1)[:, :D], {}, "cumsum"),
    "a matrix that is no weight": (lambda self, x: (x[:, 0] @ x[:, 0]).flatten(1)[:, :D], {}, "matrices that are both"),
    "arguments of another kind": (lambda self, x: torch.max(x, self.w).flatten(1)[:, :D], {"w": torch.ones(1)}, "max"),
    "numpy": (lambda self, x: torch.from_numpy(np.asarray(x.flatten(1)[:, :D])), {}, "cannot be exported"),
    "rows mixed by reshape": (lambda self, x: x.reshape(64, -1).t()[:, :D], {}, "rows"),
    "rows mixed by mean": (lambda self, x: (x - x.mean()).flatten(1)[:, :D], {}, "over the rows"),
    "rows mixed by softmax": (lambda self, x: x.flatten(1).softmax(0)[:, :D], {}, "axis 0"),
    "rows picked": (lambda self, x: x.flatten(1)[torch.arange(len(x)), :D], {}, "index"),
    "batch norm of the batch": (
        lambda self, x: self.n(x.flatten(1))[:, :D],
        {"n": nn.BatchNorm1d(64, track_running_stats=False)},
        "depends on the others",
    ),
    "dropout that stays": (lambda self, x: F.dropout(x.flatten(1)[:, :D], 0.0), {}, "training=True"),
    "another number of tensors": (lambda self, x: (x.flatten(1)[:, :D],) * 3, {}, 'outputs={"mean": 0}'),
    "a dictionary of another": (
        lambda self, x: {"a": x[:, 0], "b": x[:, 0]},
        {},
        "2 tensors in a dict ('a': [3, 8, 8]",
    ),
    "an error of its own": (lambda self, x: self.missing(x), {}, "missing"),
    "a result without input": (
        lambda self, x: self.w,
        {"w": nn.Parameter(torch.ones(3, D).cumsum(0))},
        "not made",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_named(name, export, tmp_path):
    function, layers, says = REFUSED[name]
    with pytest.raises(InvalidBundle) as refusal:
        export(Forward(function, **layers), scale="none", engine="torch")
    assert says in refusal.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_line(export):
    with pytest.raises(InvalidBundle, match=r"test_exporter\.py, line \d+"):
        export(Forward(REFUSED["an unknown function"][0]), scale="none", engine="torch")


def test_a_bundle_that_would_differ_is_refused(export):
    def sneaky(self, x):
        return F.interpolate(x, size=4, mode="bilinear", antialias=True).flatten(1)[:, :D]

    with pytest.raises(
        InvalidBundle, match=r"differs by .* more than 1e-05\. The largest difference is at \[\d+, \d\]"
    ):
        export(Forward(sneaky), scale="none", engine="torch")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"decoder": nn.Linear(D, 12).half()}, r"call decoder.float\(\)"),
        ({"decoder": lambda z: z}, "must be a torch.nn.Module"),
        ({"decoder": linear_decoder(63)}, "rows of shape"),
        ({"rows": {"kind": "image", "shape": [8, 8]}}, "/rows"),
        ({"latent_shape": [D + 1]}, "Do encoder and decoder belong together"),
        ({"decoder": nn.Linear(D + 1, 64)}, "does not run on input of shape"),
        ({"engine": "tensorrt"}, "engine must be"),
        ({"scale": "sigma"}, "/encoder/scale"),
        ({"prior": {"kind": "flow"}}, "/prior"),
        ({"labels": ["a", "b"]}, "does not run"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(options, says, export):
    with pytest.raises(InvalidBundle, match=says):
        export(ENCODERS["flat"], **options)


def test_weights_that_are_not_numbers_are_refused(export):
    decoder = linear_decoder()
    decoder[0].weight.data[0, 0] = float("nan")
    with pytest.raises(InvalidBundle, match="NaN"):
        export(None, decoder)


def run_script(folder: Path, script: str) -> subprocess.CompletedProcess:
    path = folder / "train.py"
    path.write_text(script)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=folder, check=False)


SCRIPT = """
import sys
from torch import nn
from latentmill import export_vae

rows = {"kind": "tensor", "shape": [3]}
export_vae("a.vae.zip", name="a", encoder=None, decoder=nn.Linear(2, 3), rows=rows, latent_shape=2)
print([name for name in ("celery", "sqlalchemy", "sklearn", "scipy", "httpx") if name in sys.modules])
"""


def test_exporting_needs_little_more_than_torch(tmp_path):
    result = run_script(tmp_path, SCRIPT)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_folder_of_the_same_name_is_said(tmp_path):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("")
    result = run_script(tmp_path, SCRIPT.replace("from torch import nn", "").replace("nn.Linear(2, 3)", "None"))
    assert result.returncode == 1
    assert "NotInstalled: export_vae needs Latentmill's package `workers`" in result.stderr
