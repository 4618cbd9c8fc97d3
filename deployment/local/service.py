"""What the processes have in common: start, say *ready* in one line of JSON, run until told to stop, stop in order."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from typing import Any, Protocol

_PR_SET_PDEATHSIG = 1
"""Linux, prctl(2)."""


class Service(Protocol):
    """A process's work."""

    async def start(self) -> dict[str, Any]:
        """Start; what is returned is printed."""

    async def stop(self) -> None:
        """End all connections and close all files."""


async def run(service: Service) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        print(json.dumps(await service.start()), flush=True)  # noqa: T201 - the ready line is this program's answer
        await stopped.wait()
    finally:
        await service.stop()


def end_with_parent(parent_pid: int) -> None:
    """Ask Linux to end this process, and what it becomes by exec, when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:
            sys.exit("the process that started this one has ended already")
