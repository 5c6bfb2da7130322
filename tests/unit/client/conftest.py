"""A small HTTP server that speaks the contract: JSON, problems, byte ranges, and connections that break."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from latentmill import cli
from latentmill.client import Client
from latentmill.errors import LatentmillError

Reply = tuple[int, dict[str, str], bytes]
DROP: Reply = (0, {}, b"")  # close the connection without an answer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: bytes


@dataclass
class Peer:
    """What the server has, what it is told to answer first, and what it was asked."""

    url: str = ""
    documents: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    scripted: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    breaks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Reply | None] = lambda request: None

    def first(self, address: str, *replies: Reply) -> None:
        """Answer `METHOD /path` with these before anything else."""
        self.scripted[address] += replies

    def asked(self, address: str) -> list[Request]:
        return [request for request in self.requests if f"{request.method} {request.path}" == address]

    def add_dataset(self, job: str = "job_1", *, shards: int = 3, size: int = 300_000) -> dict[str, bytes]:
        """A succeeded job with its shards; the bytes of every file of its folder."""
        content = {
            f"data-{index:05d}-of-{shards:05d}.npz": hashlib.shake_256(f"{job} {index}".encode()).digest(size)
            for index in range(shards)
        }
        listed = [
            {
                "index": index,
                "name": name,
                "first_row": index * 10,
                "rows": 10,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for index, (name, data) in enumerate(content.items())
        ]
        manifest = json.dumps({"schema": 1, "job": job, "rows": 10 * shards, "shards": listed}).encode()
        sums = "".join(f"{shard['sha256']}  {shard['name']}\n" for shard in listed).encode()
        at = f"/v1/jobs/{job}"
        self.documents[at] = job_document(job, "succeeded", rows=10 * shards)
        self.documents[f"{at}/shards"] = {"data": listed, "next_cursor": None, "has_more": False}
        self.files |= {f"{at}/shards/{index}": data for index, data in enumerate(content.values())}
        texts = {"manifest.json": manifest, "SHA256SUMS": sums, "README.md": b"# rows\n"}
        self.files |= {f"{at}/manifest": manifest}
        self.files |= {f"{at}/files/{name}": texts[name] for name in ("SHA256SUMS", "README.md")}
        return {**content, **texts}


def job_document(job: str, state: str, *, rows: int = 30, **fields: Any) -> dict[str, Any]:
    done = rows if state == "succeeded" else 0
    progress = {"rows_done": done, "rows_total": rows, "shards_done": 0, "shards_total": 3}
    document = {"object": "job", "id": job, "name": None, "state": state, "seed": 7, "error": None, "warnings": []}
    return {**document, "progress": progress, "created_at": "2026-01-02T03:04:05Z", **fields}


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def problem_reply(error: LatentmillError, **headers: str) -> Reply:
    body = error.problem("req_1").model_dump_json().encode()
    return error.status, {"Content-Type": "application/problem+json", **headers}, body


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def handle_any(self) -> None:
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, target.path, parse_qs(target.query), self.headers, body)
        self.peer.requests.append(request)
        address = f"{self.command} {target.path}"
        if self.peer.scripted[address]:
            self.send(self.peer.scripted[address].pop(0))
        elif (reply := self.peer.answer(request)) is not None:
            self.send(reply)
        elif self.command == "GET" and target.path in self.peer.files:
            self.send_file(target.path, self.peer.files[target.path])
        elif target.path in self.peer.documents:
            self.send(json_reply(self.peer.documents[target.path]))
        else:
            self.send(problem_reply(LatentmillError.by_code["not_found"](f"nothing at {target.path}")))

    do_GET = do_POST = do_DELETE = handle_any

    def send(self, reply: Reply) -> None:
        status, headers, body = reply
        if reply is DROP:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, path: str, data: bytes) -> None:
        """The file or the range asked for; cut short where the peer is told to."""
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked and first >= len(data):
            self.send(problem_reply(LatentmillError.by_code["range_not_satisfiable"]()))
            return
        part = data[first:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.peer.breaks[path]:
            self.close_connection = True
            part = part[: self.peer.breaks[path].pop(0)]
        self.wfile.write(part)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("PeerHandler", (Handler,), {"peer": peer}))
    server.daemon_threads = True
    peer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield peer
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(peer: Peer) -> Iterator[Client]:
    with Client(peer.url, "lm_k1_secret") as client:
        yield client


@pytest.fixture
def replies() -> "Replies":
    return Replies()


class Replies:
    """Ways to make an answer, for tests (which cannot import this file)."""

    DROP = DROP
    json = staticmethod(json_reply)
    problem = staticmethod(problem_reply)
    job = staticmethod(job_document)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command line against nothing."""
    for name in ("LATENTMILL_URL", "LATENTMILL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LATENTMILL_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, [str(word) for word in arguments])


@pytest.fixture
def run_on_peer(run, peer, monkeypatch):
    """Run the command line against the peer."""
    monkeypatch.setenv("LATENTMILL_URL", peer.url)
    monkeypatch.setenv("LATENTMILL_API_KEY", "lm_k1_secret")
    return run
