"""Log lines: what they say, in both forms, and what they never hold."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from latentmill.errors import BrokerFault, DatabaseFault
from service import logs
from service.database import database_now, open_database
from service.keys.operations import create
from service.logs import JsonLines, TextLines, about, redacted, secrets_in
from service.queue import Queue
from service.settings import BrokerSettings, DatabaseSettings, KeySettings, LogSettings, Settings
from service.tables import TenantRow

log = logging.getLogger("latentmill.test")

A_TIME = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "correct-horse/battery@staple"


@pytest.fixture
def logged() -> Iterator[Callable[..., io.StringIO]]:
    """Has the test's logger write with this formatter; what it has written."""
    handlers: list[logging.Handler] = []

    def writing(formatter: logging.Formatter) -> io.StringIO:
        written = io.StringIO()
        handler = logging.StreamHandler(written)
        handler.setFormatter(formatter)
        log.addHandler(handler)
        handlers.append(handler)
        return written

    log.setLevel(logging.INFO)
    yield writing
    for handler in handlers:
        log.removeHandler(handler)


def test_a_line_says_whose_request_it_is_in_both_forms(logged):
    text, lines = logged(TextLines()), logged(JsonLines("api"))
    with about(request_id="req_1", tenant=None):
        log.info("a %s", "word", extra={"fields": {"status": 200}})
    log.info("after")
    first, second = text.getvalue().splitlines()
    assert first.endswith("INFO latentmill.test: a word [request_id=req_1]")
    assert second.endswith("after")
    line, after = map(json.loads, lines.getvalue().splitlines())
    assert line["time"].endswith("Z")
    assert line | {"time": ""} == {
        "time": "", "level": "INFO", "logger": "latentmill.test", "process": "api", "message": "a word",
        "request_id": "req_1", "status": 200,
    }  # fmt: skip
    assert "request_id" not in after


def test_threads_at_once_do_not_mix_what_they_are_about(logged):
    written = logged(TextLines())
    together = threading.Barrier(4)

    def speak(number: int) -> None:
        with about(request_id=f"req_{number}"):
            together.wait(5)
            log.info("number %d", number)
            together.wait(5)

    threads = [threading.Thread(target=speak, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line.partition("number ")[2] for line in written.getvalue().splitlines()]
    assert sorted(said) == [f"{number} [request_id=req_{number}]" for number in range(4)]


def test_what_a_user_sends_cannot_look_like_a_line_of_ours(logged):
    text, lines = logged(TextLines()), logged(JsonLines("api"))
    log.info("no model %r and %s", "x\ny", "z\r\n2026-01-01 00:00:00,000 ERROR latentmill: all is lost\x1b[2J\u2028")
    assert len(text.getvalue().splitlines()) == 1
    assert "\x1b" not in text.getvalue()
    assert len(lines.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /v1/models/lm_01abc_XyZ0123456789 404", "GET /v1/models/lm_01abc_*** 404"),
        ("{'authorization': 'Bearer lm_01abc_XyZ0123'}", "{'authorization': 'Bearer ***'}"),
        ("authorization: bearer sometoken", "authorization: bearer ***"),
        ("Basic dXNlcjpwYXNz, next", "Basic ***, next"),
        ("redis://:hunter2@valkey:6379/0 did not answer", "redis://:***@valkey:6379/0 did not answer"),
        ("postgresql+psycopg://me:p%40ss@db/x and http://a.b/c@d", "postgresql+psycopg://me:***@db/x and http://a.b/c@d"),
        ("amqp://u:p@ss:w@host:1/", "amqp://u:***@host:1/"),
        ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
        ('{"pepper": "abc", "api_key": "def"}', '{"pepper": "***", "api_key": "***"}'),
        ("/v1/x?password=hunter2&y=1", "/v1/x?password=***&y=1"),
        ("a film_star_name and lm_ stay", "a film_star_name and lm_ stay"),
        ("key_01abc of ten_01abc", "key_01abc of ten_01abc"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_left_out(text, clean):
    assert redacted(text) == clean


def test_a_key_that_was_just_made_is_left_out(database, logged):
    with database.writing() as session:
        key = create(session, pepper=b"pepper").text
    secret = key.rpartition("_")[2]
    text, lines = logged(TextLines()), logged(JsonLines("api"))
    try:
        raise KeyError(key)
    except KeyError:
        log.exception("headers: %s", {"Authorization": f"Bearer {key}", "other": key}, extra={"fields": {"path": key}})
    for written in (text.getvalue(), lines.getvalue()):
        assert "KeyError" in written
        assert secret not in written


def test_the_pepper_and_passwords_of_the_settings_are_left_out_however_they_are_written(logged, tmp_path):
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url="postgresql://me:correct-horse%2Fbattery%40staple@db/x"),
        broker=BrokerSettings(url='redis://:br"oker\\word@valkey:6379/0'),
        keys=KeySettings(pepper=SecretStr("a pepper of ours")),
    )
    secrets = secrets_in(settings)
    for formatter in (TextLines(secrets), JsonLines("api", secrets)):
        written = logged(formatter)
        log.warning('%s %s br"oker\\word %r', SECRET, "a pepper of ours", settings)
        for secret in (SECRET, "correct-horse%2F", "pepper of", 'br"oker', 'br\\"oker', "oker\\\\word"):
            assert secret not in written.getvalue(), formatter


def ask_broker(settings: Settings) -> None:
    queue = Queue(settings)
    try:
        queue.check()
    finally:
        queue.close()


def ask_database(settings: Settings) -> None:
    with open_database(settings) as database, database.reading() as session:
        database_now(session)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("ask", "fault"), [(ask_broker, BrokerFault), (ask_database, DatabaseFault)])
def test_what_is_away_keeps_its_password(tmp_path, own_logs, capsys, form, ask, fault):
    password = "hunter2hunter2"
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=f"postgresql://me:{password}@127.0.0.1:1/x"),
        broker=BrokerSettings(url=f"redis://:{password}@127.0.0.1:1/0"),
        log=LogSettings(format=form),
    )
    logs.configure(settings, process="api")
    with pytest.raises(fault) as raised:
        ask(settings)
    log.error("away: %s", settings.model_dump(), exc_info=raised.value)
    written = capsys.readouterr().err
    assert "refused" in written
    assert password not in written


def test_what_users_sent_is_not_in_the_errors_of_the_database(any_database):
    row = {"id": "ten_1", "name": "a name of somebody", "created_at": A_TIME}
    with any_database.writing() as session:
        session.execute(insert(TenantRow), [row])
        with pytest.raises(IntegrityError) as raised, session.begin_nested():
            session.execute(insert(TenantRow), [row])
    assert "somebody" not in str(raised.value)
