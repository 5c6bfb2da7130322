"""Recurrent steps, and steps that run again, that strangers could write: refused before they take memory or time."""

import resource
import time

import pytest

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models import DEFAULT_LIMITS
from workers.models.architectures.registry import build
from workers.models.shapes import check_shapes

GRU = {"id": "gru", "layer": "GRU", "input_size": 1, "hidden_size": 3}
LSTM = {**GRU, "id": "lstm", "layer": "LSTM"}
SEQUENCE = {"id": "sequence", "layer": "Reshape", "shape": [2, 1]}
LONG = [{"layer": "Reshape", "shape": [1, 2]}, {"layer": "Expand", "shape": [2**19, 2]}]


def refused(*steps, outputs=None) -> InvalidBundle:
    network = {"steps": list(steps), **({"outputs": outputs} if outputs else {})}
    manifest = VaeManifest.model_validate(
        {
            "name": "small",
            "engine": "torch",
            "latent": {"shape": [2]},
            "rows": {"kind": "tensor", "shape": [3]},
            "architecture": {"name": "sequential", "decoder": network},
        }
    )
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidBundle) as caught:
        check_shapes(build(manifest, DEFAULT_LIMITS), manifest, DEFAULT_LIMITS)
    assert time.process_time() - started < 20  # what loads once is a few seconds of that
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024  # KiB
    return caught.value


@pytest.mark.parametrize(
    ("step", "pointer", "says"),
    [
        ({**GRU, "num_layers": 10**6}, "num_layers", "from 1 to 64"),
        ({**GRU, "num_layers": 0}, "num_layers", "from 1 to 64"),
        ({**GRU, "hidden_size": 2**20}, "hidden_size", "from 1 to 65,536"),
        ({**GRU, "hidden_size": 3.5}, "hidden_size", "whole number"),
        ({**GRU, "input_size": -1}, "input_size", "from 1 to 65,536"),
        ({**GRU, "bidirectional": 2}, "bidirectional", "true or false"),
        ({**GRU, "batch_first": False}, "batch_first", "no number 'batch_first'"),
        ({**GRU, "dropout": 0.5}, "dropout", "no number 'dropout'"),
        ({**GRU, "proj_size": 2}, "proj_size", "no number 'proj_size'"),
        ({**LSTM, "proj_size": 3}, "", "proj_size has to be smaller"),
        ({**LSTM, "inputs": ["sequence", "sequence"]}, "inputs", "takes 1 or 3 inputs, not 2"),
        ({**GRU, "layer": "RNN", "nonlinearity": "sin"}, "nonlinearity", "one of tanh, relu"),
        ({"layer": "ReLU", "inputs": ["sequence.hidden"]}, "inputs", "earlier steps"),
        ({"same_as": "later"}, "same_as", "an earlier step"),
        ({"same_as": {}}, "same_as", "an earlier step"),
        ({"same_as": "z"}, "same_as", "an earlier step"),
        ({"same_as": "sequence", "shape": [1, 2]}, "shape", "cannot be said again"),
        ({"same_as": "sequence", "inputs": ["z", "z"]}, "inputs", "takes 1 inputs"),
        ({"same_as": "sequence", "id": "sequence"}, "id", "not used before"),
    ],
)
def test_numbers_of_recurrent_steps_are_checked(step, pointer, says):
    error = refused(SEQUENCE, step)
    assert says in error.detail
    assert error.errors[0].pointer == f"/architecture/decoder/steps/1/{pointer}".rstrip("/")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([GRU], "a sequence is (rows, steps, 1), not of shape [1, 2]"),
        ([SEQUENCE, {**GRU, "input_size": 2}], "a sequence is (rows, steps, 2)"),
        ([SEQUENCE, {**GRU, "inputs": ["sequence", "z"]}], "[1, 1, 3], not [1, 2]"),
        ([SEQUENCE, LSTM, {**LSTM, "id": "b", "inputs": ["sequence", "lstm", "lstm.cell"]}], "not [1, 2, 3]"),
        ([SEQUENCE, {"layer": "Slice", "dim": 1, "stop": 0}, GRU], "not of shape [1, 0, 1]"),
        ([{**GRU, "layer": "GRUCell"}], "in the step 'gru'"),
        ([*LONG, {**GRU, "input_size": 2}], "for one row"),
        ([*LONG, {**GRU, "input_size": 2, "num_layers": 64, "hidden_size": 65_536}], "values per row"),
        ([SEQUENCE, *[{**GRU, "id": f"g{n}", "hidden_size": 1, "num_layers": 64} for n in range(4096)]], "4,096 are"),
        ([SEQUENCE, GRU], "rows of shape [2, 3]"),
    ],
)  # fmt: skip
def test_sequences_that_do_not_fit_or_would_take_hours_are_refused_unrun(steps, says):
    assert says in refused(*steps).detail


def test_steps_that_wait_for_each_other_count():
    """However narrow it is, a cell takes its microseconds: a thousand layers over a thousand steps take minutes."""
    long = [{"layer": "Reshape", "shape": [1, 2]}, {"layer": "Expand", "shape": [1024, 2]}]
    cells = [{**GRU, "id": f"g{n}", "input_size": 2, "hidden_size": 2, "num_layers": 64} for n in range(16)]
    assert "its sequences shorter" in refused(*long, *cells).detail


def test_a_module_that_runs_again_is_counted_again():
    wide = {"id": "wide", "layer": "Linear", "in_features": 2, "out_features": 2**24}
    narrow = {"id": "narrow", "layer": "Linear", "in_features": 2**24, "out_features": 2}
    pairs = [{"same_as": name} for _ in range(20_000) for name in ("wide", "narrow")]
    assert "1 to 4,096" in refused(wide, narrow, *pairs).detail
    assert "1,073,741,824 values" in refused(wide, narrow, *pairs[:200]).detail


def test_outputs_name_what_steps_make():
    assert "must name steps" in refused(SEQUENCE, GRU, outputs=["gru.cell"]).detail
    assert "must name steps" in refused(SEQUENCE, GRU, outputs=[["gru"]]).detail
    assert "rows of shape [1, 3]" in refused(SEQUENCE, GRU, outputs=["gru.hidden"]).detail
