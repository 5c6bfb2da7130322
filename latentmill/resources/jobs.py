"""Jobs: requests for rows."""

import builtins
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

from latentmill.resources.dataset_folder import ShardFile
from latentmill.resources.downloading import DOWNLOAD_THREADS, download_dataset
from latentmill.resources.expiry import Duration, Moment, expiry_fields
from latentmill.resources.models import Model
from latentmill.resources.resource import Collection, Resource, plain
from latentmill.transport import JsonObject


class Job(Resource):
    """One request for N rows: `progress`, `spec`, `seed`, `state_reason`."""

    path = "/v1/jobs"
    noun = "job"
    done = frozenset({"succeeded"})
    broken = frozenset({"failed", "cancelled"})

    @property
    def progress(self) -> JsonObject:
        return dict(self.data.get("progress") or {})

    def cancel(self) -> Self:
        """Stop it; shards that are committed stay."""
        self.data = self._transport.act("POST", f"{self.address}/cancel", repeatable=True)
        return self

    def retry(self) -> Self:
        """Make the missing shards of a failed or cancelled job."""
        self.data = self._transport.act("POST", f"{self.address}/retry", repeatable=False)
        return self

    def manifest(self) -> JsonObject:
        """What the job made, shard by shard."""
        return self._transport.get_json(f"{self.address}/manifest")

    def shards(self) -> builtins.list[ShardFile]:
        """The committed shards, by index."""
        found: builtins.list[ShardFile] = []
        cursor: str | None = None
        while True:
            page = self._transport.get_json(f"{self.address}/shards", limit=100, cursor=cursor)
            found.extend(ShardFile.model_validate(shard) for shard in page["data"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return found

    def rows(self, first: int = 0, count: int = 100) -> JsonObject:
        """Committed rows from `first` on, at most 1,000 of them: `rows`, and beside them `labels` and `latents`."""
        return self._transport.get_json(f"{self.address}/rows", first=first, count=count)

    def download(
        self,
        folder: str | PathLike[str],
        *,
        partial: bool = False,
        threads: int = DOWNLOAD_THREADS,
        progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Fetch the dataset folder; run again, it goes on where it stopped. Every file is verified.

        `partial` takes the committed shards of a job that has not succeeded, without a manifest. `progress` is called
        with (bytes done, bytes in all).
        """
        shards = self.shards() if partial else None
        return download_dataset(
            self._transport, self.address, Path(folder), shards=shards, threads=threads, progress=progress
        )


class Jobs(Collection[Job]):
    resource = Job

    def create(
        self,
        model: str | Model,
        *,
        strategy: Mapping[str, Any],
        rows: int,
        seed: int | None = None,
        format: str | None = None,
        shard_rows: int | None = None,
        output: Literal["mean", "sample"] | None = None,
        include_latents: bool | None = None,
        execution: Mapping[str, Any] | None = None,
        priority: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_at: Moment | None = None,
        expires_in: Duration | None = None,
    ) -> Job:
        """Ask for `rows` rows. It is deleted by itself at `expires_at`, or after `expires_in` ("90d", seconds)."""
        what = {"seed": seed, "format": format, "shard_rows": shard_rows, "output": output}
        how = {"include_latents": include_latents, "execution": execution, "priority": priority}
        whose = {"name": name, "metadata": metadata, **expiry_fields(expires_at, expires_in)}
        return self._create({"model": model, "strategy": strategy, "rows": rows, **what, **how, **whose})

    def plan(self, model: str | Model, *, strategy: Mapping[str, Any], rows: int, **fields: Any) -> JsonObject:
        """What the same request to `create` would do; nothing is created."""
        body = plain({"model": model, "strategy": strategy, "rows": rows, **fields})
        return self._transport.create(f"{Job.path}/plan", body)
