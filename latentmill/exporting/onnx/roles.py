"""Which input of a foreign graph is x, z or y, and which output mean, scale, x or std."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from latentmill.exporting.onnx.files import described, shape_of
from latentmill.exporting.onnx.tidying import inputs_of
from latentmill.exporting.outputs import by_name, wanted_outputs
from latentmill.exporting.refusal import refusal
from latentmill.specs import VaeManifest
from workers.models.heads import learns_std

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_LABELS = ("label", "class", "cond", "onehot", "one_hot", "target", "categor")


@dataclass(frozen=True)
class Roles:
    """The graph's own names by those of the contract, in the contract's order; and what the user should know."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    notes: tuple[str, ...]


def roles_of(
    model: "ModelProto", part: str, manifest: VaeManifest, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Roles:
    """What is what in the graph of a part. Raises InvalidBundle, listing what there is, where that cannot be told."""
    declared = manifest.encoder
    head, scale = (declared.head, declared.scale) if declared is not None else ("pair", "none")
    wanted = wanted_outputs(part, head, scale, learns_std(manifest))
    found, notes = _outputs(model, part, wanted, outputs, scale)
    return Roles(_inputs(model, part, manifest, inputs), found, tuple(notes))


def _inputs(model: "ModelProto", part: str, manifest: VaeManifest, said: Mapping[str, str]) -> dict[str, str]:
    read = {name for node in model.graph.node for name in node.input}
    there = {value.name: value for value in inputs_of(model.graph) if value.name in read}
    main = "x" if part == "encoder" else "z"
    wanted = [main] if manifest.labels is None else [main, "y"]
    found = {role: said[role] for role in wanted if role in said}
    for role, name in found.items():
        if name not in there:
            raise refusal(
                part, f"inputs says {name!r} for {role!r}, and the graph has {described(model)}", way_out=_NAME_IT
            )
    rest = [name for name in there if name not in found.values()]
    if manifest.labels is not None and "y" not in found and main not in found and len(rest) == 2:
        y = _label_input([there[name] for name in rest], main, manifest)
        if y is not None:
            found["y"] = y
            rest.remove(y)
    open_roles = [role for role in wanted if role not in found]
    if len(rest) == len(open_roles) == 1:
        found[open_roles[0]] = rest[0]
    elif rest or (open_roles and not (part == "encoder" and open_roles == ["y"])):
        needed = " and ".join(repr(role) for role in wanted)
        raise refusal(
            part,
            f"it cannot be told which of its inputs {'are' if len(wanted) > 1 else 'is'} {needed}: the graph has "
            f"{described(model)}",
            way_out=_NAME_IT if len(there) == len(wanted) else _MORE_THAN_THAT.format(needed=needed),
        )
    return {role: found[role] for role in wanted if role in found}


_NAME_IT = 'Name it: inputs={"x": ..., "z": ..., "y": ...}, outputs={"mean": ..., "scale": ..., "x": ..., "std": ...}.'
_MORE_THAN_THAT = (
    "The service gives {needed} and nothing else (classes with labels): convert a model that takes just that, without "
    "noise or a learning phase as an input."
)


def _label_input(values: "list[ValueInfoProto]", main: str, manifest: VaeManifest) -> str | None:
    """Which of two inputs is the label: by its name, or because the other one alone has the main input's size."""
    named = [value.name for value in values if _is_label(value.name)]
    if len(named) == 1:
        return named[0]
    size = prod(manifest.rows.shape if main == "x" else manifest.latent.shape)
    sized = [value.name for value in values if _row_size(value) == size]
    return next(value.name for value in values if value.name != sized[0]) if len(sized) == 1 else None


def _is_label(name: str) -> bool:
    last = name.lower().rpartition("/")[2].partition(":")[0]
    return last in ("y", "c") or any(word in last for word in _LABELS)


def _row_size(value: "ValueInfoProto") -> int | None:
    shape = shape_of(value)
    return prod(axis for axis in shape[1:] if axis is not None) if shape and None not in shape[1:] else None


def _outputs(
    model: "ModelProto", part: str, wanted: tuple[str, ...], said: Mapping[str, str], scale: str
) -> tuple[dict[str, str], list[str]]:
    there = [value.name for value in model.graph.output]
    if any(role in said for role in wanted):
        found = {role: said.get(role, "") for role in wanted}
        if missing := [role for role, name in found.items() if name not in there]:
            raise refusal(
                part,
                f"outputs says {said.get(missing[0])!r} for {missing[0]!r}, and the graph has {described(model)}",
                way_out=_NAME_IT,
            )
        return found, []
    named = {role: by_name(there, role, scale, part) for role in wanted}
    if all(name is not None for name in named.values()):
        return {role: str(name) for role, name in named.items()}, _ignored(there, list(named.values()))
    if len(there) == len(wanted):
        pairs = dict(zip(wanted, there, strict=True))
        told = ", ".join(f"{name!r} as {role}" for role, name in pairs.items())
        return pairs, [f"The {part}'s outputs are taken in their order: {told}."] if len(there) > 1 else []
    raise refusal(
        part,
        f"it cannot be told which of its outputs {'are' if len(wanted) > 1 else 'is'} {' and '.join(wanted)}: the "
        f"graph has {described(model)}",
        way_out=_NAME_IT
        if len(there) > len(wanted)
        else f'One output with both heads: head="chunked" or "interleaved"; means alone: scale="none". {_NAME_IT}',
    )


def _ignored(there: list[str], taken: list[object]) -> list[str]:
    rest = [name for name in there if name not in taken]
    return [f"Outputs that are not read: {', '.join(map(repr, rest))}."] if rest else []
