"""The day's budget of bytes, kept in the ledger by our own count, whatever the clocks do.

The first day ends at midnight by the cameras' offset, each further one 24 hours later, or at the next midnight where
the gateway was off for longer. Whether it has ended is asked of a time of the budget's own:

1. Within one boot of the host it moves with the monotonic clock alone: setting the wall clock gives and takes nothing.
2. At another boot it goes on from the wall clock, if that is not behind it: the host was off for a while.
3. If the wall clock is behind it (set back, or without a battery), the day lasts as long as it had still to last: no
   second budget for free, and no waiting for a year that was never reached.

Bytes are taken before they are sent, in a transaction: a process that is killed has counted too much, never too little.
A tenth is kept for alerts and receipts.
"""

import sqlite3
from dataclasses import astuple, dataclass, replace
from typing import Final, Self

from edge_module.clock import Clock
from edge_module.database import Database
from edge_module.settings import Settings

MESSAGE_HEADER_BYTES: Final = 500
"""Counted beside each message's body: MQTT's header and the topic with the message's properties
(tests/unit/edge/test_traffic.py holds it against the SDK, with the longest names of device and module)."""

PUT_HEADER_BYTES: Final = 2_000
"""Counted beside the body of each request to Blob Storage: its line with the credential, and headers (same test)."""

_DAY_S: Final = 86_400
_NOTED_S: Final = 600.0
"""Of passing time at most so much is forgotten when the host boots with a clock that stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much may be sent in a day, and whose midnight ends it."""

    budget_bytes: int
    utc_offset_min: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The allowance that is set."""
        return cls(budget_bytes=settings.budget_bytes, utc_offset_min=settings.camera_utc_offset_min)

    def limit_bytes(self, *, urgent: bool) -> int:
        """What may be used up to: all of it by alerts and receipts, nine tenths by the rest."""
        return self.budget_bytes if urgent else self.budget_bytes - self.budget_bytes // 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day of the budget, as it was last looked at.

    Args:
        number: counts the days; what was taken on one is not given back on another.
        boot_id: of the look.
        monotonic_s: of the look, within that boot.
        time_s: of the look, by the budget's own time (seconds, Unix).
        ends_s: when the day ends, by the same.
        used_bytes: taken so far.
        review_crops: crops of `review` stored so far.
    """

    number: int
    boot_id: str
    monotonic_s: float
    time_s: float
    ends_s: float
    used_bytes: int = 0
    review_crops: int = 0


def at(day: Day | None, *, boot_id: str, monotonic_s: float, wall_s: float, utc_offset_min: int) -> Day:
    """The day as it stands now, by the rules above; a new one where it has ended."""
    if day is None:
        ends_s = _midnight_after(wall_s, utc_offset_min)
        return Day(number=1, boot_id=boot_id, monotonic_s=monotonic_s, time_s=wall_s, ends_s=ends_s)
    ends_s = day.ends_s
    if boot_id == day.boot_id:
        now_s = day.time_s + max(0.0, monotonic_s - day.monotonic_s)
    else:
        now_s = wall_s
        if wall_s < day.time_s:
            ends_s = wall_s + (day.ends_s - day.time_s)
    looked = replace(day, boot_id=boot_id, monotonic_s=monotonic_s, time_s=now_s, ends_s=ends_s)
    if now_s < ends_s:
        return looked
    return replace(
        looked,
        number=day.number + 1,
        ends_s=ends_s + _DAY_S if now_s < ends_s + _DAY_S else _midnight_after(now_s, utc_offset_min),
        used_bytes=0,
        review_crops=0,
    )


def _midnight_after(time_s: float, utc_offset_min: int) -> float:
    offset_s = 60 * utc_offset_min
    return ((time_s + offset_s) // _DAY_S + 1) * _DAY_S - offset_s


class Budget:
    """The budget of one ledger."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def take(
        self, connection: sqlite3.Connection, size_bytes: int, allowance: Allowance, *, urgent: bool = False
    ) -> int | None:
        """Take bytes within a transaction of the caller's. Returns the day's number; None where they do not fit."""
        before = _read(connection.execute(_SELECT).fetchall())
        day = self._now(before, allowance)
        if day.used_bytes + size_bytes > allowance.limit_bytes(urgent=urgent):
            if _is_to_be_noted(before, day):
                _write(connection, day)
            return None
        _write(connection, replace(day, used_bytes=day.used_bytes + size_bytes))
        return day.number

    def reserve(self, size_bytes: int, allowance: Allowance, *, urgent: bool = False) -> int | None:
        """Take bytes in a transaction of its own. Returns the day's number; None where they do not fit."""
        with self._database.transaction("budget") as connection:
            return self.take(connection, size_bytes, allowance, urgent=urgent)

    def give_back(self, number: int, size_bytes: int) -> None:
        """Nothing of what was taken on that day has left: on the same day it may be used again."""
        with self._database.transaction("budget") as connection:
            connection.execute(
                "UPDATE budget SET used_bytes = max(0, used_bytes - ?) WHERE number = ?", (size_bytes, number)
            )

    def today(self, allowance: Allowance) -> Day:
        """The day as it stands now. That time passes is written down now and then, for when the host boots again."""
        before = _read(self._database.read(_SELECT))
        day = self._now(before, allowance)
        if _is_to_be_noted(before, day):
            with self._database.transaction("budget") as connection:
                day = self._now(_read(connection.execute(_SELECT).fetchall()), allowance)
                _write(connection, day)
        return day

    def left_bytes(self, allowance: Allowance, *, urgent: bool = False) -> int:
        """What may still be sent today."""
        return max(0, allowance.limit_bytes(urgent=urgent) - self.today(allowance).used_bytes)

    def _now(self, day: Day | None, allowance: Allowance) -> Day:
        return at(
            day,
            boot_id=self._clock.boot_id,
            monotonic_s=self._clock.monotonic_s(),
            wall_s=self._clock.now().timestamp(),
            utc_offset_min=allowance.utc_offset_min,
        )


_SELECT: Final = "SELECT number, boot_id, monotonic_s, time_s, ends_s, used_bytes, review_crops FROM budget"


def _read(rows: list[tuple[int, str, float, float, float, int, int]]) -> Day | None:
    if not rows:
        return None
    number, boot_id, monotonic_s, time_s, ends_s, used_bytes, review_crops = rows[0]
    return Day(
        number=number, boot_id=boot_id, monotonic_s=monotonic_s, time_s=time_s, ends_s=ends_s,
        used_bytes=used_bytes, review_crops=review_crops,
    )  # fmt: skip


def _is_to_be_noted(before: Day | None, now: Day) -> bool:
    return before is None or before.boot_id != now.boot_id or now.monotonic_s - before.monotonic_s >= _NOTED_S


def _write(connection: sqlite3.Connection, day: Day) -> None:
    connection.execute("INSERT OR REPLACE INTO budget VALUES (1, ?, ?, ?, ?, ?, ?, ?)", astuple(day))
