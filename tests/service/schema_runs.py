"""Runs of Schemathesis: its configuration, the program itself, and what the service has answered to it."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from service.settings import BrokerSettings, KeySettings, LimitSettings, Settings
from tests.service.everything import Everything

CONFIG = Path(__file__).with_name("schemathesis.toml")
KINDS = ("model", "dataset", "fit", "report", "job")
# What ends or stops what it names gets things of its own.
ENDING = {
    "delete_model": "model", "delete_dataset": "dataset", "delete_fit": "fit", "delete_report": "report",
    "delete_job": "job", "cancel_job": "job", "retry_job": "job",
}  # fmt: skip
WITH_FILES = tuple(f"download_{what}{how}" for what in ("shard", "manifest", "file") for how in ("", "_head"))
VALUES = {
    "index": [0, 1, 2],
    "file": ["manifest.json", "SHA256SUMS", "README.md", "other"],
    "range": ["bytes=0-9", "bytes=5-", "bytes=-7", "bytes=999999999-", "bytes=9-1", "bytes=0-1,3-4", "lines=1-2"],
    "etag": ["*", '"sha256-0"', 'W/"1-0"'],
    "accept": ["application/json", "image/png", "text/html", "*/*;q=0.5", "text/plain"],
}
BOUND = {
    "path.index": "index", "path.name": "file", "header.Range": "range", "header.accept": "accept",
    "header.If-None-Match": "etag", "header.if-none-match": "etag",
    "body.strategy.fit": "fit", "body.strategy.dataset": "dataset",
}  # fmt: skip


def settings_of(folder: Path, **groups: Any) -> Settings:
    """Settings under which nobody waits for long."""
    return Settings(
        data_dir=folder,
        broker=BrokerSettings(url="redis://127.0.0.1:1"),
        limits=LimitSettings(wait_seconds=0.2, preview_seconds=0.05, upload_bytes=200_000, json_bytes=200_000),
        keys=KeySettings(pepper=SecretStr("a pepper for tests")),
        **groups,
    )


def answered(
    url: str,
    api_key: str,
    there: Everything,
    folder: Path,
    *arguments: str,
    without_boundaries: Iterable[str] = (),
) -> dict[str, set[int]]:
    """Run Schemathesis; the statuses that each operation has answered. Fails with its report when it found anything."""
    config, log = folder / "schemathesis.toml", folder / "log.ndjson"
    lines = _dictionaries(there)
    for name in without_boundaries:
        lines += ["[[operations]]", f'include-operation-id = "{name}"', "phases.coverage.enabled = false"]
    config.write_text(CONFIG.read_text() + "\n".join(lines) + "\n")
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {api_key}", "--report", "ndjson", "--report-ndjson-path", str(log),
        "--no-color", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return _statuses(log)


def _dictionaries(there: Everything) -> list[str]:
    """The lines that name what exists, for the addresses, headers and bodies that take it."""
    values = VALUES | {kind: [*there.ids[kind], "missing"] for kind in KINDS} | {"over": there.over}
    values |= {f"doomed_{kind}": there.doomed[kind] for kind in KINDS}
    bound = BOUND | {f"path.{kind}": kind for kind in KINDS} | {f"body.{kind}": kind for kind in KINDS}
    lines = ["[dictionaries]", *(f"{name} = {{values = {json.dumps(given)}}}" for name, given in values.items())]
    lines += ["[parameters]"]
    for place, name in bound.items():
        # A header of a dictionary is always sent, and a download is seldom whole then.
        chance = 0.2 if place.startswith("header.") else 0.7
        lines.append(f'"{place}" = {{dictionary = "{name}", probability = {chance}}}')
    for operation, kind in ENDING.items():
        lines += _given(operation, kind, f"doomed_{kind}")
    # The stream of a job that goes on would be waited for.
    lines += _given("job_events", "job", "over")
    for operation in WITH_FILES:
        # Always: boundary values take nothing from dictionaries.
        lines += [
            "[[operations]]",
            f'include-operation-id = "{operation}"',
            f'parameters."path.job" = "{there.finished}"',
        ]
    return lines


def _given(operation: str, kind: str, dictionary: str) -> list[str]:
    return [
        "[[operations]]", f'include-operation-id = "{operation}"',
        f'parameters = {{"path.{kind}" = {{dictionary = "{dictionary}", probability = 0.8}}}}',
        "phases.fuzzing.extra-data-sources.responses = false", "phases.coverage.extra-data-sources.responses = false",
    ]  # fmt: skip


def _statuses(log: Path) -> dict[str, set[int]]:
    """What Schemathesis' log says."""
    statuses: dict[str, set[int]] = defaultdict(set)
    for line in log.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for case, interaction in recorder.get("interactions", {}).items():
            asked = recorder["cases"][case]["value"]
            if interaction["response"] is not None:
                statuses[f"{asked['method']} {asked['path']}"].add(interaction["response"]["status_code"])
    return statuses
