"""docs/architectures.md: its tables are those of the registry, and its code runs.

`python tests/unit/test_architectures_page.py` writes the tables anew.
"""

import json
import re
from pathlib import Path

import pytest
import torch

from latentmill.specs import VaeManifest
from workers.models import DEFAULT_LIMITS
from workers.models.architectures import autoencoder_kl, conv, mlp, residual
from workers.models.architectures.interface import Architecture
from workers.models.architectures.registry import BUILT_IN, build
from workers.models.architectures.sequential.architecture import ALLOWED
from workers.models.architectures.sequential.numbers import REQUIRED
from workers.models.shapes import check_shapes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"
CHECKS = {module.__name__.rpartition(".")[2]: module.CHECKS for module in (mlp, conv, residual, autoencoder_kl)}


def bound_of(check) -> str:
    """What the check says of something that it takes in no way."""
    with pytest.raises(ValueError, match=r".") as refusal:
        check(object())
    return str(refusal.value)


def numbers_table(name: str) -> str:
    lines = ["| number | must be | default |", "|---|---|---|"]
    for number, (check, default) in CHECKS[name].items():
        needed = default is None and "null" not in bound_of(check)
        lines.append(f"| `{number}` | {bound_of(check)} | {'(needed)' if needed else f'`{json.dumps(default)}`'} |")
    return "\n".join(lines)


def layers_table() -> str:
    lines = ["| layer | numbers | inputs |", "|---|---|---|"]
    for name in sorted(ALLOWED):
        layer = ALLOWED[name]
        numbers = ", ".join(
            f"`{number}`" if rule.default is REQUIRED else f"`{number} = {json.dumps(rule.default)}`"
            for number, rule in layer.numbers.items()
        )
        inputs = list(layer.inputs)
        counted = " or ".join(map(str, inputs)) if len(inputs) <= 2 else f"{inputs[0]} to {inputs[-1]}"
        lines.append(f"| {name} | {numbers} | {counted} |")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """The page with every table as the registry has it."""
    for name in BUILT_IN:
        table = layers_table() if name == "sequential" else numbers_table(name)
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, after = text.partition(start)
        assert found, f"docs/architectures.md has no place for {name}"
        text = f"{before}{start}{table}\n{end}{after.partition(end)[2]}"
    return text


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.S)


def test_the_tables_are_those_of_the_registry():
    text = PAGE.read_text()
    assert text == with_tables(text), "write them anew: python tests/unit/test_architectures_page.py"


def test_the_example_of_training_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    exec(blocks("python")[0], names)
    assert (tmp_path / "mine.vae.zip").is_file()
    assert names["bundle"].manifest.architecture == names["architecture"]


def manifest_of(architecture: dict, **changes) -> VaeManifest:
    manifest = {"name": "a", "engine": "torch", "latent": {"shape": [4]}, "architecture": architecture}
    return VaeManifest.model_validate(manifest | changes)


def test_the_example_of_steps_fits_its_series():
    features = ["a", "b", "c"]
    rows = {"kind": "series", "steps": 24, "features": features, "mean": [0.0] * 3, "std": [1.0] * 3}
    manifest = manifest_of(json.loads(blocks("json")[0]), rows=rows, encoder={"head": "pair"})
    check_shapes(build(manifest, DEFAULT_LIMITS), manifest, DEFAULT_LIMITS)


def test_the_example_of_an_architecture_is_one():
    names: dict = {}
    exec(blocks("python")[1], names)
    sines: Architecture = names["sines"]
    manifest = manifest_of({"name": "sines", "width": 3}, rows={"kind": "tensor", "shape": [3]})
    with torch.device("meta"):
        encoder, decoder = sines({"width": 3}, manifest, DEFAULT_LIMITS)
    assert encoder is None
    assert decoder(torch.empty(2, 4, device="meta"))[0].shape == (2, 3)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
