"""The safetensors format, read by ourselves: every claim of the header is checked before a tensor is made of it."""

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from latentmill.errors import InvalidBundle
from workers.models.foreign import EXPORTER, HEAD_BYTES, foreign_file
from workers.models.limits import BundleLimits

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
_DIMENSIONS_AT_MOST = 8
_SIZE_AT_MOST = 2**40


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_tensors(
    content: bytearray, file: str, *, dtypes: tuple[str, ...], limits: BundleLimits
) -> dict[str, torch.Tensor]:
    """The tensors in `content`. Raises InvalidBundle for a header that says anything untrue.

    They are copies: torch aligns its own memory, and matrix products may differ in bits on memory that is not aligned.
    """
    entries, data_start = _read_header(content, file, dtypes, limits)
    tensors = {}
    for entry in entries:
        raw = torch.frombuffer(
            content, dtype=torch.uint8, count=entry.end - entry.start, offset=data_start + entry.start
        )
        flat = raw.clone().view(_DTYPES[entry.dtype])
        if not bool(torch.isfinite(flat).all()):
            bad = int((~torch.isfinite(flat)).sum())
            raise InvalidBundle(
                f"{entry.name!r} in {file} has {bad:,} values that are NaN or infinite; the training diverged: "
                "export an earlier checkpoint."
            )
        tensors[entry.name] = flat.reshape(entry.shape)
    return tensors


def _read_header(
    content: bytearray, file: str, dtypes: tuple[str, ...], limits: BundleLimits
) -> tuple[list[_Entry], int]:
    """Entries by offset and where the data begin: 8 bytes of length, the JSON header, then the data without a gap."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > limits.header_bytes or 8 + length > len(content):
        found = foreign_file(bytes(content[:HEAD_BYTES]))
        what, way_out = (found.what, found.way_out) if found else ("not a safetensors file, or cut short", EXPORTER)
        raise InvalidBundle(f"{file} is {what}; {way_out}.")
    header = _parse_json(bytes(content[8 : 8 + length]), file)
    header.pop("__metadata__", None)
    if not 1 <= len(header) <= limits.tensors:
        raise InvalidBundle(f"{file} has {len(header):,} tensors; 1 to {limits.tensors:,} are allowed.")
    entries = sorted((_entry(name, claim, file, dtypes) for name, claim in header.items()), key=lambda e: e.start)
    _check_extent(entries, len(content) - 8 - length, file)
    if (parameters := sum(prod(entry.shape) for entry in entries)) > limits.parameters:
        raise InvalidBundle(f"{file} has {parameters:,} parameters; at most {limits.parameters:,} are allowed.")
    return entries, 8 + length


def _parse_json(text: bytes, file: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(names := dict(pairs)) != len(pairs):
            raise ValueError("a name stands twice")
        return names

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"The header of {file} is not JSON ({error}); {EXPORTER}.") from error
    if not isinstance(header, dict):
        raise InvalidBundle(f"The header of {file} is not a JSON object; {EXPORTER}.")
    return header


def _entry(name: str, claim: Any, file: str, dtypes: tuple[str, ...]) -> _Entry:
    where = f"{name[:128]!r} in {file}"
    if not isinstance(claim, dict) or set(claim) != {"dtype", "shape", "data_offsets"}:
        raise InvalidBundle(f"{where} must have dtype, shape and data_offsets, and nothing else.")
    dtype, shape, offsets = claim["dtype"], claim["shape"], claim["data_offsets"]
    if dtype not in dtypes:
        raise InvalidBundle(f"{where} has dtype {dtype!r}; {', '.join(dtypes)} are allowed: convert it before export.")
    if not _whole_numbers(shape, 1) or len(shape) > _DIMENSIONS_AT_MOST or prod(shape) > _SIZE_AT_MOST:
        raise InvalidBundle(f"{where} has a shape that no tensor has: {str(shape)[:80]}.")
    if not _whole_numbers(offsets, 0) or len(offsets) != 2:
        raise InvalidBundle(f"{where} has data_offsets that are not two whole numbers.")
    entry = _Entry(name, dtype, tuple(shape), *offsets)
    if entry.end - entry.start != prod(entry.shape) * _DTYPES[dtype].itemsize:
        raise InvalidBundle(f"{where} says shape {list(entry.shape)} but takes {entry.end - entry.start:,} bytes.")
    return entry


def _whole_numbers(value: Any, least: int) -> bool:
    return isinstance(value, list) and all(type(n) is int and least <= n <= _SIZE_AT_MOST for n in value)


def _check_extent(entries: list[_Entry], size: int, file: str) -> None:
    """Tensors lie one behind the other and fill the file: no overlap, no hole, nothing behind the end."""
    expected = 0
    for entry in entries:
        if entry.start != expected:
            fault = "overlaps the tensor before it" if entry.start < expected else "leaves a hole before it"
            raise InvalidBundle(f"{entry.name!r} in {file} {fault} (byte {entry.start:,}, expected {expected:,}).")
        expected = entry.end
    if expected != size:
        raise InvalidBundle(f"{file} has {size:,} bytes of data, but its tensors take {expected:,}.")
