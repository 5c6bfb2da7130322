"""`latentmill up`: broker, migrations, API, beat and two workers on this machine, as children of one process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, NoReturn, Self

import httpx

from latentmill import broker
from latentmill.data_dir import Claimed, claim_data_dir, rotated_log, write_private
from latentmill.errors import Conflict, NotAuthenticated, StartFailed, StorageFull
from latentmill.listening import KEY_FILE, refuse_remote
from latentmill.processes import SERVICE_NEEDS, WORKERS_NEED, require, service_command, worker_command
from latentmill.resources.disk import disk_errors
from latentmill.supervision import Child, Supervisor
from latentmill.surroundings import ENDPOINT_FILE, child_environment, default_data_dir

DEFAULT_PORT = 8321
BROKER_SECONDS = 30.0
READY_SECONDS = 180.0  # the first start of torch on a cold disk
HOPELESS_DEATHS = 3  # a child that dies so often before all is ready will not start
LOG_BYTES = 2**20
KEY_NAME = "local"

Device = Literal["auto", "cpu", "cuda"]
Say = Callable[[str], object]


class Stack:
    """Everything on one machine, from `with Stack(...) as stack:` to the end of the block.

    `port` 0 takes a free one. `allow_remote` lets `host` be one that the network reaches. `workers` is the number of
    the compute worker's processes. `environment` changes settings (`LATENTMILL_...`) of the children. SIGKILL of this
    process ends the children too.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        port: int = DEFAULT_PORT,
        workers: int | None = None,
        device: Device | None = None,
        environment: Mapping[str, str] | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.data_dir = (Path(data_dir) if data_dir is not None else default_data_dir()).expanduser().absolute()
        self.host = host
        self._allow_remote = allow_remote
        self.port = port
        self.url = ""
        self.api_key = ""
        self._workers = workers
        self._device = device
        self._changes = dict(environment or {})
        self.say = say
        self._claimed: Claimed | None = None
        self._supervisor = Supervisor(say)

    @property
    def children(self) -> dict[str, Child]:
        """The children by name: broker, api, prompt, compute, beat."""
        return {child.name: child for child in self._supervisor.children}

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that run; empty where the system does not tell."""
        found = {name: child.process_id for name, child in self.children.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def __enter__(self) -> Self:
        try:
            with disk_errors(self.data_dir):
                self.start()
        except BaseException:  # an interrupt too: a half-started stack leaves nothing behind
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when the API says that it is ready."""
        require("up", (*SERVICE_NEEDS, *WORKERS_NEED))
        if not self._allow_remote:
            refuse_remote(self.host, self.data_dir)
        binary = broker.server_binary()
        self._claimed = claim_data_dir(self.data_dir)
        self.port = _open_port(self.host, self.port)
        self.url = f"http://{_reachable(self.host)}:{self.port}"
        self._claimed.note_url(self.url)
        environment = self._start_broker(binary)
        self._publish(self._migrate(environment))
        self._start_processes(environment)
        with httpx.Client(base_url=self.url, trust_env=False, timeout=5) as http:
            self._wait(lambda: _is_ready(http), "the service", READY_SECONDS)
            if not _is_known(http, self.api_key):  # another database than the one that the key was made for
                self._publish(self._new_key(environment))

    def adopt_orphans(self) -> None:
        """Reap what a killed child leaves; for a process that has no children but these."""
        self._supervisor.adopt_orphans()

    def stop(self) -> None:
        """End every child, remove the endpoint, let go of the data directory."""
        if self._claimed is None:
            return
        (self.data_dir / ENDPOINT_FILE).unlink(missing_ok=True)
        self._supervisor.stop()
        self._claimed.release()
        self._claimed = None

    def _start_broker(self, binary: str) -> dict[str, str]:
        folder = broker.socket_folder()
        path = folder / "broker.sock"
        kept = self.data_dir / "broker"
        kept.mkdir(exist_ok=True)
        environment = self._environment(path)
        command = broker.server_command(binary, path, kept)
        log = rotated_log(self.data_dir, "broker")
        self._supervisor.add(Child("broker", command, environment=environment, log=log, folder=folder))
        self._wait(lambda: broker.answers(path), "the broker", BROKER_SECONDS)
        return environment

    def _environment(self, socket_path: Path) -> dict[str, str]:
        """Settings of the children. Whatever database, storage or service the caller's shell names is not ours."""
        changes: dict[str, str | None] = {
            "LATENTMILL_DATABASE__URL": None,
            "LATENTMILL_STORAGE__URL": None,
            "LATENTMILL_URL": None,
            "LATENTMILL_API_KEY": None,
            "LATENTMILL_DATA_DIR": str(self.data_dir),
            "LATENTMILL_BROKER__URL": f"redis+socket://{socket_path}",
            "LATENTMILL_API__HOST": self.host,
            "LATENTMILL_API__ALLOW_REMOTE": str(self._allow_remote).lower(),
            "LATENTMILL_API__PORT": str(self.port),
        }
        if self._device is not None:
            changes["LATENTMILL_WORKER__DEVICE"] = self._device
        if self._workers is not None:
            changes["LATENTMILL_WORKER__SLOTS"] = str(self._workers)
        return child_environment({**changes, **self._changes})

    def _migrate(self, environment: Mapping[str, str]) -> str:
        """Bring the database to the newest schema; the key that was kept beside it, or a new one."""
        kept = self._kept_key()
        if kept is None:  # made by the same process: Python starts once less
            return self._keep_printed("migrate", ("migrate", "--with-key", KEY_NAME), environment)
        self._run("migrate", service_command("migrate"), environment)
        return kept

    def _kept_key(self) -> str | None:
        path = self.data_dir / KEY_FILE
        return path.read_text().strip() or None if path.is_file() else None

    def _new_key(self, environment: Mapping[str, str]) -> str:
        """A key for this data directory, kept readable for this user alone: the service stores only its hash."""
        return self._keep_printed("keys", ("keys", "create", "--admin", "--name", KEY_NAME), environment)

    def _keep_printed(self, name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> str:
        """Run a command that prints a new key; the key, kept from now on."""
        output = self._run(name, service_command(*command), environment)
        key = next((word for word in output.split() if word.startswith("lm_")), None)
        if key is None:
            raise StartFailed(f"`latentmill {' '.join(command)}` printed no key")
        write_private(self.data_dir / KEY_FILE, key.encode())
        return key

    def _publish(self, key: str) -> None:
        """Tell clients of this user where the service is."""
        self.api_key = key
        endpoint = json.dumps({"url": self.url, "api_key": key})
        write_private(self.data_dir / ENDPOINT_FILE, endpoint.encode())

    def _run(self, name: str, command: list[str], environment: Mapping[str, str]) -> str:
        """Run one command to its end; what it printed."""
        with rotated_log(self.data_dir, name).open("wb") as errors:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, check=False
            )
        if done.returncode != 0:
            if shutil.disk_usage(self.data_dir).free < LOG_BYTES:
                raise StorageFull(f"no space left for {self.data_dir}")  # nor for the log that would say it
            log = self.data_dir / "logs" / f"{name}.log"
            raise StartFailed(f"{name} failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        return done.stdout.decode("utf-8", "replace")

    def _start_processes(self, environment: dict[str, str]) -> None:
        commands = {
            "api": service_command("api", "--host", self.host, "--port", str(self.port)),
            "prompt": worker_command("prompt"),
            "compute": worker_command("compute"),
            "beat": service_command("beat"),
        }
        for name, command in commands.items():
            log = rotated_log(self.data_dir, name)
            self._supervisor.add(Child(name, command, environment=environment, log=log))

    def _wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            for child in self._supervisor.children:
                if child.deaths >= HOPELESS_DEATHS:
                    raise StartFailed(f"{child.name} does not stay up; the end of {child.log}:\n{child.log_tail()}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} is not ready after {seconds:g} s; logs: {self.data_dir / 'logs'}")
            time.sleep(0.03)


def up(stack: Stack) -> None:
    """Run `stack` until Ctrl-C, SIGTERM or the end of the terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with stack:
            stack.adopt_orphans()
            stack.say(f"Latentmill is ready: {stack.url}  key: {stack.api_key}  (Ctrl-C ends it)")
            while True:
                signal.pause()
    except KeyboardInterrupt:
        stack.say("Latentmill has ended.")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:  # not listening yet
        return False


def _is_known(http: httpx.Client, key: str) -> bool:
    answer = http.get("/v1/models", params={"limit": 1}, headers={"Authorization": f"Bearer {key}"})
    return answer.status_code != NotAuthenticated.status


def _open_port(host: str, port: int) -> int:
    """`port`, where nothing listens on it; a free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise Conflict(f"{host}:{port} cannot be used ({reason}); choose another with --port") from error
        return int(probe.getsockname()[1])


def _reachable(host: str) -> str:
    """An address at which a server that listens on `host` is reached from here."""
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{here}]" if ":" in here and not here.startswith("[") else here
