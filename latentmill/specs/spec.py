"""What every word of the vocabulary is: a frozen pydantic model with a digest over its canonical JSON."""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler

MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError(f"a number is needed, not {'true or false' if isinstance(value, bool) else 'text'}")
    return value


# Pydantic would read "7" as 7 and true as 1: what is no number is refused instead. It stands after the bounds, which
# would otherwise be of this validator and not of the number, and so not in the JSON schema.
Numeric = BeforeValidator(_number)


class Spec(BaseModel):
    """A value a user can ask for. Unknown fields are refused, never ignored.

    Stored specs outlive releases: fields are never renamed or reordered, new ones come last and have a default, and
    a changed meaning raises `version`, which is part of the digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: ClassVar[int] = 1

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """With `kind` required: a union goes by it, whatever default it has in Python."""
        reference = handler(schema)
        described = handler.resolve_ref_schema(reference)
        if "kind" in cls.model_fields:
            described["required"] = ["kind", *described.get("required", [])]
        return reference

    def canonical(self) -> dict[str, Any]:
        """The spec as JSON types, defaults included."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """sha256 (hex) of the canonical JSON, defaults and version included."""
        return digest_of({"spec": type(self).__name__, "version": self.version, "value": self.canonical()})


def canonical_json(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
