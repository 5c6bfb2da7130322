"""What it takes to measure the same again: the request, digests, seeds, versions."""

import json
from collections.abc import Mapping
from typing import Any

from workers.reporting.figures import NONE, lookup

_APART = ("request", "versions")


def settings_lines(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every setting but request and versions, nested names joined, as text."""
    settings = lookup(content, "settings")
    shown = (
        {key: value for key, value in settings.items() if key not in _APART} if isinstance(settings, Mapping) else {}
    )
    return [line for key, value in shown.items() for line in _lines(str(key), value)]


def version_lines(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and version of all that the numbers depend on."""
    versions = lookup(content, "settings", "versions")
    if not isinstance(versions, Mapping):
        return []
    return [line for key, value in versions.items() for line in _lines(str(key), value)]


def request_text(content: Mapping[str, Any]) -> str | None:
    """The body of the request that makes this report again."""
    request = lookup(content, "settings", "request")
    return json.dumps(request, ensure_ascii=False, indent=2) if isinstance(request, Mapping) else None


def subject(content: Mapping[str, Any], noun: str) -> str:
    """Name or id of the model or the dataset."""
    settings = lookup(content, "settings", noun)
    found = lookup(settings, "name") or lookup(settings, "id") if isinstance(settings, Mapping) else settings
    return str(found or content.get(noun) or f"the {noun}")


def _lines(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in _lines(f"{name} {key}", inner)]
    if isinstance(value, list | tuple):
        return [(name.replace("_", " "), ", ".join(_text(inner) for inner in value) or NONE)]
    return [(name.replace("_", " "), _text(value))]


def _text(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
