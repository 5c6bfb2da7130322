"""The key of `latentmill up` may do everything: nothing that the network reaches listens beside it, unless told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentmill.errors import StartFailed
from latentmill.listening import is_loopback
from latentmill.stack import Stack
from service.__main__ import _parser, listening_host
from service.settings import ApiSettings, Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "10.0.0.1", "fe80::1", "nowhere.invalid", "*"])
def test_what_the_network_may_reach(host: str) -> None:
    assert not is_loopback(host)


def test_the_stack_refuses_before_it_starts_anything(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"--allow-remote"):
        Stack(data_dir=tmp_path / "data", host="0.0.0.0").start()
    assert not (tmp_path / "data").exists()


def test_up_says_the_way_out(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from latentmill.cli import main; main()", "up", "--host", "0.0.0.0"]
    told = subprocess.run([*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert told.returncode == 1
    assert "--allow-remote" in told.stderr
    assert "ssh -L" in told.stderr
    assert "Traceback" not in told.stderr
    assert list(tmp_path.iterdir()) == []


def host(data_dir: Path, *arguments: str, **api: Any) -> str:
    """Where `latentmill api` listens on this data directory."""
    settings = Settings(data_dir=data_dir, api=ApiSettings(**api))
    return listening_host(_parser().parse_args(["api", *arguments]), settings)


def test_the_api_alone_listens_where_it_is_told_unless_the_key_lies_beside_it(tmp_path: Path) -> None:
    assert host(tmp_path) == "127.0.0.1"
    assert host(tmp_path, "--host", "0.0.0.0") == "0.0.0.0", "as docker-compose.yml has it"
    (tmp_path / "api_key").write_text("lm_x_y")
    assert host(tmp_path) == "127.0.0.1"
    assert host(tmp_path, "--host", "0.0.0.0", "--allow-remote") == "0.0.0.0"
    assert host(tmp_path, host="::", allow_remote=True) == "::"
    for arguments, api in ((["--host", "0.0.0.0"], {}), (["--host", ""], {}), ([], {"host": "::"})):
        with pytest.raises(StartFailed, match="api_key is a key that may do everything"):
            host(tmp_path, *arguments, **api)
