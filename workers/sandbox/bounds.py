"""How far a process that parses an upload may go."""

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class SandboxBounds:
    """Bounds of one request: memory that it may write to, seconds on the clock, processors, bytes of one file."""

    memory_bytes: int = 8 * GIB
    seconds: float = 300.0
    seconds_setting: str = ""  # where they were set
    threads: int = 1  # processor time: as many seconds for each
    file_bytes: int = 16 * GIB

    @property
    def cpu_seconds(self) -> int:
        return max(1, round(self.seconds * self.threads))


@dataclass(frozen=True)
class Levels:
    """How far a process is confined on this machine."""

    memory: str
    network: str
    files: str
    system_calls: str

    def __str__(self) -> str:
        return f"memory: {self.memory}, network: {self.network}, files: {self.files}, system calls: {self.system_calls}"
