"""What happens to every request before any route sees it: an id, the key, the size of the body; and the last resort.

All of it is decided from the headers, so that nothing is read of a body that will be refused.
"""

import logging
import re
import time
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentmill.errors import BodyTooLarge, Internal, InvalidRequest, LatentmillError, LengthRequired, NotAuthenticated
from service.database import Database, new_id
from service.headers import protect
from service.keys.known import KnownKeys
from service.keys.operations import Caller, authenticate, scope_for
from service.limits import check_room
from service.limits.rates import RequestRates
from service.logs import about
from service.problems import problem_response
from service.settings import Settings
from service.storage import Storage

log = logging.getLogger("latentmill.service")
access_log = logging.getLogger("latentmill.http")

KEYED = "/v1/"
UPLOADS = frozenset({"/v1/models", "/v1/datasets"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
PROBES = frozenset({"/healthz", "/readyz"})  # asked every few seconds by what watches the service
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Admission:
    """ASGI middleware that lets a request in or answers it at the door."""

    def __init__(
        self, app: ASGIApp, *, database: Database, storage: Storage, pepper: bytes, settings: Settings
    ) -> None:
        self._app = app
        self._database = database
        self._storage = storage
        self._pepper = pepper
        self._settings = settings
        self._limits = limits = settings.limits
        self._known = KnownKeys(pepper, settings.keys.trusted_seconds)
        self._rates = RequestRates(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        answer = _Answer(send, request_id)
        began = time.monotonic()
        with about(request_id=request_id):
            try:
                await self._admit(scope, receive, answer, headers)
            finally:
                _note(scope, answer, seconds=time.monotonic() - began)

    async def _admit(self, scope: Scope, receive: Receive, answer: "_Answer", headers: Headers) -> None:
        request_id = scope["state"]["request_id"]
        try:
            caller = None
            if scope["path"].startswith(KEYED):
                scope["state"]["caller"] = caller = await self._caller(headers)
                answer.headers |= (taken := self._rates.take(caller)).headers
                taken.check()
                caller.require(scope_for(scope["method"], scope["path"]))
            self._check_size(scope, headers, caller)
            if caller is not None and scope["method"] == "POST" and scope["path"] in UPLOADS:
                await run_in_threadpool(self._check_room, caller, int(headers["content-length"]))
        except LatentmillError as error:
            # The body is not read, so the connection cannot be used again.
            await problem_response(error, request_id, {"Connection": "close"})(scope, receive, answer)
            return
        with about(tenant=caller.tenant_id if caller is not None else None):
            try:
                await self._app(scope, receive, answer)
            except ClientDisconnect:
                log.info("the client went away")
            except Exception:
                # The boundary of the service: a defect is logged with the id that the user is shown.
                log.exception("%s %s", scope["method"], scope["path"])
                if answer.status is not None:
                    raise
                await problem_response(Internal(), request_id)(scope, receive, answer)

    async def _caller(self, headers: Mapping[str, str]) -> Caller:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not (key := key.strip()):
            raise NotAuthenticated()
        if (known := self._known.caller(key)) is not None:
            return known
        asked_at = time.monotonic()
        caller = await run_in_threadpool(self._authenticated, key)
        self._known.remember(key, caller, asked_at)
        return caller

    def _authenticated(self, key: str) -> Caller:
        with self._database.reading() as session:
            return authenticate(session, key, pepper=self._pepper)

    def _check_size(self, scope: Scope, headers: Mapping[str, str], caller: Caller | None) -> None:
        if scope["method"] not in WITH_BODY:
            return
        upload = scope["path"] in UPLOADS
        name, limit = "json_bytes", self._limits.json_bytes
        if upload and caller is not None:
            name, limit = "upload_bytes", self._limits.of(caller.tenant).upload_bytes
        length = headers.get("content-length")
        if length is None:
            if upload or "transfer-encoding" in headers:
                raise LengthRequired("The request must say the size of its body in Content-Length.")
            return
        if not length.isdecimal():
            raise InvalidRequest(f"Content-Length is no number: {length!r}")
        if int(length) > limit:
            raise BodyTooLarge(f"The body has {int(length):,} bytes; at most {limit:,} are allowed here ({name}).")

    def _check_room(self, caller: Caller, size_bytes: int) -> None:
        """On the disk, and in what the caller's tenant may keep."""
        self._storage.require_room(size_bytes)
        if self._limits.of(caller.tenant).stored_bytes is not None:
            with self._database.reading() as session:
                check_room(session, caller.tenant_id, self._settings, adding=size_bytes, lock=False)


class _Answer:
    """`send` that adds the headers of every answer, and knows its status once it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.headers = {"X-Request-Id": request_id}
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(self.headers)
            protect(headers)
        await self._send(message)


def _note(scope: Scope, answer: _Answer, *, seconds: float) -> None:
    """One line for each request, in the words of the route, so that lines can be counted by it."""
    route = scope.get("route")
    path: str = route.path if route is not None else "(no route)"
    caller: Caller | None = scope["state"].get("caller")
    milliseconds = round(seconds * 1000, 1)
    fields = {"method": scope["method"], "route": path, "status": answer.status, "milliseconds": milliseconds}
    whose = {"tenant": caller.tenant_id, "key": caller.key_id} if caller is not None else {}
    with about(**whose):
        level = logging.DEBUG if path in PROBES else logging.INFO
        access_log.log(level, "%s %s %s in %s ms", *fields.values(), extra={"fields": fields})


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's own id where it is a decent one, else a new one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else new_id("req")
