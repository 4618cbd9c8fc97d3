"""The event stream on disk: partitions, sequence numbers, offsets, retention."""

import json
import sqlite3
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deployment.local.database import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    partition INTEGER NOT NULL, sequence INTEGER NOT NULL, offset INTEGER NOT NULL, enqueued_ms INTEGER NOT NULL,
    body BLOB NOT NULL, annotations TEXT NOT NULL, system TEXT NOT NULL, application TEXT NOT NULL,
    PRIMARY KEY (partition, sequence)
);
CREATE INDEX IF NOT EXISTS event_by_offset ON event (partition, offset);
CREATE INDEX IF NOT EXISTS event_by_time ON event (partition, enqueued_ms);
CREATE TABLE IF NOT EXISTS partition (
    number INTEGER PRIMARY KEY, next_sequence INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    last_enqueued_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS stream (created_ms INTEGER NOT NULL);
"""

_RECORD_BYTES: Final = 400
"""What an event takes in the stream beside its body; offsets count bytes."""

POSITION_FIELDS: Final = {"offset": "offset", "sequence-number": "sequence", "enqueued-time": "enqueued_ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A message to be stored.

    Attributes:
        device_id: decides the partition, as in IoT Hub.
        body: as sent.
        annotations: set by the hub, never by the sender.
        system: message-id, content-type and the like, set by the sender.
        application: properties set by the sender.
    """

    device_id: str
    body: bytes
    annotations: dict[str, str]
    system: dict[str, str]
    application: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A message in the stream."""

    sequence: int
    offset: int
    enqueued_ms: int
    body: bytes
    annotations: dict[str, str]
    system: dict[str, str]
    application: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """What Event Hubs tells about a partition. Sequence numbers are -1 where there is nothing."""

    first_sequence: int
    last_sequence: int
    last_offset: int
    last_enqueued_ms: int
    is_empty: bool


class EventLog:
    """The stream. One process writes and reads it."""

    def __init__(self, database: sqlite3.Connection, partitions: int) -> None:
        self._database = database
        database.executescript(SCHEMA)
        with transaction(database):
            held = database.execute("SELECT count(*) FROM partition").fetchone()[0]
            # Fewer partitions would hide events, more would split a gateway's history: the first start decides.
            self.partitions: int = held or partitions
            for number in range(held, self.partitions):
                database.execute("INSERT INTO partition VALUES (?, 0, 0, 0)", (number,))
            if not database.execute("SELECT count(*) FROM stream").fetchone()[0]:
                database.execute("INSERT INTO stream VALUES (?)", (_now_ms(),))
        self.created_ms: int = database.execute("SELECT created_ms FROM stream").fetchone()[0]
        self.listeners: list[Callable[[int], None]] = []
        """Called with the partition's number after something was stored."""

    def append(self, events: list[Event]) -> None:
        """Store messages; all are on disk when this returns."""
        touched = set()
        with transaction(self._database):
            for event in events:
                number = zlib.crc32(event.device_id.encode()) % self.partitions
                touched.add(number)
                sequence, offset = self._database.execute(
                    "SELECT next_sequence, next_offset FROM partition WHERE number = ?", (number,)
                ).fetchone()
                now = _now_ms()
                texts = (json.dumps(d) for d in (event.annotations, event.system, event.application))
                self._database.execute(
                    "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, sequence, offset, now, event.body, *texts),
                )
                self._database.execute(
                    "UPDATE partition SET next_sequence = ?, next_offset = ?, last_enqueued_ms = ? WHERE number = ?",
                    (sequence + 1, offset + len(event.body) + _RECORD_BYTES, now, number),
                )
        for number in touched:
            for listener in list(self.listeners):
                listener(number)

    def read(self, partition: int, sequence: int, limit: int) -> list[Stored]:
        """Messages of a partition from a sequence number on, in order."""
        rows = self._database.execute(
            "SELECT sequence, offset, enqueued_ms, body, annotations, system, application FROM event"
            " WHERE partition = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
            (partition, sequence, limit),
        )
        return [
            Stored(
                sequence=row[0],
                offset=row[1],
                enqueued_ms=row[2],
                body=row[3],
                annotations=json.loads(row[4]),
                system=json.loads(row[5]),
                application=json.loads(row[6]),
            )
            for row in rows
        ]

    def position(self, partition: int, field: str, value: int, *, inclusive: bool) -> int:
        """Sequence number of the first message after a position; the next to come where there is none.

        Args:
            partition: number of the partition.
            field: a key of ``POSITION_FIELDS``.
            value: offset, sequence number or milliseconds since 1970.
            inclusive: the message at the position itself counts too.
        """
        column = POSITION_FIELDS[field]
        found = self._database.execute(
            f"SELECT min(sequence) FROM event WHERE partition = ? AND {column} {'>=' if inclusive else '>'} ?",  # noqa: S608 - column is ours
            (partition, value),
        ).fetchone()[0]
        return int(found) if found is not None else self.end(partition)

    def end(self, partition: int) -> int:
        """The sequence number that the next message will have."""
        row = self._database.execute("SELECT next_sequence FROM partition WHERE number = ?", (partition,)).fetchone()
        return int(row[0])

    def state(self, partition: int) -> PartitionState:
        """What a partition holds."""
        first, last, offset = self._database.execute(
            "SELECT min(sequence), max(sequence), max(offset) FROM event WHERE partition = ?", (partition,)
        ).fetchone()
        following, enqueued_ms = self._database.execute(
            "SELECT next_sequence, last_enqueued_ms FROM partition WHERE number = ?", (partition,)
        ).fetchone()
        return PartitionState(
            first_sequence=following if first is None else first,
            last_sequence=following - 1 if last is None else last,
            last_offset=-1 if offset is None else offset,
            last_enqueued_ms=enqueued_ms,
            is_empty=first is None,
        )

    def expire(self, retention_s: float) -> int:
        """Drop messages older than the retention; returns how many."""
        with transaction(self._database):
            limit = _now_ms() - int(retention_s * 1000)
            return self._database.execute("DELETE FROM event WHERE enqueued_ms < ?", (limit,)).rowcount


def _now_ms() -> int:
    return int(time.time() * 1000)
