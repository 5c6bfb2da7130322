"""The bundle as a file: the same content gives the same bytes, and the file is there whole or not at all."""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from latentmill.errors import StorageFault
from latentmill.specs import VaeManifest
from workers.models.archive import GRAPHS, MANIFEST, PRIOR, WEIGHTS

_EARLIEST = (1980, 1, 1, 0, 0, 0)


def weights_member(weights: dict[str, Tensor]) -> dict[str, bytes]:
    """The member that holds the weights of the engine torch."""
    return {WEIGHTS: _saved(weights)}


def graph_members(graphs: dict[str, bytes]) -> dict[str, bytes]:
    """The members that hold the graphs of the engine onnx, by their part."""
    return {GRAPHS[part]: graph for part, graph in graphs.items()}


def write_bundle(
    path: Path,
    manifest: VaeManifest,
    content: dict[str, bytes],
    prior: dict[str, Tensor],
    check: Callable[[Path], None],
) -> None:
    """Write the bundle at `path`, `content` beside its manifest, once `check` has accepted the finished file."""
    text = json.dumps(manifest.canonical(), ensure_ascii=False, indent=1)
    members = {MANIFEST: text.encode(), **content}
    if prior:
        members[PRIOR] = _saved(prior)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StorageFault(f"{path} cannot be written: {error.strerror or error}") from error
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for member, held in members.items():
                    archive.writestr(_entry(member), held)
            file.flush()
            os.fsync(file.fileno())
        check(unfinished)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _saved(tensors: dict[str, Tensor]) -> bytes:
    """The tensors by name, each with its values in a row: a transposed weight is a view that safetensors refuses."""
    content: bytes = save({name: tensor.contiguous() for name, tensor in sorted(tensors.items())})
    return content


def _entry(name: str) -> zipfile.ZipInfo:
    """A member without a date or a user of its own: those would make equal bundles differ."""
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry
