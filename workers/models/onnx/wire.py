"""Protocol buffers before they are parsed: how many fields there are, and that each is one that ONNX knows.

A parser makes an object of every field, however short: a gibibyte of empty nodes would become a hundred.
https://protobuf.dev/programming-guides/encoding/
"""

from functools import cache
from typing import Any

from latentmill.errors import InvalidBundle
from workers.models.limits import BundleLimits

_DEPTH_AT_MOST = 16  # a shape's dimension in the type of a value lies 6 deep
_VARINT_BYTES = 10
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_BYTES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


class _Message:
    """What a kind of message is called; which of its fields are messages, texts and numbers."""

    def __init__(self, descriptor: Any) -> None:
        self.name: str = descriptor.name
        self.known: frozenset[int] = frozenset(descriptor.fields_by_number)
        self.inner: dict[int, Any] = {}
        self.texts: set[int] = set()
        self.numbers: set[int] = set()
        for number, field in descriptor.fields_by_number.items():
            if field.type == field.TYPE_MESSAGE:
                self.inner[number] = field.message_type
            elif field.type == field.TYPE_STRING:
                self.texts.add(number)
            elif field.type not in (field.TYPE_BYTES, field.TYPE_FLOAT, field.TYPE_DOUBLE):
                self.numbers.add(number)


@cache
def _message(descriptor: Any) -> _Message:
    return _Message(descriptor)


def check_wire(content: bytes, file: str, limits: BundleLimits) -> None:
    """Raises InvalidBundle unless `content` is a model of ONNX, as far as its outer form tells, within the bounds."""
    from onnx import ModelProto

    _Scan(content, file, limits).run(_message(ModelProto.DESCRIPTOR))


class _Scan:
    """One walk over the fields. Messages that wait lie on a stack: what nests too deep is refused."""

    def __init__(self, content: bytes, file: str, limits: BundleLimits) -> None:
        self._content, self._file, self._limits = content, file, limits
        self._fields = self._packed_bytes = 0

    def run(self, outermost: _Message) -> None:
        waiting = [(outermost, 0, len(self._content), 1)]
        while waiting:
            message, place, end, depth = waiting.pop()
            if depth > _DEPTH_AT_MOST:
                raise self._damaged(f"nests messages more than {_DEPTH_AT_MOST} deep")
            while place < end:
                number, first, place = self._field(message, place, end)
                if number in message.inner and first is not None:
                    waiting.append((_message(message.inner[number]), first, place, depth + 1))

    def _field(self, message: _Message, place: int, end: int) -> tuple[int, int | None, int]:
        """The number of the field at `place`, where its content begins if it has a length, and where it ends."""
        tag, place = self._varint(place, end)
        number, wire_type = tag >> 3, tag & 7
        self._count(message, number)
        first = None
        if wire_type == _VARINT:
            _, place = self._varint(place, end)
        elif wire_type in _FIXED_BYTES:
            place += _FIXED_BYTES[wire_type]
        elif wire_type == _LENGTH:
            length, first = self._varint(place, end)
            place = first + length
        else:
            raise self._damaged(f"has a field of the kind {wire_type} at byte {place:,}")
        if place > end:
            raise self._damaged(f"ends in the middle of a {message.name}")
        if first is not None and number in message.texts:
            self._check_text(first, place)
        elif first is not None and number in message.numbers:
            self._count_packed(place - first)
        return number, first, place

    def _count(self, message: _Message, number: int) -> None:
        self._fields += 1
        if self._fields > self._limits.graph_fields:
            raise InvalidBundle(
                f"{self._file} has more than {self._limits.graph_fields:,} fields, the limit: fewer nodes, or weights "
                "as raw data (onnx.numpy_helper.from_array), need fewer."
            )
        if number not in message.known:
            from onnx import __version__

            raise self._damaged(f"has a {message.name} with the field {number}, which ONNX {__version__} does not know")

    def _count_packed(self, length: int) -> None:
        self._packed_bytes += length
        if self._packed_bytes > self._limits.packed_bytes:
            raise InvalidBundle(
                f"{self._file} has more than {self._limits.packed_bytes:,} bytes of packed whole numbers, the limit: "
                "store them as raw data (onnx.numpy_helper.from_array)."
            )

    def _check_text(self, place: int, end: int) -> None:
        """Of other texts Python's parser makes bytes, where everything else expects a text."""
        try:
            self._content[place:end].decode()
        except UnicodeDecodeError as error:
            raise self._damaged(f"has a text at byte {place:,} that is not UTF-8") from error

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        value = shift = 0
        for _ in range(_VARINT_BYTES):
            if place >= end:
                raise self._damaged("ends in the middle of a number")
            byte = self._content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
            shift += 7
        raise self._damaged(f"has a number without end at byte {place:,}")

    def _damaged(self, how: str) -> InvalidBundle:
        return InvalidBundle(f"{self._file} is no ONNX graph, or a damaged one: it {how}; export it again.")
