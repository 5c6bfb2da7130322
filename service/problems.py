"""Every error as problem+json, whoever raised it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from latentmill.errors import (
    FieldError,
    Internal,
    InvalidRequest,
    LatentmillError,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    NotYet,
)
from latentmill.problem import pointer_step
from latentmill.specs.requests import NAME_RULE

log = logging.getLogger("latentmill.service")

MEDIA_TYPE = "application/problem+json"
SHOWN_ERRORS = 50
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def problem_response(
    error: LatentmillError, request_id: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """`error` on the wire."""
    if error.status >= 500 and not isinstance(error, Internal | NotYet):  # a defect has been logged with its traceback
        log.warning("%s: %s", error.code, error.detail)
    sent = dict(headers or {})
    if isinstance(error, NotAuthenticated):
        sent.setdefault("WWW-Authenticate", "Bearer")
    if error.retryable:
        sent.setdefault("Retry-After", str(error.retry_after_seconds))
    body = error.problem(request_id).model_dump(mode="json")
    return JSONResponse(body, error.status, sent, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let `app` answer every error that a route or the router raises."""

    @app.exception_handler(LatentmillError)
    def _ours(request: Request, error: LatentmillError) -> Response:
        return problem_response(error, request_id_of(request))

    @app.exception_handler(RequestValidationError)
    def _validation(request: Request, error: RequestValidationError) -> Response:
        return problem_response(_invalid(error), request_id_of(request))

    @app.exception_handler(HTTPException)
    def _routing(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request))
        return problem_response(_translated(request, error), request_id_of(request), headers)


def request_id_of(request: Request) -> str | None:
    """The id that admission gave the request."""
    request_id: str | None = request.scope.get("state", {}).get("request_id")
    return request_id


def _methods(request: Request) -> list[str]:
    """The methods that the address takes: the router names those of the first route alone."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _translated(request: Request, error: HTTPException) -> LatentmillError:
    if error.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path}; /openapi.json lists the addresses.")
    if error.status_code == 405:
        return MethodNotAllowed(
            f"{request.url.path} does not take {request.method}; it takes {', '.join(_methods(request))}."
        )
    return InvalidRequest(str(error.detail))


def _invalid(error: RequestValidationError) -> InvalidRequest:
    fields = [
        FieldError(pointer=_pointer(found["loc"], found["type"], error.body), message=_message(found))
        for found in error.errors()[:SHOWN_ERRORS]
    ]
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return InvalidRequest(f"{first.pointer or 'body'}: {first.message}{more}", errors=fields)


def _message(found: Mapping[str, Any]) -> str:
    message = str(found["msg"])
    if found["type"] == "json_invalid":
        return f"not JSON: {found['ctx']['error']} at character {found['loc'][-1]}"
    if found["type"] in {"model_attributes_type", "dict_type", "model_type"} and found["loc"] == ("body",):
        return "a JSON object is needed, with Content-Type: application/json"
    if found["type"] == "string_pattern_mismatch" and found["loc"][-1] == "name":
        return NAME_RULE
    return message.removeprefix("Value error, ")


def _pointer(location: Sequence[int | str], kind: str, body: Any) -> str:
    """The JSON pointer of what pydantic names: without the names of union members that it puts in between."""
    place, *steps = location
    if kind == "json_invalid":
        return ""
    if place != "body":
        return "".join(f"/{step}" for step in steps)
    pointer, value = "", body
    for position, step in enumerate(steps):
        last = position + 1 == len(steps)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            if not (last and kind == "missing"):
                continue
        pointer += "/" + pointer_step(step)
    return pointer
