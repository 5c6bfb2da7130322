"""Log lines: for people or as JSON, each with the request that it comes from, none with a secret in it."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from service.settings import Settings

SHORTEST_SECRET = 4  # a shorter one would blot out half of every line, and protects nothing
QUIET = ("alembic", "celery.app.trace", "celery.worker.strategy")  # whose every line we say better ourselves
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<![A-Za-z0-9])lm_([a-z0-9]{1,40})_[A-Za-z0-9]+"), r"lm_\1_***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',]+"), r"\1 ***"),
    (re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^\s:/?#@]*):[^\s/]*@"), r"\1:***@"),
    (re.compile(r"(?i)\b(password|passwd|pwd|pepper|api_key)(['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}]+"), r"\1\2***"),
)

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**said: str | None) -> Iterator[None]:
    """While the block runs, every line of this thread or task says this too; what is None is not said."""
    token = _about.set({**_about.get(), **{name: value for name, value in said.items() if value is not None}})
    try:
        yield
    finally:
        _about.reset(token)


def configure(settings: Settings, *, process: str, secrets: Sequence[str] = ()) -> None:
    """Have everything that this process logs go to stderr, in the form and from the level that the settings say."""
    known = [*secrets_in(settings), *secrets]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process, known) if settings.log.format == "json" else TextLines(known))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, TextLines | JsonLines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log.level)
    logging.captureWarnings(True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def secrets_in(settings: Settings) -> list[str]:
    """What the settings hold that nobody else may know: the pepper, and the passwords in addresses."""
    addresses = (settings.database_url, settings.broker.url, settings.storage.url or "")
    passwords = [password for address in addresses if (password := urlsplit(address).password)]
    pepper = [settings.keys.pepper.get_secret_value()] if settings.keys.pepper is not None else []
    return [*pepper, *passwords, *map(unquote, passwords)]


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without keys, passwords and these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


class TextLines(logging.Formatter):
    """One line for people: time, level, logger, message, and in brackets what it is about."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        # The whole of it: a traceback quotes what it was given.
        return redacted(super().format(record), self._secrets)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # What users send ends up in messages: a line break in it must not look like a line of ours.
        record.message = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), record.message)
        said = " ".join(f"{name}={value}" for name, value in _about.get().items())
        return super().formatMessage(record) + (f" [{said}]" if said else "")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._process = process
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
            **_about.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Before they are quoted: afterwards a secret with a quote or a backslash in it looks different.
        for name, value in line.items():
            if isinstance(value, str):
                line[name] = redacted(value, self._secrets)
        return json.dumps(line, default=str)
