"""The demonstration's own processes: started, watched, and ended together, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from deployment.demo.errors import DemoError

_STOP_S: Final = 15.0
"""The local Azure allows each of its own processes 10."""
_POLL_S: Final = 0.1

T = TypeVar("T")


class Processes:
    """Each in a session of its own, so that Ctrl-C reaches nobody but us; its words go to ``NAME.log``."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str, env: Mapping[str, str]) -> None:
        """Start ``python -m WORDS``; to be called in the main thread, whose end is the child's."""
        command = [sys.executable, "-m", "deployment.demo.child", str(os.getpid()), *words]
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(env), start_new_session=True
            )

    def wait_for(self, true: Callable[[], T | None], *, within_s: float, what: str) -> T:
        """Wait until `true` gives something.

        Raises:
            DemoError: a process ended meanwhile, or it took too long.
        """
        deadline = time.monotonic() + within_s
        while (found := true()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {within_s:.0f} s; the logs in {self._logs} may say why")
            time.sleep(_POLL_S)
        return found

    def wait_ended(self, name: str, *, within_s: float) -> None:
        """Wait until a process has done its work.

        Raises:
            DemoError: it failed, or took too long.
        """
        process = self._running[name]

        def ended() -> bool | None:
            return True if process.poll() == 0 else None

        self.wait_for(ended, within_s=within_s, what=name)
        del self._running[name]

    def check(self) -> None:
        """Make sure that all are running.

        Raises:
            DemoError: one has ended; with the last line of its log.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = self.log(name).read_text(errors="replace").strip().splitlines()
                says = f": {lines[-1]}" if lines else ""
                raise DemoError(f"{name} ended by itself (exit {process.returncode}){says} (see {self.log(name)})")

    def stop(self) -> None:
        """End all: the first started, which the others lean on, after them. Whoever asks to hurry waits."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        names = list(self._running)
        self._end(names[1:])
        self._end(names[:1])

    def _end(self, names: list[str]) -> None:
        ending = [self._running.pop(name) for name in names]
        for process in ending:
            process.terminate()
        deadline = time.monotonic() + _STOP_S
        for process in ending:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its session's only group is its own
                process.wait()

    def log(self, name: str) -> Path:
        """Where a process's words go."""
        return self._logs / f"{name}.log"
