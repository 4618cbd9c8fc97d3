"""Telling each gateway what the database holds of it, at most once an interval.

A gateway's twin is read before the database, the first time: so the database can only be behind the twin if it has
lost something (an old backup). Then the confirmation goes down to what is held, and people are told.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from cloud_sync.database import StoreUnavailableError
from cloud_sync.fleet import Fleet
from cloud_sync.intake import Intake
from cloud_sync.store import Store
from edge_module.errors import PermanentDelivery, TransientDelivery

log = logging.getLogger(__name__)

_LOOK_AT_ALL_S: Final = 3600.0
"""How often every twin is read: a deployment that names desired properties wipes `confirmed`."""


class Confirming:
    """Writes confirmations. Belongs to one event loop; IoT Hub and the database are used in threads."""

    def __init__(self, store: Store, fleet: Fleet, intake: Intake, *, interval_s: float) -> None:
        """At most one confirmation a gateway every `interval_s` seconds."""
        self._store = store
        self._fleet = fleet
        self._intake = intake
        self._interval_s = interval_s
        self._due: set[str] = set()
        self._told: dict[str, object] = {}

    def touch(self, gateway_ids: Iterable[str]) -> None:
        """Look at these gateways' confirmations at the next turn."""
        self._due.update(gateway_ids)

    async def run(self) -> None:
        """Confirm until cancelled. Begins with every gateway, for the database may have been exchanged."""
        look_at_all = 0.0
        while True:
            try:
                if time.monotonic() >= look_at_all:
                    self.touch(g.gateway_id for g in await asyncio.to_thread(self._store.gateways))
                    self._told.clear()
                    look_at_all = time.monotonic() + _LOOK_AT_ALL_S
                self.touch(await self._intake.look_again())
                await self._turn()
            except StoreUnavailableError as exc:
                log.warning("confirmations wait: %s", exc)
            except Exception:
                log.exception("a turn of confirmations failed; the next comes in %s s", self._interval_s)
            await asyncio.sleep(self._interval_s)

    async def _turn(self) -> None:
        due, self._due = self._due, set()
        while due:
            gateway_id = due.pop()
            try:
                await asyncio.to_thread(self._confirm, gateway_id)
            except TransientDelivery as exc:
                log.info("confirmation comes later: %s", exc)
                self._due.add(gateway_id)
            except PermanentDelivery as exc:
                log.warning("no confirmation: %s", exc)
                self._told.pop(gateway_id, None)
            except BaseException:
                self._due |= due | {gateway_id}
                raise

    def _confirm(self, gateway_id: str) -> None:
        if gateway_id not in self._told:
            told = self._fleet.told(gateway_id)
            if told and self._store.compare_with_told(gateway_id, told, datetime.now(UTC)):
                log.error("the database holds less of %s than was confirmed: see its alerts", gateway_id)
            self._told[gateway_id] = told
        ledger_id = self._store.current_ledger(gateway_id)
        if ledger_id is None:
            return
        confirmed = self._store.confirmed(gateway_id, ledger_id)
        if confirmed != self._told[gateway_id]:
            self._fleet.tell(gateway_id, confirmed)
            self._told[gateway_id] = confirmed
            log.info("confirmed to %s: %s through %s", gateway_id, ledger_id, confirmed.through)
