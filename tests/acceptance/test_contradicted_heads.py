"""A VAE declared as it was not trained: the exporter says so where it has rows, and so does a fit on the stack.

Its weights are set by hand: the encoder projects rows on the four directions that they vary in, the decoder puts them
together again, and the second head is small. Nothing but decoding tells what that head means.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import nn

from latentmill import Client, export_onnx_vae, export_vae
from latentmill.export import ExportedBundle
from latentmill.resources.resource import Resource
from tests.unit.onnx.made_graphs import graph_of, node, value

SIZE, LATENT = 12, 4
ROWS = {"kind": "tensor", "shape": [SIZE]}
DIRECTIONS = torch.linalg.qr(torch.randn(SIZE, LATENT, generator=torch.Generator().manual_seed(0)))[0].T.contiguous()
ENGINES = ["torch", "onnx"]


class Encoder(nn.Module):
    """x -> mean and `second`, as a pair or in one tensor: halves, or neighbours."""

    def __init__(self, second: float, head: str) -> None:
        super().__init__()
        weight = torch.cat([DIRECTIONS, torch.zeros(LATENT, SIZE)])
        bias = torch.cat([torch.zeros(LATENT), torch.full((LATENT,), second)])
        order = torch.arange(2 * LATENT)
        if head == "interleaved":
            order = order.view(2, LATENT).T.flatten()
        self.both = nn.Linear(SIZE, 2 * LATENT)
        self.both.weight.data, self.both.bias.data = weight[order], bias[order]
        self.pair = head == "pair"

    def forward(self, x: torch.Tensor):
        both = self.both(x)
        return both.chunk(2, dim=1) if self.pair else both


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(LATENT, SIZE, bias=False)
        self.out.weight.data = DIRECTIONS.T.contiguous()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.out(z)


@dataclass(frozen=True)
class Mistake:
    """What the second head holds, how it was trained, and how it is declared."""

    second: float
    head: str
    scale: str
    declared: dict[str, str]
    said: str


MISTAKES = {
    "log variance declared a std": Mistake(-6.0, "pair", "log_variance", {"scale": "std"}, "scale 'log_variance'"),
    "std declared a log variance": Mistake(0.05, "pair", "std", {"scale": "log_variance"}, "scale 'std'"),
    "interleaved declared chunked": Mistake(
        -6.0, "interleaved", "log_variance", {"head": "chunked"}, "head 'interleaved' with scale 'log_variance'"
    ),
    "chunked declared interleaved": Mistake(
        -6.0, "chunked", "log_variance", {"head": "interleaved"}, "head 'chunked' with scale 'log_variance'"
    ),
}


def rows() -> np.ndarray:
    """Rows that vary in four directions, less than the noise would be if the head were read wrongly."""
    around = np.random.default_rng(1).normal(scale=0.5, size=(300, LATENT))
    return (around @ DIRECTIONS.numpy()).astype(np.float32)


def exported(folder: Path, mistake: Mistake, engine: str, *, right: bool) -> ExportedBundle:
    """By the torch exporter, or from two ONNX files of the same weights, with rows to try the heads on."""
    encoder, decoder = Encoder(mistake.second, mistake.head), Decoder()
    options = {
        "name": "hand-made",
        "rows": ROWS,
        "latent_shape": LATENT,
        "examples": rows(),
        "head": mistake.head,
        "scale": mistake.scale,
        **({} if right else mistake.declared),
    }
    path = folder / f"{engine} {mistake.said} {right}.vae.zip"
    if engine == "torch":
        return export_vae(path, encoder=encoder, decoder=decoder, engine=engine, **options)
    files = [folder / f"{path.stem} {part}.onnx" for part in ("encoder", "decoder")]
    for file, graph in zip(files, graphs(encoder, decoder), strict=True):
        file.write_bytes(graph.SerializeToString())
    return export_onnx_vae(path, *files, **options)


def graphs(encoder: Encoder, decoder: Decoder) -> tuple[ModelProto, ModelProto]:
    """The same layers as graphs, node by node: torch.onnx would take ten seconds for them."""
    weights = {"w": encoder.both.weight.detach().numpy(), "b": encoder.both.bias.detach().numpy()}
    x, heads = value("x", "N", SIZE), ["mean", "scale"] if encoder.pair else ["mean"]
    width = LATENT if encoder.pair else 2 * LATENT
    nodes = [node("Gemm", "x w b", "both" if encoder.pair else "mean", transB=1)]
    if encoder.pair:
        nodes.append(node("Split", "both", "mean scale", axis=1, num_outputs=2))
    outputs = [value(name, "N", width) for name in heads]
    made = node("Gemm", "z w", "x", transB=1)
    decoding = graph_of([made], [value("z", "N", LATENT)], [x], {"w": decoder.out.weight.detach().numpy()})
    return graph_of(nodes, [x], outputs, weights), decoding


def contradictions(texts) -> list[str]:
    return [text for text in texts if "is declared as" in text]


@pytest.fixture(scope="module")
def fits(stack, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Resource, tuple[str, ...]]]:
    """A fit for every mistake on either engine, none waited for, with what the exporter said."""
    client = Client(url=stack.url, api_key=stack.api_key)
    folder = tmp_path_factory.mktemp("heads")
    dataset = client.datasets.add(rows())
    made = {}
    for engine in ENGINES:
        for name, mistake in MISTAKES.items():
            bundle = exported(folder, mistake, engine, right=False)
            assert bundle.manifest.engine == engine
            model = client.models.add(bundle.path)
            fit = client.fits.create(model, dataset, family={"kind": "gaussian", "covariance": "diagonal"})
            made[engine, name] = fit, bundle.notes
    return made


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("engine", ENGINES)
def test_exporter_and_fit_say_which_reading_works(engine: str, name: str, fits) -> None:
    fit, notes = fits[engine, name]
    for said in (contradictions(notes), contradictions(fit.wait().warnings)):
        assert len(said) == 1
        assert MISTAKES[name].said in said[0].partition("decoding works when")[2]


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_said_of_what_is_declared_rightly(engine: str, name: str, tmp_path: Path) -> None:
    assert contradictions(exported(tmp_path, MISTAKES[name], engine, right=True).notes) == []
