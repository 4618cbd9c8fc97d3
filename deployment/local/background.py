"""Work that nobody waits for: kept from being collected, and quiet about a link that is gone."""

import asyncio
import logging
from collections.abc import Awaitable

_log = logging.getLogger(__name__)


class Background:
    """Starts such work on the running loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[None]] = set()

    def start(self, work: Awaitable[object]) -> None:
        """Do it by the way. A broken connection is nobody's error: the other side asks again."""
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(work: Awaitable[object]) -> None:
    try:
        await work
    except ConnectionError as exc:
        _log.debug("not told: %r", exc)
