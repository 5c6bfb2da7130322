"""Every setting of the service and the workers: read once from `LATENTMILL_*`, frozen, and passed on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]

GIB = 1024**3
MIB = 1024**2


class Group(BaseModel):
    """Settings that belong together: `LATENTMILL_WORK__LEASE_SECONDS=60`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Group):
    url: str | None = None  # none: an SQLite file in data_dir
    busy_seconds: Seconds = 30.0  # how long a statement waits for another writer
    connections: Count = 10


class BrokerSettings(Group):
    url: str = "redis://127.0.0.1:6379/0"
    key_prefix: str = "latentmill:"
    visibility_seconds: Count = 3600  # then a message that nobody has settled is delivered again, which does no harm


class StorageSettings(Group):
    url: str | None = None  # none: files in data_dir
    reserve_bytes: Annotated[int, Field(ge=0)] = 256 * MIB  # of the disk, left to the database and the broker
    capacity_bytes: Bytes | None = None  # of all that lies in data_dir; none: what the disk has
    collect_seconds: Seconds = 300.0  # between two looks for garbage
    upload_grace_seconds: Seconds = 3600.0  # an upload that no row names by then was never finished


class ApiSettings(Group):
    host: str = "127.0.0.1"
    allow_remote: bool = False  # listen where the network reaches it although data_dir holds the key of `latentmill up`
    port: Annotated[int, Field(ge=0, le=65_535)] = 8321


class LogSettings(Group):
    format: Literal["text", "json"] = "text"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class WorkSettings(Group):
    """How work items are leased, watched and published."""

    lease_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 15.0
    stop_poll_seconds: Seconds = 0.5
    sweep_seconds: Seconds = 5.0
    lost_attempts: Count = 5
    out_of_memory_attempts: Count = 2
    lost_delay_seconds: Annotated[float, Field(ge=0)] = 1.0  # after the first loss; doubles with each further one
    longest_delay_seconds: Seconds = 60.0
    republish_seconds: Seconds = 60.0
    messages_per_slot: Count = 2
    worker_seen_seconds: Seconds = 30.0
    keep_finished_seconds: Seconds = 7 * 86_400.0
    keep_previews_seconds: Seconds = 120.0  # longer than a client waits for one


class TimeLimitSettings(Group):
    """How long a work item may take, from its claim on: it fails then, and says so."""

    inspect_seconds: Seconds = 300.0
    read_seconds: Seconds = 3600.0
    encode_seconds: Seconds = 6 * 3600.0
    fit_seconds: Seconds = 6 * 3600.0
    report_seconds: Seconds = 6 * 3600.0
    shard_seconds: Seconds = 3600.0
    finalize_seconds: Seconds = 600.0
    preview_seconds: Seconds = 60.0
    margin_seconds: Seconds = 60.0  # after it, the process of an item that did not end by itself is killed

    def of(self, kind: str) -> float:
        """The limit of items of this kind."""
        return float(getattr(self, f"{kind}_seconds"))

    def name_of(self, kind: str) -> str:
        """The environment variable that sets it."""
        return f"LATENTMILL_TIME_LIMITS__{kind.upper()}_SECONDS"

    def killed_after(self, kind: str) -> float:
        """Seconds after which the process that works at such an item is killed."""
        return self.of(kind) + self.margin_seconds


