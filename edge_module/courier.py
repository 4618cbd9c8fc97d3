"""The courier: carries what the ledger owes to the cloud, and believes only what headquarters confirms.

A message stays in the ledger until headquarters' database has it; the edge hub's PUBACK means no more than that the
edge hub has it. Retries live here and in pictures.py, with back-off and jitter, and nowhere else.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edge_module import wire
from edge_module.budget import Allowance
from edge_module.clock import Clock
from edge_module.errors import NotSent, PermanentDelivery, TransientDelivery
from edge_module.ledger import Ledger
from edge_module.outbox import Owed
from edge_module.settings import Settings

_log = logging.getLogger(__name__)

LEASE_S: Final = 120.0
_MESSAGES_A_STEP: Final = 20
_BACK_OFF_FIRST_S: Final = 2.0
_IDLE_S: Final = 5.0


class Link(Protocol):
    """What the courier needs of the link to the edge hub; `hub.Hub` is one."""

    @property
    def connected(self) -> bool:
        """Whether sending is worth a try."""

    def send(self, encoded: wire.Encoded, *, message_id: str | None) -> None:
        """Send and wait for the edge hub; raises `TransientDelivery` or `PermanentDelivery`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of the courier moved, and whether something stands in the way."""

    moved: int
    hindered: bool


class Courier:
    """Carries messages, a few at a time. One thread calls `run`; the rest may be called from any."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        link: Link,
        clock: Clock,
        settings: Callable[[], Settings],
        reading: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        """Put the courier together.

        Args:
            ledger: what is owed.
            link: to the edge hub.
            clock: for delays.
            settings: the settings in force now.
            reading: whether a card is being read now: batches wait to be full until it ends.
            beat: called between messages, to show that it goes on.
        """
        self._ledger = ledger
        self._link = link
        self._clock = clock
        self._settings = settings
        self._reading = reading
        self._beat = beat
        self._wake = threading.Event()
        self._heard = False

    def wake(self) -> None:
        """Something is owed, or the link is back: do not wait."""
        self._wake.set()

    def connected(self) -> None:
        """The link is back and what headquarters had to say has been heard: send at once what waited for it."""
        self._heard = True
        self._ledger.outbox.retry()
        self.wake()

    def confirm(self, confirmed: wire.Confirmed) -> None:
        """Act on what headquarters says it holds."""
        self._ledger.confirm(confirmed, resend_older_than_s=self._settings().confirm_interval_s)
        self.wake()

    def run(self, stop: threading.Event) -> None:
        """Carry until told to stop."""
        while not stop.is_set():
            self._beat()
            self._wake.clear()
            step = self.step()
            if not step.moved or step.hindered:
                self._wake.wait(_IDLE_S)

    def step(self) -> Step:
        """Carry a few messages. Safe to be killed at any point."""
        while self._ledger.outbox.pack(flush=not self._reading()):
            pass
        # Not before headquarters was heard once: what it has confirmed may say that this ledger is an old copy.
        if not (self._link.connected and self._heard):
            return Step(moved=0, hindered=True)
        self._ledger.outbox.resend([(0, self._ledger.outbox.highest())], older_than_s=self._settings().resend_after_s)
        return self._carry()

    def _carry(self) -> Step:
        leased = self._ledger.outbox.lease(
            limit=_MESSAGES_A_STEP,
            lease_s=LEASE_S,
            bytes_max=self._settings().unconfirmed_max_bytes,
            allowance=Allowance.of(self._settings()),
        )
        moved = 0
        for i, owed in enumerate(leased):
            self._beat()
            try:
                self._send(owed)
            except PermanentDelivery as exc:
                _log.error("message %d buried: %s", owed.sequence, exc)
                self._ledger.outbox.bury(owed.sequence, reason=str(exc))
            except TransientDelivery as exc:
                _log.info("message %d later: %s", owed.sequence, exc)
                for waiting in leased[i if isinstance(exc, NotSent) else i + 1 :]:
                    if waiting.day is not None:
                        self._ledger.budget.give_back(waiting.day, waiting.cost_bytes)
                for waiting in leased[i:]:
                    delay_s = back_off_s(waiting.attempts, longest_s=self._settings().retry_longest_s)
                    self._ledger.outbox.release(waiting.sequence, delay_s=delay_s, reason=str(exc))
                return Step(moved=moved, hindered=True)
            else:
                self._ledger.outbox.sent(owed.sequence)
            moved += 1
        return Step(moved=moved, hindered=False)

    def _send(self, owed: Owed) -> None:
        encoded = wire.Encoded(kind=owed.kind, content_type=owed.content_type, body=owed.body)
        self._link.send(encoded, message_id=owed.message_id)


def back_off_s(attempts: int, *, longest_s: float) -> float:
    """Twice as long each time, with jitter so that gateways do not come back in step."""
    longest = min(_BACK_OFF_FIRST_S * 2.0 ** min(attempts - 1, 20), longest_s)
    return longest * random.uniform(0.5, 1.0)
