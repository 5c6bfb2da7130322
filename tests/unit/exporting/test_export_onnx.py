"""`export_vae` where the modules become ONNX graphs. One file: loading torch.onnx takes seconds, once per process."""

import subprocess
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmill import export_vae
from latentmill.errors import InvalidBundle, NotInstalled
from workers.models import load_vae, open_bundle

D = 4
ROWS = {"kind": "tensor", "shape": [6, 2]}


class Forward(nn.Module):
    """A module whose forward is `function(self, *given)`, with the layers given by name."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, *given):
        return self.function(self, *given)


def sums(self, x):
    """No list of layers has a running sum."""
    return torch.cumsum(x.flatten(1), dim=1)


def encoder(heads=2 * D):
    return Forward(
        lambda self, x: self.heads(F.dropout(sums(self, x), 0.5, self.training)).chunk(2, 1), heads=nn.Linear(12, heads)
    )


def decoder(size=12):
    return Forward(lambda self, z: torch.cumsum(self.out(z), 1), out=nn.Linear(D, size))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def export(tmp_path):
    def exported(given=None, made=None, rows=ROWS, **options):
        options = {"latent_shape": [D]} | options
        made = made or decoder(int(np.prod(rows["shape"])))
        bundle = export_vae(tmp_path / "a.vae.zip", name="a", encoder=given, decoder=made, rows=rows, **options)
        return load_vae(open_bundle(bundle.path)), bundle

    return exported


def graphs(bundle):
    with zipfile.ZipFile(bundle.path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith(".onnx")}


def test_modules_beyond_the_layers_become_graphs_of_the_contract(export, capfd):
    module = encoder()
    module.train()
    vae, bundle = export(module)
    assert (bundle.engine, module.training) == ("onnx", True)
    assert "cumsum" in bundle.notes[-1]
    assert "test_export_onnx.py, line" in bundle.notes[-1]
    module.eval()
    x = torch.randn(5, 6, 2)
    mean, std = vae.encode(x)
    with torch.no_grad():
        wanted, log_variance = module(x)
    torch.testing.assert_close(mean, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(std, torch.exp(0.5 * log_variance), atol=1e-5, rtol=1e-5)
    assert capfd.readouterr() == ("", "")
    for name, content in graphs(bundle).items():
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        given = {"encoder.onnx": (["x"], ["mean", "scale"]), "decoder.onnx": (["z"], ["x"])}[name]
        assert ([value.name for value in model.graph.input], [value.name for value in model.graph.output]) == given
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        assert not model.functions
        assert b"/" not in content.replace(b"pytorch", b"")[:200]
        assert not any(part in content for part in (b"test_export", b"site-packages", b"forward", b"__main__"))


def test_the_same_modules_give_the_same_file(export):
    made = decoder()
    assert export(None, made)[1].digest == export(None, made)[1].digest


@pytest.mark.full
def test_the_same_modules_give_the_same_file_in_another_process(export, tmp_path):
    """Names are hashed differently there."""
    given, made = encoder(), decoder()
    first = export(given, made)[1]
    torch.save([part.state_dict() for part in (given, made)], tmp_path / "weights")
    script = f"""
import importlib.util, torch
spec = importlib.util.spec_from_file_location("elsewhere", {str(__file__)!r})
shapes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shapes)
given, made = shapes.encoder(), shapes.decoder()
for part, weights in zip((given, made), torch.load("weights", weights_only=True)):
    part.load_state_dict(weights)
print(shapes.export_vae("b.zip", name="a", encoder=given, decoder=made, rows=shapes.ROWS, latent_shape=[4]).digest)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.stdout.split() == [first.digest], result.stderr


