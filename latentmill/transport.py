"""Requests to the service: the key, retries, problems raised as errors."""

import random
import ssl
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import httpx
from pydantic import ValidationError

from latentmill.errors import InvalidRequest, LatentmillError, NotAuthenticated, Problem, Unreachable
from latentmill.surroundings import Address

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
FIRST_CONTACT_SECONDS = 2.0  # a wrong address should be said soon
OUTAGE_SECONDS = 60.0  # a service that answered before is probably restarting
TOO_MANY = 429
BUSY = frozenset({TOO_MANY, 502, 503, 504})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A file as it is sent: streamed from `path`, under `filename`."""

    path: Path
    filename: str


class Patience:
    """How long one request is tried again, and how long each pause is."""

    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        self._started = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS

    def pause(self, asked_seconds: float | None = None) -> bool:
        """Sleep before the next attempt; False where that would go beyond the limit."""
        seconds = self._pause * random.uniform(0.8, 1.2) if asked_seconds is None else asked_seconds
        if time.monotonic() - self._started + seconds > self.limit_seconds:
            return False
        time.sleep(seconds)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return True


class Transport:
    """One connection pool to one service; safe to share between threads."""

    def __init__(self, address: Address, *, outage_seconds: float = OUTAGE_SECONDS) -> None:
        try:
            url = httpx.URL(address.url)
        except httpx.InvalidURL as error:
            raise InvalidRequest(f"{address.url!r} is not an address: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidRequest(f"{address.url!r} is not an address: it must begin with http:// or https://")
        self.url = address.url
        self._outage_seconds = outage_seconds
        self._answered = False
        trusting = url.host not in LOOPBACK  # a proxy of the environment cannot reach this machine's own services
        self._http = httpx.Client(
            base_url=address.url,
            headers={"Authorization": f"Bearer {address.api_key}"} if address.api_key else {},
            timeout=httpx.Timeout(90, connect=10),
            follow_redirects=True,
            trust_env=trusting,
            verify=_trusted(trusting),
        )
        self.close = weakref.finalize(self, self._http.close)  # sockets are closed for users who do not

    def get(self, path: str, *, accept: str = "application/json", **params: Any) -> httpx.Response:
        """The answer to a GET; parameters that are None are left out."""
        return self.request("GET", path, repeatable=True, params=_present(params), headers={"Accept": accept})

    def get_json(self, path: str, **params: Any) -> JsonObject:
        return json_of(self.get(path, **params))

    def create(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """POST with an Idempotency-Key: tried again after a lost answer, it creates one thing."""
        return json_of(self.request("POST", path, repeatable=True, json=_present(body), headers=_once()))

    def upload(self, path: str, fields: Mapping[str, Any], files: Mapping[str, Upload]) -> JsonObject:
        """A multipart POST, streamed from disk, with an Idempotency-Key; every attempt reads the files anew."""
        return json_of(self.request("POST", path, repeatable=True, data=_present(fields), files=files, headers=_once()))

    def act(self, method: str, path: str, *, repeatable: bool) -> JsonObject:
        """A request without a body; an empty answer is an empty object."""
        response = self.request(method, path, repeatable=repeatable)
        return json_of(response) if response.content else {}

    def request(
        self, method: str, path: str, *, repeatable: bool, files: Mapping[str, Upload] | None = None, **options: Any
    ) -> httpx.Response:
        """The answer, tried again while the service is busy or away and repeating does no harm."""
        patience = self._patience()
        while True:
            try:
                with ExitStack() as opened:
                    if files is not None:
                        options["files"] = {field: _part(file, opened) for field, file in files.items()}
                    response = self._http.request(method, path, **options)
            except httpx.HTTPError as error:
                again = repeatable or isinstance(error, UNSENT)
                if not again or not patience.pause():
                    self._unreachable(error)
                continue
            self._answered = True
            # A refusal at the door has done nothing, whatever was asked.
            busy = response.status_code == TOO_MANY or (repeatable and response.status_code in BUSY)
            if busy and patience.pause(_retry_after(response)):
                continue
            return _checked(response)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One attempt at a GET whose body is read piece by piece; the caller resumes it where it breaks off."""
        try:
            with self._http.stream("GET", path, headers=dict(headers)) as response:
                self._answered = True
                if response.status_code >= 400:
                    response.read()
                yield _checked(response)
        except httpx.HTTPError as error:
            self._unreachable(error)

    def _patience(self) -> Patience:
        return Patience(self._outage_seconds if self._answered else min(FIRST_CONTACT_SECONDS, self._outage_seconds))

    def _unreachable(self, error: httpx.HTTPError) -> NoReturn:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"{self.url} does not answer ({reason}); is `latentmill up` running?") from error


@cache
def _trusted(environment: bool) -> ssl.SSLContext:
    """The certificates that are trusted, with `environment` as SSL_CERT_FILE says. To read them takes 20 ms."""
    return httpx.create_ssl_context(trust_env=environment)


def json_of(response: httpx.Response) -> JsonObject:
    """The JSON object that `response` carries."""
    try:
        value = response.json()
    except ValueError as error:
        raise LatentmillError(f"{response.url} answered something other than JSON; is it Latentmill?") from error
    if not isinstance(value, dict):
        raise LatentmillError(f"{response.url} answered a {type(value).__name__}, not an object; is it Latentmill?")
    return value


def error_of(response: httpx.Response) -> LatentmillError:
    """The error that `response` describes."""
    try:
        return LatentmillError.from_problem(Problem.model_validate_json(response.content))
    except ValidationError:
        text = " ".join(response.text.split())[:200]
        return LatentmillError(f"{response.url} answered {response.status_code} {response.reason_phrase}: {text}")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    error = error_of(response)
    if isinstance(error, NotAuthenticated) and "Authorization" not in response.request.headers:
        error = NotAuthenticated(f"{response.url.host} wants an API key: set LATENTMILL_API_KEY")
    raise error


def _once() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def _present(values: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}


def _part(file: Upload, opened: ExitStack) -> tuple[str, Any, str]:
    return file.filename, opened.enter_context(file.path.open("rb")), "application/octet-stream"


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):  # absent, or a date, which Latentmill does not send
        return None