class WorkerSettings(Group):
    """How a worker uses its machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    slots: Count = 1  # child processes
    threads: Count | None = None  # none: cores divided by slots
    scratch_dir: Path | None = None  # none: in data_dir
    model_cache_bytes: Bytes = 2 * GIB
    density_cache_bytes: Bytes = 2 * GIB
    memory_bytes: Bytes | None = None  # of a child that is then replaced; none: see workers/memory.py


class SandboxSettings(Group):
    """How uploads are parsed: each in a process of its own. Its time is that of its kind in `time_limits`."""

    memory_bytes: Bytes = 8 * GIB
    preload: bool = True  # with the worker, 250 MiB; otherwise the first upload waits for torch, two seconds


class TenantLimits(Group):
    """What one tenant may have and ask for; `limits.tenants` says what is different for whom."""

    upload_bytes: Bytes = 4 * GIB
    rows_per_job: Count = 1_000_000_000
    shards_per_job: Count = 100_000
    stored_bytes: Bytes | None = None  # kept, with what jobs that are not over will still make
    running_jobs: Count | None = None  # begun at a time; more of them wait
    queued_jobs: Count | None = 10_000
    requests_per_second: Annotated[float, Field(gt=0)] | None = None  # in each process of the API
    request_burst: Count = 100  # requests that an idle tenant may make at once
    keep_jobs_seconds: Seconds | None = None  # for jobs and uploads that say nothing themselves
    keep_uploads_seconds: Seconds | None = None


class RequestLimits(TenantLimits):
    """And what any one request may ask for; `GET /v1/limits` shows all of them."""

    json_bytes: Bytes = MIB
    decompressed_bytes: Bytes = 16 * GIB
    shard_bytes: Bytes = 4 * GIB
    rows_per_dataset: Count = 100_000_000
    parameters: Count = 500_000_000
    latent_size: Count = 1_048_576
    graph_bytes: Bytes = GIB  # of each ONNX file of a bundle
    graph_nodes: Count = 20_000
    wait_seconds: Seconds = 60.0
    page_rows: Count = 1000
    preview_seconds: Seconds = 10.0  # in which a worker must take a preview
    preview_values: Count = 2**20  # numbers in a JSON answer that shows rows
    preview_pixels: Count = 2**24  # values of the pictures in a PNG
    stored_rows: Count = 1000  # of a job, read at a time


class LimitSettings(RequestLimits):
    """The limits, and the tenants that have others: `LATENTMILL_LIMITS__TENANTS={"acme": {"rows_per_job": 1000}}`."""

    tenants: dict[str, dict[str, Any]] = {}

    def of(self, tenant: str) -> TenantLimits:
        """The limits of the tenant with this name."""
        if (changes := self.tenants.get(tenant)) is None:
            return self
        return TenantLimits(**{name: getattr(self, name) for name in TenantLimits.model_fields} | changes)

    @model_validator(mode="after")
    def _tenants_have_limits(self) -> "LimitSettings":
        for tenant in self.tenants:
            try:
                self.of(tenant)
            except ValidationError as error:
                wrong = error.errors()[0]
                raise ValueError(f"{tenant}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
        return self


class RetentionSettings(Group):
    """How expired jobs, datasets and models are deleted."""

    look_seconds: Seconds = 5.0
    late_job_seconds: Annotated[float, Field(ge=0)] = 3600.0  # one that ended after it had expired is kept so long
    at_a_time: Count = 100  # of each kind


class KeySettings(Group):
    pepper: SecretStr | None = None  # none: a random file in data_dir, made on first use
    # A key that was found valid is not looked up again so soon: for so long it may outlive its end. 0: always look.
    trusted_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0


class Settings(BaseSettings):
    """All settings. `Settings()` reads the environment; nothing else does."""

    model_config = SettingsConfigDict(
        env_prefix="LATENTMILL_", env_nested_delimiter="__", frozen=True, nested_model_default_partial_update=True
    )

    data_dir: Path = Field(default_factory=lambda: Path.home() / ".latentmill")
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    storage: StorageSettings = StorageSettings()
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()
    work: WorkSettings = WorkSettings()
    time_limits: TimeLimitSettings = TimeLimitSettings()
    worker: WorkerSettings = WorkerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    keys: KeySettings = KeySettings()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data_dir / 'latentmill.db'}"

    @property
    def files_dir(self) -> Path:
        """Where local storage keeps its files."""
        return self.data_dir / "files"

    @property
    def scratch_dir(self) -> Path:
        """Where workers keep files in the making."""
        return self.worker.scratch_dir or self.data_dir / "scratch"
