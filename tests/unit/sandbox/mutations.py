"""Files spoilt in the ways that break parsers: bytes, numbers in the wrong place, parts lost, doubled and swapped."""

import struct
from collections.abc import Sequence
from typing import Any

from numpy.random import Generator

NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63)
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 2**70, 10**400, -0.0, 1e-320, 1e308, float("inf"), float("nan"),
    "", "x", "\0", "\ud800", "__class__", "../../etc/passwd", "a" * 10_000, [], [[]], {}, [0], [-1], [2**40, 2**40],
    [1] * 5000, {"a": {}}, {"": None},
)  # fmt: skip


def mutated(random: Generator, data: bytes, other: bytes = b"") -> bytes:
    """`data`, changed in one to four places."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        if not changed:
            break
        MUTATIONS[int(random.integers(len(MUTATIONS)))](random, changed, other)
    return bytes(changed)


def _flip(random: Generator, data: bytearray, other: bytes) -> None:
    data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))


def _set(random: Generator, data: bytearray, other: bytes) -> None:
    data[int(random.integers(len(data)))] = pick(random, (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x2C))


def _number(random: Generator, data: bytearray, other: bytes) -> None:
    width, code = pick(random, ((2, "H"), (4, "I"), (8, "Q")))
    number = struct.pack(pick(random, "<>") + code, pick(random, NUMBERS) % 2 ** (8 * width))
    at = int(random.integers(len(data)))
    data[at : at + width] = number[: len(data) - at]


def _cut(random: Generator, data: bytearray, other: bytes) -> None:
    del data[int(random.integers(len(data))) :]


def _lose(random: Generator, data: bytearray, other: bytes) -> None:
    at = int(random.integers(len(data)))
    del data[at : at + int(random.integers(1, 64))]


def _double(random: Generator, data: bytearray, other: bytes) -> None:
    at = int(random.integers(len(data)))
    data[at:at] = data[at : at + int(random.integers(1, 256))] * int(random.integers(1, 4))


def _splice(random: Generator, data: bytearray, other: bytes) -> None:
    at, start = int(random.integers(len(data))), int(random.integers(len(other) + 1))
    data[at : at + 128] = other[start : start + 128]


def _end(random: Generator, data: bytearray, other: bytes) -> None:
    """Directories and footers lie at the end: something in the last 256 bytes."""
    at = len(data) - 1 - int(random.integers(min(256, len(data))))
    data[at] = int(random.integers(256))


MUTATIONS = (_flip, _set, _number, _cut, _lose, _double, _splice, _end, _end)


def spoilt(random: Generator, value: Any) -> Any:
    """A JSON value with one of its parts replaced, dropped or doubled."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = pick(random, list(value))
        changed = dict(value)
        if random.random() < 0.1:
            del changed[key]
        elif random.random() < 0.05:
            changed[pick(random, ("x", "", "__proto__"))] = changed[key]
        else:
            changed[key] = spoilt(random, value[key])
        return changed
    if isinstance(value, list) and value and random.random() < 0.9:
        at = int(random.integers(len(value)))
        if random.random() < 0.1:
            return value[:at] + value[at + 1 :]
        if random.random() < 0.1:
            return value[:at] + [value[at]] * int(random.integers(2, 50)) + value[at + 1 :]
        return [*value[:at], spoilt(random, value[at]), *value[at + 1 :]]
    return pick(random, JSON_VALUES)


def pick(random: Generator, choices: Sequence[Any]) -> Any:
    return choices[int(random.integers(len(choices)))]
