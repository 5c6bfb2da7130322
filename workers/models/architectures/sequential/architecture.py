"""From the JSON of a sequential architecture to programs: names, inputs and numbers checked, nothing allocated."""

import re
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.architectures.sequential.layers import LAYERS, Layer
from workers.models.architectures.sequential.numbers import REQUIRED
from workers.models.architectures.sequential.program import Program, Step
from workers.models.architectures.sequential.recurrent import RECURRENT
from workers.models.architectures.sequential.structure import STRUCTURE
from workers.models.limits import BundleLimits

ALLOWED = {**LAYERS, **RECURRENT, **STRUCTURE}

_ID = re.compile(r"[A-Za-z0-9_]{1,64}")
_OWN_KEYS = {"id", "layer", "inputs"}
_AGAIN_KEYS = {"id", "same_as", "inputs"}


def sequential(
    numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits
) -> tuple[nn.Module | None, nn.Module]:
    """{"encoder": network or absent, "decoder": network}; a network is {"steps": [...], "outputs": [...]} or steps."""
    if unknown := sorted(set(numbers) - {"encoder", "decoder"}):
        raise InvalidBundle(f"sequential has no field {unknown[0]!r}.", pointer=f"/architecture/{unknown[0]}")
    if numbers.get("decoder") is None:
        raise InvalidBundle("sequential needs a decoder.", pointer="/architecture/decoder")
    given = {"encoder": "x", "decoder": "z"}
    programs = {
        part: build_program(network, given[part], manifest.labels is not None, limits, f"/architecture/{part}")
        for part, network in numbers.items()
        if network is not None
    }
    return programs.get("encoder"), programs["decoder"]


def build_program(network: Any, given: str, labelled: bool, limits: BundleLimits, pointer: str) -> Program:
    """The program of one network, on the meta device. Raises InvalidBundle with a pointer to the step that is wrong."""
    if isinstance(network, list):
        network = {"steps": network}
    if not isinstance(network, dict) or not set(network) <= {"steps", "outputs"}:
        raise InvalidBundle("A network is a list of steps, or an object with steps and outputs.", pointer=pointer)
    declared = network.get("steps")
    if not isinstance(declared, list) or not 1 <= len(declared) <= limits.steps:
        count = f"{len(declared):,}" if isinstance(declared, list) else "no list of"
        raise InvalidBundle(f"There are {count} steps; 1 to {limits.steps:,} are allowed.", pointer=f"{pointer}/steps")
    known = dict.fromkeys([given, "y"] if labelled else [given])  # a set in order
    previous, steps = given, dict[str, Step]()
    for index, declaration in enumerate(declared):
        step = _build_step(declaration, index, previous, known, steps, f"{pointer}/steps/{index}")
        known |= dict.fromkeys(step.makes)
        steps[step.id] = step
        previous = step.id
    outputs = network.get("outputs", [previous])
    if (
        not isinstance(outputs, list)
        or not outputs
        or not all(isinstance(name, str) and name in known for name in outputs)
    ):
        raise InvalidBundle("outputs must name steps.", pointer=f"{pointer}/outputs")
    try:
        return Program(given, list(steps.values()), tuple(outputs))
    except KeyError as error:
        raise InvalidBundle(f"A step cannot be called {error}: torch reserves it.", pointer=pointer) from error


def _build_step(
    declaration: Any, index: int, previous: str, known: dict[str, None], before: dict[str, Step], pointer: str
) -> Step:
    if not isinstance(declaration, dict):
        raise InvalidBundle("A step is an object with a layer and its numbers.", pointer=pointer)
    step_id = str(declaration.get("id", index))
    if not _ID.fullmatch(step_id) or step_id in known:
        raise InvalidBundle(
            f"The step's id {step_id[:80]!r} must be 1 to 64 letters, digits and _, and not used before.",
            pointer=f"{pointer}/id",
        )
    if "same_as" in declaration:
        return _again(declaration, step_id, previous, known, before, pointer)
    name = declaration.get("layer")
    layer = ALLOWED.get(name) if isinstance(name, str) else None
    if layer is None:
        raise InvalidBundle(
            f"Step {step_id!r} has the layer {str(name)[:64]!r}, which is not one of {', '.join(sorted(ALLOWED))}.",
            pointer=f"{pointer}/layer",
        )
    inputs = _checked_inputs(declaration.get("inputs", [previous]), layer, known, str(name), pointer)
    numbers = _checked_numbers(declaration, layer, str(name), pointer)
    try:
        with torch.device("meta"):
            module = layer.make(**numbers)
    except (ValueError, TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidBundle(f"{name} refuses these numbers: {error}.", pointer=pointer) from error
    return Step(step_id, str(name), module, inputs, layer.also)


def _again(
    declaration: dict[str, Any],
    step_id: str,
    previous: str,
    known: dict[str, None],
    before: dict[str, Step],
    pointer: str,
) -> Step:
    """A step that runs the module of an earlier one: {"id": ..., "same_as": "cell", "inputs": [...]}."""
    if unknown := sorted(set(declaration) - _AGAIN_KEYS):
        raise InvalidBundle(
            f"A step that is the same_as another has its layer and numbers; {unknown[0][:64]!r} cannot be said again.",
            pointer=f"{pointer}/{unknown[0][:64]}",
        )
    name = declaration["same_as"]
    first = before.get(name) if isinstance(name, str) else None
    if first is None or first.same_as is not None:
        raise InvalidBundle(
            f"same_as must be the id of an earlier step with a layer of its own, not {str(name)[:64]!r}.",
            pointer=f"{pointer}/same_as",
        )
    inputs = _checked_inputs(declaration.get("inputs", [previous]), ALLOWED[first.layer], known, first.layer, pointer)
    return replace(first, id=step_id, inputs=inputs, same_as=first.id)


def _checked_inputs(inputs: Any, layer: Layer, known: dict[str, None], name: str, pointer: str) -> tuple[str, ...]:
    if not isinstance(inputs, list) or not all(isinstance(given, str) and given in known for given in inputs):
        raise InvalidBundle(
            f"inputs of {name} must be a list of earlier steps' ids, or {next(iter(known))!r}.",
            pointer=f"{pointer}/inputs",
        )
    if len(inputs) not in layer.inputs:
        wanted = " or ".join(map(str, layer.inputs))
        if len(layer.inputs) > 2:
            wanted = f"{layer.inputs[0]} to {layer.inputs[-1]}"
        raise InvalidBundle(f"{name} takes {wanted} inputs, not {len(inputs)}.", pointer=f"{pointer}/inputs")
    return tuple(inputs)


def _checked_numbers(declaration: dict[str, Any], layer: Layer, name: str, pointer: str) -> dict[str, Any]:
    if unknown := sorted(set(declaration) - _OWN_KEYS - set(layer.numbers)):
        known = ", ".join(layer.numbers) or "no numbers"
        raise InvalidBundle(
            f"{name} has no number {unknown[0][:64]!r}; it takes {known}.", pointer=f"{pointer}/{unknown[0][:64]}"
        )
    numbers = {}
    for key, number in layer.numbers.items():
        value = declaration.get(key, number.default)
        if value is REQUIRED:
            raise InvalidBundle(f"{name} needs {key}.", pointer=f"{pointer}/{key}")
        try:
            numbers[key] = number.check(value)
        except ValueError as error:
            raise InvalidBundle(
                f"{key} of {name} must be {error}, not {str(value)[:64]!r}.", pointer=f"{pointer}/{key}"
            ) from error
    return numbers
