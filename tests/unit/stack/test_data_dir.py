"""One owner a data directory, private files, and a broker that the machine has."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from latentmill import broker
from latentmill.data_dir import claim_data_dir, rotated_log, write_private
from latentmill.errors import AlreadyRunning, Conflict, StorageFault
from latentmill.stack import Stack


def test_a_second_owner_is_told_who_the_first_is(tmp_path) -> None:
    claimed = claim_data_dir(tmp_path)
    claimed.note_url("http://127.0.0.1:8321")
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}, http://127\.0\.0\.1:8321"):
        claim_data_dir(tmp_path)
    claimed.release()
    claim_data_dir(tmp_path).release()


def test_what_a_killed_owner_left_is_cleared(tmp_path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from latentmill.data_dir import *; folder = Path(sys.argv[1]); "
        "claim_data_dir(folder); write_private(folder / 'endpoint.json', b'{}'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert (tmp_path / "endpoint.json").exists()
    claimed = claim_data_dir(tmp_path)
    assert not (tmp_path / "endpoint.json").exists()
    claimed.release()


def test_a_directory_that_cannot_be_is_named(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match="file"):
        claim_data_dir(tmp_path / "file" / "data")


def test_private_files_are_private_and_whole(tmp_path) -> None:
    path = tmp_path / "endpoint.json"
    for content in (b'{"url": 1}', b'{"url": 2}'):
        write_private(path, content)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes()) == {"url": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_logs_of_this_start_and_the_one_before_are_kept(tmp_path) -> None:
    claim_data_dir(tmp_path).release()
    for text in ("first", "second", "third"):
        rotated_log(tmp_path, "api").write_text(text)
    assert (tmp_path / "logs" / "api.log").read_text() == "third"
    assert (tmp_path / "logs" / "api.log.1").read_text() == "second"


def test_a_port_in_use_is_said_before_anything_starts(tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"127.0.0.1:{port} cannot be used .* --port"):
            with Stack(data_dir=tmp_path, port=port):
                pass
    assert not (tmp_path / "endpoint.json").exists()


def test_the_socket_of_the_broker_is_short_and_private(tmp_path, monkeypatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = broker.socket_folder()
    try:
        assert len(str(folder / "broker.sock")) < 100
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()
    assert list(long.iterdir()) == []


def test_the_broker_keeps_what_it_was_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    binary = broker.server_binary()
    assert Path(binary).is_file()
    (tmp_path / "redis-server").symlink_to("/bin/true")
    assert broker.server_binary() == str(tmp_path / "redis-server")
    command = broker.server_command(binary, Path("/run/s"), tmp_path)
    assert command[command.index("--port") + 1] == "0"
    assert command[command.index("--appendonly") + 1] == "yes"
