"""docker-compose.yml says what the code understands: its verbs, its settings, its files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from latentmill import cli
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def read_yaml(text: str) -> dict[str, Any]:
    """The part of YAML that the file keeps to: mappings, lists of scalars or one-line lists, anchors on mappings."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    anchors: dict[str, Any] = {}

    def depth(line: str) -> int:
        return len(line) - len(line.lstrip())

    def scalar(word: str) -> Any:
        if word.startswith("*"):
            return anchors[word[1:]]
        if word[:1] in '["{':
            return json.loads(word)
        assert not re.search(r": |\s#|^[&!|>@`%]", word), f"quote this: {word}"
        return int(word) if word.isdecimal() else {"true": True, "false": False}.get(word, word)

    def block(indent: int) -> Any:
        if lines[0].lstrip().startswith("- "):
            items = []
            while lines and depth(lines[0]) == indent and lines[0].lstrip().startswith("- "):
                items.append(scalar(lines.pop(0).lstrip()[2:]))
            return items
        values: dict[str, Any] = {}
        while lines and depth(lines[0]) == indent:
            found = re.fullmatch(r"\s*([\w.-]+):(?: &(\w+))?(?: (.+))?", lines.pop(0))
            assert found, "not a mapping"
            key, anchor, value = found.groups()
            assert key not in values, f"{key} stands twice"
            nested = value is None and lines and depth(lines[0]) > indent
            values[key] = block(depth(lines[0])) if nested else scalar(value) if value else None
            if anchor:
                anchors[anchor] = values[key]
        return values

    document = block(0)
    assert not lines, f"left over: {lines[0]}"
    return document


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_yaml((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def ours(compose) -> dict[str, Any]:
    """The services that run our own code."""
    return {name: one for name, one in compose["services"].items() if one["image"].startswith("latentmill-")}


def test_all_processes_are_there(compose, ours) -> None:
    assert set(ours) == {"migrate", "api", "beat", "compute", "prompt"}
    assert set(compose["services"]) - set(ours) == {"postgres", "valkey"}
    assert all(one["init"] is True for one in ours.values())
    assert all("data:/data" in one["volumes"] for one in ours.values())
    assert ours["compute"]["command"][-1] == "compute"
    assert ours["prompt"]["command"][-1] == "prompt"


def test_every_command_is_one_that_exists(ours) -> None:
    for one in ours.values():
        program, *arguments = one["command"]
        assert program == "latentmill"
        assert CliRunner().invoke(cli.app, [*arguments, "--help"]).exit_code == 0, arguments


@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_default_command_of_an_image_exists_and_its_files_too(name) -> None:
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text()
    program, *arguments = json.loads(re.search(r"^CMD (.+)$", text, re.MULTILINE)[1])
    assert program == "latentmill"
    assert CliRunner().invoke(cli.app, [*arguments, "--help"]).exit_code == 0
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored


def test_the_api_image_has_no_torch() -> None:
    text = (ROOT / "docker" / "api.Dockerfile").read_text()
    assert '".[service]"' in text
    assert "torch==" not in text


def test_settings_are_read_as_they_are_meant(ours, monkeypatch) -> None:
    for one in ours.values():
        for name, value in one["environment"].items():
            monkeypatch.setenv(name, re.sub(r"\$\{.*?\}", "secret", value))
        settings = Settings()
        assert settings.data_dir == Path("/data")
        assert settings.database_url == "postgresql://latentmill:secret@postgres:5432/latentmill"
        assert settings.broker.url == "redis://valkey:6379/0"


def test_references_lead_somewhere(compose) -> None:
    services = compose["services"]
    built = {one["image"] for one in services.values() if "build" in one}
    for one in services.values():
        assert one["image"] in built or ":" in one["image"]
        for needed, terms in one.get("depends_on", {}).items():
            assert terms["condition"] == "service_completed_successfully" or "healthcheck" in services[needed]
        for volume in one["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
        if "build" in one:
            assert (ROOT / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
