"""``migrate`` and ``ingest``."""

import argparse
import asyncio
import os
import signal
import threading
from typing import Any, Final

from cloud_sync import migrate, settings
from cloud_sync.commands.environment import command, store_of_environment

_END_S: Final = 10.0


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    command(commands, "migrate", _migrate, "bring the database to the form this version needs")
    command(commands, "ingest", _ingest, "record what arrives until stopped; run as many as there are partitions")


def _migrate(_given: argparse.Namespace) -> int:
    print(f"the database is at revision {migrate.migrate(store_of_environment(current=False).engine)}")
    return 0


def _ingest(_given: argparse.Namespace) -> int:
    given = settings.IngestSettings.read(os.environ)
    from cloud_sync import ingest  # noqa: PLC0415 - see environment.fleet

    async def work() -> None:
        stop = asyncio.Event()

        def end() -> None:
            stop.set()
            # Storage that hangs holds an orderly end up; to be cut is safe at any moment.
            late = threading.Timer(_END_S, os._exit, (0,))
            late.daemon = True
            late.start()

        for wanted in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(wanted, end)
        await ingest.run(given, stop)

    asyncio.run(work())
    return 0
