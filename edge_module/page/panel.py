"""Gathers what the page and the lamp show, from the parts that know it. Any thread may ask."""

import threading
from collections.abc import Callable
from typing import Final

from edge_module.cards import Cards
from edge_module.clock import Clock
from edge_module.domain import CardReceipt, ReadingState
from edge_module.ledger import Ledger
from edge_module.pace import Pace
from edge_module.page import state
from edge_module.page.state import CardShown, Link, Word
from edge_module.page.view import Seen
from edge_module.places import PlaceState
from edge_module.stick import Stick

_RECEIPTS_FOR_S: Final = 5.0
"""Counting a card's files takes the database a moment: not for every look of every phone."""
_GONE_SHOWN: Final = 5


class Panel:
    """What there is to see.

    Args:
        cards: those that are in.
        ledger: what came of them.
        pace: how fast headquarters confirms.
        stick: for what leaves by hand.
        connected: whether the edge hub is there.
        pictures_owed: how many wait to be sent.
        budget_left_bytes: of today's data.
        disk_fault: whether the gateway's own disk is in trouble.
        clock: for times.
    """

    def __init__(
        self, *, cards: Cards, ledger: Ledger, pace: Pace, stick: Stick, connected: Callable[[], bool],
        pictures_owed: Callable[[], int], budget_left_bytes: Callable[[], int],
        disk_fault: Callable[[], bool], clock: Clock,
    ) -> None:  # fmt: skip
        self._cards = cards
        self._ledger = ledger
        self._pace = pace
        self._stick = stick
        self._connected = connected
        self._pictures_owed = pictures_owed
        self._budget_left_bytes = budget_left_bytes
        self._disk_fault = disk_fault
        self._clock = clock
        self._lock = threading.Lock()
        self._receipts: dict[str, CardReceipt] = {}
        self._receipts_at_s = -_RECEIPTS_FOR_S
        self._read_since_s: dict[str, float] = {}

    def seen(self) -> Seen:
        """Everything, for the page."""
        link = self._link()
        return Seen(
            cards=self._shown(link),
            link=link,
            pictures_owed=self._pictures_owed(),
            budget_left_bytes=self._budget_left_bytes(),
            fault=self._fault(),
            stick=self._stick.state,
            job=self._stick.job,
        )

    def word(self) -> Word:
        """The one word for a lamp."""
        fault = self._fault()
        return Word.ERROR if fault else state.of_all(self._shown(self._link()))

    def _fault(self) -> str:
        return "fault_disk" if self._disk_fault() else "fault_cards" if self._cards.fault else ""

    def _link(self) -> Link:
        owed_bytes = self._ledger.outbox.backlog().unconfirmed_bytes
        now_s = self._clock.monotonic_s()
        if owed_bytes:
            self._pace.owing(now_s)
        return Link(connected=self._connected(), owed_bytes=owed_bytes, bytes_per_s=self._pace.bytes_per_s(now_s))

    def _shown(self, link: Link) -> list[CardShown]:
        seen = self._cards.seen()
        now_s = self._clock.monotonic_s()
        with self._lock:
            present = {card.card_id for card in seen}
            wanted = [card.reading_id for card in seen if card.state is PlaceState.READ]
            last = self._ledger.last_readings(_GONE_SHOWN)
            wanted += [reading_id for reading_id, card_id in last if card_id not in present]
            stale = now_s >= self._receipts_at_s + _RECEIPTS_FOR_S or now_s < self._receipts_at_s
            # What was counted while a card was being read is old as soon as it is read.
            known = {} if stale else {k: r for k, r in self._receipts.items() if r.state is ReadingState.COMPLETE}
            self._receipts = {
                reading_id: known.get(reading_id) or self._ledger.receipt(reading_id)
                for reading_id in dict.fromkeys(wanted)
            }
            if stale:
                self._receipts_at_s = now_s
            self._read_since_s = {
                reading_id: self._read_since_s.get(reading_id, now_s) for reading_id in self._receipts
            }
            read_for_s = {reading_id: now_s - since_s for reading_id, since_s in self._read_since_s.items()}
            return state.shown(seen, self._receipts, link, read_for_s=read_for_s, now_s=now_s)
