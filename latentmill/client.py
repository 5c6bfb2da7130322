"""The Python API: everything the service does, over HTTP."""

from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from latentmill.resources import Datasets, Fits, Jobs, Models, Previews, Reports
from latentmill.surroundings import find_service
from latentmill.transport import JsonObject, Transport


class Client:
    """A connection to one service.

    Without arguments it takes `LATENTMILL_URL` and `LATENTMILL_API_KEY`, else the local `latentmill up`, found through
    `endpoint.json` in its data directory. Safe to share between threads.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: str | PathLike[str] | None = None,
    ) -> None:
        address = find_service(url, api_key, Path(data_dir).expanduser() if data_dir is not None else None)
        self._transport = Transport(address)
        self.models = Models(self._transport)
        self.datasets = Datasets(self._transport)
        self.fits = Fits(self._transport)
        self.reports = Reports(self._transport)
        self.jobs = Jobs(self._transport)
        self.previews = Previews(self._transport)

    @property
    def url(self) -> str:
        """The address of the service."""
        return self._transport.url

    def limits(self) -> JsonObject:
        """What one request may ask for."""
        return self._transport.get_json("/v1/limits")

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.url}>"
