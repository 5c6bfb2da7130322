"""A sandbox, and requests for it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from latentmill.specs import TableRows
from workers.models.limits import BundleLimits
from workers.readers import ReadLimits
from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.requests import InspectRequest, ReadRequest
from workers.sandbox.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path / "torch", preload=False)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a process may write."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def reading(tmp_path: Path, folder: Path) -> Callable[..., ReadRequest]:
    """A request to read a file of these bytes."""

    def request(
        data: bytes, filename: str, *, limits: ReadLimits | None = None, table: TableRows | None = None, **bounds
    ) -> ReadRequest:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return ReadRequest(
            path=path, filename=filename, dataset_kind="rows", label_column=None, labels_path=None,
            labels_filename=None, table=table, folder=folder, limits=asdict(limits or ReadLimits()),
            bounds=SandboxBounds(**bounds),
        )  # fmt: skip

    return request


@pytest.fixture
def inspecting(folder: Path) -> Callable[..., InspectRequest]:
    """A request to inspect the bundle at a path."""

    def request(path: Path, *, sha256: str | None = None, **bounds) -> InspectRequest:
        digest = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
        return InspectRequest(
            path=path, sha256=digest, folder=folder, threads=1, limits=asdict(BundleLimits()),
            bounds=SandboxBounds(**bounds),
        )  # fmt: skip

    return request
