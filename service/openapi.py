"""The OpenAPI document: what routes say of their answers, and how the whole is put together.

A route names every status that it can answer, no more and no less; a test holds the running service to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from latentmill.errors import (
    BodyTooLarge,
    Conflict,
    DatabaseFault,
    DatabaseFull,
    Gone,
    IdempotencyKeyReused,
    Internal,
    InvalidRequest,
    LatentmillError,
    LengthRequired,
    LimitExceeded,
    NameTaken,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Problem,
    TooManyRequests,
)
from latentmill.specs.expiry import Expiry
from latentmill.specs.requests import Metadata, Name
from service.keys.operations import scope_for
from service.problems import MEDIA_TYPE
from service.settings import LimitSettings

Responses = dict[int | str, dict[str, Any]]
Errors = tuple[type[LatentmillError], ...]

# What the door and the database can answer to any request with a key.
EVERY: Errors = (NotAuthenticated, NotAllowed, TooManyRequests, Internal, DatabaseFault)
NAMED: Errors = (NotFound, Gone)
CHANGING: Errors = (DatabaseFull,)
POSTED: Errors = (*CHANGING, LengthRequired, BodyTooLarge)
CREATING: Errors = (*POSTED, InvalidRequest, LimitExceeded, IdempotencyKeyReused, NameTaken, Conflict)

BOUND = "x-bound"  # the name of the limit that bounds a parameter: its value is a setting
TEXT = {"type": "string"}
HEADERS: dict[str, dict[str, Any]] = {
    "Accept-Ranges": {"description": "bytes", "schema": TEXT},
    "Content-Disposition": {"description": "The name to save it under.", "schema": TEXT},
    "Content-Range": {"description": "Which bytes these are, and of how many.", "schema": TEXT},
    "ETag": {"description": "Changes with the content; for If-None-Match.", "schema": TEXT},
    "Idempotent-Replayed": {"description": "true: this answer was given before, to the same key.", "schema": TEXT},
    "Location": {"description": "Where it is.", "schema": TEXT},
    "RateLimit": {"description": "What is left of how often you may ask.", "schema": TEXT},
    "RateLimit-Policy": {"description": "How often you may ask, where that is limited.", "schema": TEXT},
    "Repr-Digest": {"description": "The sha-256 of the whole file (RFC 9530).", "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "Bearer", "schema": TEXT},
    "X-Request-Id": {"description": "The request in the logs; yours, if it sent one.", "schema": TEXT},
}
FILE = {"type": "string", "format": "binary"}
BINARY = {"schema": FILE}
EXPIRY_PARTS = Expiry.model_json_schema()["properties"]
NAME_PART = TypeAdapter(Name).json_schema()
METADATA_PART = {**TypeAdapter(Metadata).json_schema(), "description": "As JSON."}


def problems(*errors: type[LatentmillError], keyed: bool = True) -> Responses:
    """The answers that are problems, by status; with `keyed` also those that every route with a key can give."""
    by_status: dict[int, list[type[LatentmillError]]] = {}
    for error in dict.fromkeys((*(EVERY if keyed else (Internal,)), *errors)):
        by_status.setdefault(error.status, []).append(error)
    return {status: _problem(of_status) for status, of_status in sorted(by_status.items())}


def answer(
    description: str,
    model: type[BaseModel] | None = None,
    *,
    content: Mapping[str, Any] | None = None,
    always: Sequence[str] = (),
    sometimes: Sequence[str] = (),
) -> dict[str, Any]:
    """An answer that is none: a model or other content, and the headers that it has always and sometimes."""
    made: dict[str, Any] = {"description": description, "headers": _headers(always, sometimes)}
    if model is not None:
        made["model"] = model
    if content is not None:
        made["content"] = dict(content)
    return made


def begun(model: type[BaseModel], *, twice: str | None = None) -> Responses:
    """The answers to a creating request; `twice` says when it answers 200 with what was there."""
    begun = answer("It is begun.", model, always=("Location", "Retry-After"), sometimes=("Idempotent-Replayed",))
    if twice is None:
        return {202: begun}
    there = answer(twice, model, always=("Location",), sometimes=("Idempotent-Replayed",))
    return {200: there, 202: begun}


def header(name: str, description: str) -> dict[str, Any]:
    """A header of requests that is read where FastAPI does not see it."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": TEXT}


def multipart(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an upload: its file, and other parts."""
    properties = {"file": FILE, **parts}
    schema = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def document(app: FastAPI, limits: LimitSettings) -> dict[str, Any]:
    """The OpenAPI document of `app`."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            for scheme in operation.get("security", ()):  # the scope that the key must have, as OpenAPI 3.1 puts it
                scheme |= {name: [scope_for(method.upper(), path)] for name in scheme}
            _finish_responses(operation["responses"], keyed="security" in operation, without_content=method == "head")
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _bounded(_without_null(parameter["schema"]), limits)
    return made


def _problem(errors: Sequence[type[LatentmillError]]) -> dict[str, Any]:
    always = ["WWW-Authenticate"] if NotAuthenticated in errors else []
    always += ["Retry-After"] if all(error.retryable for error in errors) else []
    return {
        "description": "  \n".join(f"`{error.code}`: {' '.join((error.__doc__ or '').split())}" for error in errors),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "headers": _headers(always, []),
    }


def _headers(always: Sequence[str], sometimes: Sequence[str]) -> dict[str, Any]:
    return {
        **{name: {**HEADERS[name], "required": True} for name in ("X-Request-Id", *always)},
        **{name: HEADERS[name] for name in sometimes},
    }


def _finish_responses(responses: dict[str, Any], *, keyed: bool, without_content: bool) -> None:
    """What FastAPI adds by itself is taken away: routes say themselves when they answer 422, and with what."""
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for response in responses.values():
        response.setdefault("headers", _headers([], []))
        if keyed:
            response["headers"] |= _headers([], ["RateLimit", "RateLimit-Policy"])
        if without_content:
            response.pop("content", None)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter. On the wire it is there or not: null is a value of Python's alone."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**kinds[0], **rest} if len(kinds) == 1 else schema


def _bounded(schema: dict[str, Any], limits: LimitSettings) -> dict[str, Any]:
    """The schema with the limit that bounds it, as it is set here."""
    rest = {key: value for key, value in schema.items() if key != BOUND}
    return {**rest, "maximum": getattr(limits, schema[BOUND])} if BOUND in schema else rest
