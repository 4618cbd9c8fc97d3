"""Answering gateways that ask for an upload credential: again until the gateway has it."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

from edge_module.errors import PermanentDelivery, TransientDelivery

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_ATTEMPTS: Final = 60
"""About an hour. A gateway asks again on every connect, and before its credential ends."""


class UploadSasAnswers:
    """One answer under way for each gateway, to its newest request. Belongs to one event loop."""

    def __init__(self, send: Callable[[str], datetime]) -> None:
        """`send` gives a gateway a credential; it blocks, and raises `TransientDelivery` or `PermanentDelivery`."""
        self._send = send
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def request(self, gateway_id: str) -> None:
        """Answer a gateway; an answer that is still being tried is begun anew."""
        if before := self._under_way.pop(gateway_id, None):
            before.cancel()
        task = asyncio.create_task(self._answer(gateway_id), name=f"upload SAS for {gateway_id}")
        self._under_way[gateway_id] = task
        task.add_done_callback(lambda done: self._finished(gateway_id, done))

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, gateway_id: str, task: asyncio.Task[None]) -> None:
        if self._under_way.get(gateway_id) is task:
            del self._under_way[gateway_id]

    async def _answer(self, gateway_id: str) -> None:
        pause_s = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS):
            try:
                expires_at = await asyncio.to_thread(self._send, gateway_id)
            except TransientDelivery as exc:
                log.info("upload SAS not delivered yet: %s", exc)
            except PermanentDelivery as exc:
                log.warning("upload SAS cannot be delivered: %s", exc)
                return
            except Exception:
                log.exception("upload SAS for %s failed", gateway_id)
                return
            else:
                log.info("%s has an upload SAS until %s", gateway_id, expires_at.isoformat())
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        log.warning("%s did not take an upload SAS; it will ask again when it connects", gateway_id)