def test_the_engine_can_be_asked_for(export):
    plain = nn.Sequential(nn.Linear(D, 12))
    assert export(None, plain)[1].engine == "torch"
    vae, bundle = export(None, plain, engine="onnx")
    assert (bundle.engine, bundle.notes[-1]) == ("onnx", "Engine onnx, as it was asked for.")
    z = torch.randn(3, D)
    torch.testing.assert_close(vae.decode(z).flatten(1), plain(z).detach())
    with pytest.raises(InvalidBundle, match="cumsum"):
        export(None, engine="torch")


CHUNKED, INTERLEAVED = (lambda h: h.chunk(2, 1)), (lambda h: h.view(-1, D, 2).unbind(-1))


@pytest.mark.parametrize(
    ("head", "split"), [("interleaved", INTERLEAVED), pytest.param("chunked", CHUNKED, marks=pytest.mark.full)]
)
def test_one_tensor_heads_stay_one_tensor(head, split, export):
    both = nn.Linear(12, 2 * D)
    vae, bundle = export(Forward(lambda self, x: self.both(sums(self, x)), both=both), head=head, scale="log_std")
    assert bundle.manifest.encoder.head == head
    x = torch.randn(3, 6, 2)
    mean, log_std = split(both(sums(None, x)).detach())
    torch.testing.assert_close(vae.encode(x), (mean, log_std.exp()), atol=1e-5, rtol=1e-5)


def test_conditional_modules_take_one_hot_and_index(export):
    given = Forward(lambda self, x, y: self.h(torch.cat([sums(self, x), y], 1)).chunk(2, 1), h=nn.Linear(15, 2 * D))
    made = Forward(lambda self, z, y: torch.cumsum(self.o(torch.cat([z, y], 1)), 1), o=nn.Linear(D + 3, 12))
    vae, _ = export(given, made, labels=["a", "b", "c"])
    z, y = torch.randn(4, D), torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(vae.decode(z, y).flatten(1), made(z, F.one_hot(y, 3).float()).detach())
    made = Forward(lambda self, z, y: torch.cumsum(self.o(z) + self.e(y), 1), o=nn.Linear(D, 12), e=nn.Embedding(3, 12))
    vae, _ = export(None, made, labels={"classes": ["a", "b", "c"], "encoding": "index"})
    torch.testing.assert_close(vae.decode(z, y).flatten(1), made(z, y).detach())


def test_a_learned_std_and_a_spatial_latent(export):
    made = Forward(lambda self, z: (sums(self, z), -F.softplus(self.s(z.flatten(1)))), s=nn.Linear(12, 12))
    vae, _ = export(
        None,
        made,
        {"kind": "tensor", "shape": [12]},
        latent_shape=[3, 2, 2],
        likelihood={"kind": "gaussian", "std": "learned"},
    )
    z = torch.randn(2, 12)
    mean, std = (value.detach() for value in made(z.view(2, 3, 2, 2)))
    torch.testing.assert_close(vae.decode_with_std(z), (mean, std.abs()))


def branch(self, x):
    return sums(self, x)[:, :D] if x.sum() > 0 else x.flatten(1)[:, :D]


def one_by_one(self, x):
    return torch.stack([torch.cumsum(row.flatten(), 0)[:D] for row in x])


def singular_values(self, x):
    return torch.linalg.svd(torch.cumsum(x @ x.transpose(1, 2), 1))[1][:, :D]


def spectrum(self, x):
    return torch.fft.rfft(x.flatten(1)).real[:, :D]


