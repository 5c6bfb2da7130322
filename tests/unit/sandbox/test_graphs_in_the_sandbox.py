"""Bundles of ONNX graphs in the process that parses uploads: confined as it is, onnxruntime runs in it."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from latentmill.errors import InvalidBundle
from tests.unit.onnx.made_graphs import LATENT, MANIFEST, WITH_ENCODER, decoder, encoder, graph_of, node, value, write
from workers.models.limits import BundleLimits
from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.requests import InspectedBundle, InspectRequest
from workers.sandbox.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("torch"), preload=False)
    yield made
    made.close()


@pytest.fixture
def inspected(sandbox: Sandbox, tmp_path: Path) -> Callable[..., InspectedBundle]:
    """What becomes of a bundle."""

    def inspect(path: Path, *, threads: int = 1, **bounds) -> InspectedBundle:
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        request = InspectRequest(
            path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), folder=folder, threads=threads,
            limits=asdict(BundleLimits()), bounds=SandboxBounds(**bounds),
        )  # fmt: skip
        return sandbox.inspect(request, check=lambda: None)

    return inspect


def test_a_bundle_of_graphs_is_inspected_without_a_word(inspected, tmp_path, caplog):
    path = write(tmp_path / "a.zip", WITH_ENCODER, encoder__onnx=encoder())
    with caplog.at_level(logging.WARNING):
        found = inspected(path, threads=2)
    assert found.measured is not None
    assert (found.measured.execution.engine, found.measured.execution.threads) == ("onnx", 2)
    assert found.warnings == []
    assert caplog.records == []  # what onnxruntime could not reach it would have said


def test_a_refusal_comes_through(inspected, tmp_path):
    with pytest.raises(InvalidBundle, match=r"'Loop_x'.*control flow"):
        inspected(write(tmp_path / "a.zip", MANIFEST, decoder(node("Loop", "_ _ z", "x"))))


def test_memory_beyond_the_bound_is_told_by_its_setting(inspected, tmp_path):
    weights = {"W": np.ones((LATENT, 1), np.float32), "s": np.array([1, 2**24])}
    nodes = [node("MatMul", "z W", "h"), node("Expand", "h s", "big"), node("ReduceSum", "big a", "x")]
    graph = graph_of(nodes, [value("z", "N", LATENT)], [value("x", "N", 1)], {**weights, "a": np.array([1])})
    path = write(tmp_path / "a.zip", {**MANIFEST, "rows": {"kind": "tensor", "shape": [1]}}, graph)
    with pytest.raises(InvalidBundle, match="LATENTMILL_SANDBOX__MEMORY_BYTES"):
        inspected(path, memory_bytes=2**29)  # eight rows take as much, for a while
