"""Which service a client talks to."""

import json

import pytest

from latentmill.errors import Unreachable
from latentmill.surroundings import Address, child_environment, find_service

ELSEWHERE = "https://mill.example"


@pytest.fixture(autouse=True)
def data_dir(monkeypatch, tmp_path):
    for name in ("LATENTMILL_URL", "LATENTMILL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LATENTMILL_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def running(data_dir):
    endpoint = {"url": "http://127.0.0.1:8321", "api_key": "local"}
    (data_dir / "endpoint.json").write_text(json.dumps(endpoint))


def test_arguments_come_before_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", ELSEWHERE)
    monkeypatch.setenv("LATENTMILL_API_KEY", "theirs")
    assert find_service() == Address(ELSEWHERE, "theirs")
    assert find_service("http://a/", "b") == Address("http://a", "b")


@pytest.mark.usefixtures("running")
def test_a_local_service_is_found_by_its_endpoint() -> None:
    assert find_service() == Address("http://127.0.0.1:8321", "local")


@pytest.mark.usefixtures("running")
def test_the_local_key_is_never_sent_elsewhere(monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", ELSEWHERE)
    assert find_service() == Address(ELSEWHERE, None)
    assert find_service("http://127.0.0.1:8321/") == Address("http://127.0.0.1:8321", "local")


def test_nothing_running_is_said_with_the_way_out() -> None:
    with pytest.raises(Unreachable, match="latentmill up"):
        find_service()


def test_a_damaged_endpoint_is_named(data_dir) -> None:
    (data_dir / "endpoint.json").write_text("{}")
    with pytest.raises(Unreachable, match=r"endpoint\.json"):
        find_service()


def test_children_import_nothing_from_where_the_user_stands(monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_STORAGE__URL", "s3://theirs")
    environment = child_environment({"LATENTMILL_STORAGE__URL": None, "A": "1"})
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["A"] == "1"
    assert "LATENTMILL_STORAGE__URL" not in environment
    assert environment["LATENTMILL_DATA_DIR"]
