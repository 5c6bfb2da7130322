"""The service's processes by name, as `latentmill up` and an operator start them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service import migrate
from service.__main__ import main
from service.database import Database, open_database
from service.keys.operations import authenticate, create
from service.keys.pepper import pepper_of
from service.settings import Settings
from service.tables import WorkItemRow
from service.work import add, claim


def environment(settings: Settings) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LATENTMILL_DATA_DIR": str(settings.data_dir),
        "LATENTMILL_DATABASE__URL": settings.database_url,
        "LATENTMILL_BROKER__URL": settings.broker.url,
        "LATENTMILL_WORK__SWEEP_SECONDS": "0.1",
        "LATENTMILL_WORK__LEASE_SECONDS": "2",
        "LATENTMILL_WORK__HEARTBEAT_SECONDS": "0.5",
        "LATENTMILL_WORK__LOST_DELAY_SECONDS": "0",
    }


def service(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "service", *arguments]
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=60)


def test_migrate_then_make_list_and_revoke_a_key(tmp_path, monkeypatch, capsys, own_logs):
    settings = Settings(data_dir=tmp_path)
    assert service(settings, "migrate").returncode == 0
    made = service(settings, "keys", "create", "--tenant", "lab", "--name", "laptop")
    assert made.returncode == 0
    with open_database(settings) as database, database.reading() as session:
        assert migrate.current(database) == migrate.head()
        caller = authenticate(session, made.stdout.strip(), pepper=pepper_of(settings))

    monkeypatch.setenv("LATENTMILL_DATA_DIR", str(tmp_path))
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert caller.key_id in listed
    assert "lab  laptop" in listed
    assert made.stdout.strip() not in listed
    assert main(["keys", "revoke", caller.key_id]) == 0
    assert main(["keys", "list"]) == 0
    assert "revoked" in capsys.readouterr().out
    assert main(["keys", "revoke", "key_unknown"]) == 1
    assert "no key key_unknown" in capsys.readouterr().err


def test_keys_have_scopes_and_an_end_and_are_rotated(settings, database, tmp_path, monkeypatch, capsys, own_logs):
    monkeypatch.setenv("LATENTMILL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LATENTMILL_DATABASE__URL", settings.database_url)
    create = ["keys", "create", "--tenant=lab", "--name=ci", "--scope=read", "--expires-in=90d"]
    assert main(create) == 0
    old = capsys.readouterr().out.strip()
    key_id = f"key_{old.split('_')[1]}"
    assert main(["keys", "rotate", key_id, "--overlap=24h"]) == 0
    new = capsys.readouterr().out.strip()
    with database.reading() as session:
        callers = [authenticate(session, key, pepper=pepper_of(Settings())) for key in (old, new)]
    assert {(caller.tenant, *caller.scopes) for caller in callers} == {("lab", "read")}
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 2
    assert all(re.search(r"  until \d{4}-\d\d-\d\d \d\d:\d\d +read +lab  ci$", line) for line in listed)
    assert not any(secret in line for line in listed for secret in (old.split("_")[2], new.split("_")[2]))
    for wrong in (["--expires-in=soon"], ["--expires-in=0d"], ["--expires-in=99999d"], ["--scope=root"]):
        with pytest.raises(SystemExit):
            main(["keys", "create", *wrong])
    assert "is no duration; say 45s" in capsys.readouterr().err


def test_a_wrong_setting_is_named(monkeypatch, capsys):
    monkeypatch.setenv("LATENTMILL_WORK__LEASE_SECONDS", "soon")
    assert main(["migrate"]) == 2
    assert capsys.readouterr().err.startswith("LATENTMILL_WORK__LEASE_SECONDS: ")


def test_beat_sweeps_until_it_is_told_to_end(settings, database, tmp_path):
    with database.writing() as session:
        tenant_id = create(session, pepper=b"pepper").row.tenant_id
        item = add(session, tenant_id=tenant_id, kind="inspect", queue="prompt", subject_id="mdl_1")
        claim(session, item.id, owner="vanished", lease_seconds=0.01)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-P", "-m", "service", "beat"]
        beat = subprocess.Popen(command, env=environment(settings), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while state_of(database, item.id) != "pending":
            assert beat.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        beat.send_signal(signal.SIGTERM)
        status = beat.wait(timeout=20)
    assert status == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def state_of(database: Database, item_id: str) -> str:
    with database.reading() as session:
        return session.get_one(WorkItemRow, item_id).state
