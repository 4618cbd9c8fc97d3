"""What a process takes, looked at again and again while it runs."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_EVERY_S: Final = 0.5
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look.

    Args:
        at_s: since the soak began, real seconds.
        day: the same in days of the soak.
        pid: names the life of the process that was looked at.
    """

    at_s: float
    day: float
    pid: int
    memory_mb: float
    descriptors: int
    threads: int
    ledger_mb: float
    disk_mb: float


def cpu_s(pid: int) -> float:
    """User and system time that a process and its threads have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


class Sampler:
    """Looks at a gateway from a thread of its own, as long as the context lasts."""

    def __init__(self, pid: Callable[[], int | None], data: Path, *, day_s: float) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._data = data
        self._day_s = day_s
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            pid = self._pid()
            if pid is None:
                continue
            try:
                self.samples.append(self._look(pid))
            except (OSError, KeyError):
                continue  # just ended

    def _look(self, pid: int) -> Sample:
        at_s = time.monotonic() - self._began
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return Sample(
            at_s=round(at_s, 2),
            day=round(at_s / self._day_s, 4),
            pid=pid,
            memory_mb=int(status["VmRSS"].split()[0]) / 1024,
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            threads=int(status["Threads"]),
            ledger_mb=sum(path.stat().st_size for path in self._data.glob("ledger.sqlite*")) / 2**20,
            disk_mb=sum(_size(path) for path in self._data.rglob("*")) / 2**20,
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
