"""One client's connection: HTTP/1.1 over a socket, kept open. httpx would cost more than the service that it asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """`async with Line(url, key) as line: await line.ask("GET", "/v1/jobs")`."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """One request and its answer."""
        status, headers = await self._sent(method, path, body)
        if headers.get("transfer-encoding") == "chunked":
            content = b"".join([chunk async for chunk in self._chunks()])
        else:
            content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            await self.hang_up()
        return Reply(status, headers, content)

    async def listen(self, path: str) -> AsyncIterator[dict[str, str]]:
        """Server-sent events, until the service ends the stream."""
        status, _ = await self._sent("GET", path, None)
        if status != 200:
            raise ConnectionError(f"{path}: {status}")
        text = b""
        async for chunk in self._chunks():
            text += chunk
            while b"\n\n" in text:
                block, text = text.split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line)
                if "data" in fields:
                    yield fields

    async def _sent(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str]]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        content = json.dumps(body).encode() if body is not None else b""
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        length = f"Content-Length: {len(content)}\r\n" if method != "GET" else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{kind}{length}\r\n".encode() + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split(" ", 2)[1]), {name.lower(): value for name, value in headers.items()}

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)

    async def hang_up(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