REFUSED = {
    "a branch on values": (branch, "a value that is only known when it runs (HERE, in branch)"),
    "row by row": (one_by_one, "goes through the rows one by one (HERE, in one_by_one)"),
    "no operator": (singular_values, "linalg_svd has no ONNX operator (test_export_onnx.py, line "),
    "an operator that is not run": (spectrum, "needs the ONNX operator DFT, which the service does not run (test_"),
    "a fixed batch": (lambda self, x: sums(self, x).view(3, -1)[:, :D], "it returns [3, 4] for 8 rows"),
    "numbers taken out": (lambda self, x: torch.tensor(x.flatten(1).tolist())[:, :D], "(HERE, in <lambda>)"),
    "draws": (lambda self, x: sums(self, x)[:, :D] + torch.randn(len(x), D), "different results for the same input"),
    "drawing dropout": (lambda self, x: F.dropout(sums(self, x)[:, :D]), "different results for the same input"),
    "mixed rows": (lambda self, x: (sums(self, x) - x.mean())[:, :D], "depends on the other rows"),
    "rows in another order": (lambda self, x: sums(self, x)[:, :D].flip(0), "depends on the other rows"),
    "sums over rows": (lambda self, x: torch.cumsum(x.flatten(1)[:, :D], 0), "depends on the other rows"),
    "doubles": (lambda self, x: sums(self, x)[:, :D].double(), "returns torch.float64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_neither_engine_takes_is_named_with_its_line(name, export, tmp_path, capfd):
    function, says = REFUSED[name]
    line = function.__code__.co_firstlineno + (function.__name__ != "<lambda>")
    with pytest.raises(InvalidBundle) as refusal:
        export(Forward(function), scale="none")
    assert says.replace("HERE", f"test_export_onnx.py, line {line}") in refusal.value.detail
    assert len(refusal.value.detail) < 1000
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_float32_costs_the_modules_is_no_difference(export):
    """Angles of many turns: the last digits of a sum of 512 products are the fifth of the sine."""
    wide = nn.Sequential(nn.Linear(D, 512), nn.Tanh(), nn.Linear(512, 12))
    made = Forward(lambda self, z: torch.sin(150 * self.wide(z)), wide=wide)
    _, bundle = export(None, made, engine="onnx")
    assert 1e-5 < bundle.largest_difference < 1e-3
    assert "what float32 costs the modules by themselves" in bundle.notes[-2]


def test_a_module_that_takes_no_single_row_is_compared_in_batches(export):
    made = Forward(lambda self, z: torch.cumsum(self.out(z[:, None]).squeeze(), 1), out=nn.Linear(D, 12))
    vae, _ = export(None, made)
    z = torch.randn(4, D)
    torch.testing.assert_close(vae.decode(z).flatten(1), made(z).detach(), atol=1e-5, rtol=1e-5)


def test_the_number_of_rows_may_be_their_len(export):
    def decode(self, z):
        h = torch.cumsum(self.out(z), 1)
        return h.view(len(z), 6, 2) + self.shift.expand(len(z), -1, -1)

    made = Forward(decode, out=nn.Linear(D, 12), shift=nn.Parameter(torch.randn(1, 6, 2)))
    vae, _ = export(None, made)
    z = torch.randn(4, D)
    torch.testing.assert_close(vae.decode(z), made(z).detach(), atol=1e-5, rtol=1e-5)


def test_attention_without_heads_has_one(export):
    def attend(self, x):
        seen = F.scaled_dot_product_attention(self.query(x), x, x, attn_mask=self.mask)
        return self.heads(seen.flatten(1)).chunk(2, 1)

    mask = nn.Parameter(torch.randn(1, 6, 6))
    given = Forward(attend, query=nn.Linear(2, 2), mask=mask, heads=nn.Linear(12, 2 * D))
    vae, _ = export(given)
    x = torch.randn(4, 6, 2)
    torch.testing.assert_close(vae.encode(x)[0], given(x)[0].detach(), atol=1e-5, rtol=1e-5)


def test_what_torch_said_stays_for_those_who_ask(export):
    with pytest.raises(InvalidBundle) as refusal:
        export(Forward(branch), scale="none")
    assert "data-dependent" in str(refusal.value.__cause__)


def test_the_packages_that_are_missing_are_named(export, monkeypatch):
    found = "latentmill.exporting.installed.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(NotInstalled, match=r"needs onnxscript: pip install 'latentmill\[export\]'.*cumsum"):
        export()
