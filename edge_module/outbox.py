"""What headquarters is owed, in numbered messages, until it has confirmed them.

====== ======================================= =========================================================
state  event                                   next state
====== ======================================= =========================================================
       put                                     ready, under a number that is never used again
ready  lease                                   leased, to one sender for a while
leased sent: the edge hub has it               sent; not more than that: it may still be lost upstream
leased release: it did not go through          ready, not before a delay
leased the lease ran out, or the host rebooted may be leased again
sent   headquarters confirmed it               gone
sent   headquarters misses it                  ready
any    bury: it can never be delivered         ready as a tombstone under the same number; the body is kept
====== ======================================= =========================================================

Leases run on the monotonic clock and name the boot they belong to: a wall clock that jumps changes nothing.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edge_module import as_json, wire
from edge_module.budget import MESSAGE_HEADER_BYTES, Allowance, Budget
from edge_module.clock import Clock
from edge_module.columns import BATCH_RECORDS_MAX
from edge_module.database import Database
from edge_module.domain import Fate, ReadingState

_PRIORITY: Final = {"alert": 0, "receipt": 0, "record": 1, "media_stored": 2, "tombstone": 2, "records": 3, "status": 4}
_URGENT: Final = 0
"""What a tenth of the budget is kept for: alerts and receipts."""

_BATCH_TEXT_MAX: Final = 500_000
"""Characters of JSON in a batch, before columns and zlib make a fraction of them: 500 paths of 4 KB would not fit into
a message. An ordinary batch has 300,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A message on its way."""

    sequence: int
    message_id: str
    kind: str
    content_type: str
    body: bytes
    attempts: int
    day: int | None = None
    """Of the budget from which its bytes were taken; None where nobody counts."""

    @property
    def cost_bytes(self) -> int:
        """What it takes from the budget, each time that it is sent."""
        return message_bytes(self.body)


def message_bytes(body: bytes) -> int:
    """What a message takes from the budget."""
    return len(body) + MESSAGE_HEADER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much is owed."""

    messages: int
    unconfirmed_bytes: int
    buried: int
    records_unpacked: int


class Outbox:
    """The messages of one ledger."""

    def __init__(self, database: Database, clock: Clock, budget: Budget) -> None:
        self._database = database
        self._clock = clock
        self._budget = budget

    def put(self, payload: wire.Payload) -> int:
        """Owe a message. Returns its sequence."""
        with self._database.transaction("put") as connection:
            return self.insert(connection, payload)

    def insert(self, connection: sqlite3.Connection, payload: wire.Payload) -> int:
        """Owe a message within a transaction of the caller's. Returns its sequence."""
        cursor = connection.execute(
            "INSERT INTO outbox (kind, content_type, body, priority, state) VALUES ('', '', x'', 9, 'ready')"
        )
        sequence = int(cursor.lastrowid or 0)
        encoded = wire.encode(_ledger_id(connection), sequence, payload)
        connection.execute(
            "UPDATE outbox SET kind = ?, content_type = ?, body = ?, priority = ? WHERE sequence = ?",
            (encoded.kind, encoded.content_type, encoded.body, _PRIORITY[encoded.kind], sequence),
        )
        return sequence

    def pack(self, *, flush: bool) -> int:
        """Put records that are not in a message yet into messages.

        `panda` and `review` go one by one; the rest in batches of `columns.BATCH_RECORDS_MAX` of one reading and model.

        Args:
            flush: pack batches that are not full too, even of a reading that goes on.

        Returns:
            How many messages were made; call again until it is 0.
        """
        made = 0
        with self._database.transaction("pack") as connection:
            for row_id, body in connection.execute(
                "SELECT id, body FROM record WHERE sequence IS NULL AND fate IN (?, ?) ORDER BY id LIMIT 100",
                (Fate.PANDA, Fate.REVIEW),
            ).fetchall():
                self._pack(connection, [(row_id, body)])
                made += 1
            for reading_id, model_id, count, grows in connection.execute(
                """SELECT reading_id, model_id, count(*),
                          EXISTS (SELECT 1 FROM reading g WHERE g.reading_id = r.reading_id AND g.state = ?)
                   FROM record r WHERE sequence IS NULL AND fate NOT IN (?, ?) GROUP BY reading_id, model_id""",
                (ReadingState.READING, Fate.PANDA, Fate.REVIEW),
            ).fetchall():
                if count < BATCH_RECORDS_MAX and grows and not flush:
                    continue
                rows = connection.execute(
                    """SELECT id, body FROM record WHERE sequence IS NULL AND fate NOT IN (?, ?)
                       AND reading_id = ? AND model_id = ? ORDER BY id LIMIT ?""",
                    (Fate.PANDA, Fate.REVIEW, reading_id, model_id, BATCH_RECORDS_MAX),
                ).fetchall()
                self._pack(connection, rows)
                made += 1
        return made

    def _pack(self, connection: sqlite3.Connection, rows: list[tuple[int, str]]) -> None:
        while len(rows) > 1 and sum(len(body) for _, body in rows) > _BATCH_TEXT_MAX:
            rows = rows[: len(rows) // 2]
        records = tuple(as_json.record_from_json(json.loads(body)) for _, body in rows)
        sequence = self.insert(connection, wire.Records(records=records))
        connection.executemany(
            "UPDATE record SET sequence = ? WHERE id = ?", [(sequence, row_id) for row_id, _ in rows]
        )

    def lease(
        self,
        *,
        limit: int,
        lease_s: float,
        bytes_max: int | None = None,
        allowance: Allowance | None = None,
    ) -> list[Owed]:
        """Take up to `limit` messages for `lease_s` seconds, the most urgent first.

        Args:
            limit: messages.
            lease_s: after which another lease may take them, if neither `sent` nor `release` was called.
            bytes_max: unconfirmed bytes allowed on the way; sent ones count. At least one message is given when
                nothing is on the way, so that a large one cannot block for ever.
            allowance: of the day's budget, from which their bytes are taken here, before they are sent; what it does
                not allow waits. Nobody counts unless given.
        """
        now, boot = self._clock.monotonic_s(), self._clock.boot_id
        with self._database.transaction("lease") as connection:
            rows = connection.execute(
                """SELECT sequence, kind, content_type, body, attempts, priority FROM outbox
                   WHERE (state = 'ready' AND (boot_id <> ?1 OR until_s <= ?2))
                      OR (state = 'leased' AND (boot_id <> ?1 OR until_s <= ?2))
                   ORDER BY priority, sequence LIMIT ?3""",
                (boot, now, limit),
            ).fetchall()
            on_the_way = connection.execute(
                "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE state = 'sent'"
            ).fetchone()[0]
            taken: list[Owed] = []
            ledger_id = _ledger_id(connection)
            for sequence, kind, content_type, body, attempts, priority in rows:
                if bytes_max is not None and on_the_way and on_the_way + len(body) > bytes_max:
                    break
                day = None
                if allowance is not None:
                    urgent = priority == _URGENT
                    day = self._budget.take(connection, message_bytes(body), allowance, urgent=urgent)
                    if day is None:
                        break
                on_the_way += len(body)
                taken.append(
                    Owed(
                        sequence=sequence,
                        message_id=wire.message_id(ledger_id, sequence),
                        kind=kind,
                        content_type=content_type,
                        body=body,
                        attempts=attempts + 1,
                        day=day,
                    )
                )
            connection.executemany(
                "UPDATE outbox SET state = 'leased', attempts = ?, boot_id = ?, until_s = ? WHERE sequence = ?",
                [(owed.attempts, boot, now + lease_s, owed.sequence) for owed in taken],
            )
        return taken

    def sent(self, sequence: int) -> None:
        """The edge hub has the message. It stays until headquarters confirms it."""
        with self._database.transaction("sent") as connection:
            connection.execute(
                "UPDATE outbox SET state = 'sent', boot_id = ?, until_s = ? WHERE sequence = ? AND state = 'leased'",
                (self._clock.boot_id, self._clock.monotonic_s(), sequence),
            )

    def release(self, sequence: int, *, delay_s: float, reason: str) -> None:
        """The message did not go through: it is ready again after a delay."""
        with self._database.transaction("release") as connection:
            connection.execute(
                """UPDATE outbox SET state = 'ready', boot_id = ?, until_s = ?, reason = ?
                   WHERE sequence = ? AND state = 'leased'""",
                (self._clock.boot_id, self._clock.monotonic_s() + delay_s, reason, sequence),
            )

    def ack(self, ranges: Iterable[tuple[int, int]], *, parked: Collection[int] = ()) -> int:
        """Headquarters holds these inclusive ranges: they are owed no longer.

        Args:
            ranges: of sequences.
            parked: those among them that headquarters keeps without understanding them: not sent again, but their
                files stay unconfirmed.

        Returns:
            How many messages were still here.
        """
        ranges = list(ranges)
        aside = json.dumps(sorted(parked))
        with self._database.transaction("ack") as connection:
            connection.executemany(
                """UPDATE record SET confirmed = 1 WHERE confirmed = 0 AND sequence BETWEEN ? AND ?
                   AND sequence NOT IN (SELECT value FROM json_each(?))""",
                [(first, last, aside) for first, last in ranges],
            )
            connection.executemany(
                "UPDATE upload SET state = 'done' WHERE state = 'bundled' AND sequence BETWEEN ? AND ?", ranges
            )
            connection.executemany(
                """UPDATE upload SET confirmed = 1, picture = NULL WHERE confirmed = 0 AND sequence BETWEEN ? AND ?
                   AND sequence NOT IN (SELECT value FROM json_each(?))""",
                [(first, last, aside) for first, last in ranges],
            )
            return connection.executemany("DELETE FROM outbox WHERE sequence BETWEEN ? AND ?", ranges).rowcount

    def resend(self, ranges: Iterable[tuple[int, int]], *, older_than_s: float) -> int:
        """Headquarters misses these inclusive ranges: what was sent longer ago than `older_than_s` is ready again."""
        limit = self._clock.monotonic_s() - older_than_s
        with self._database.transaction("resend") as connection:
            return connection.executemany(
                """UPDATE outbox SET state = 'ready', until_s = 0
                   WHERE sequence BETWEEN ? AND ? AND state = 'sent' AND (boot_id <> ? OR until_s <= ?)""",
                [(first, last, self._clock.boot_id, limit) for first, last in ranges],
            ).rowcount

    def bury(self, sequence: int, *, reason: str, media_ids: tuple[str, ...] = ()) -> None:
        """The message can never be delivered: keep its body here and owe a tombstone under its number."""
        with self._database.transaction("bury") as connection:
            row = connection.execute("SELECT kind, body FROM outbox WHERE sequence = ?", (sequence,)).fetchone()
            if row is None or row[0] == "tombstone":
                return
            tombstone = wire.Tombstone(buried_kind=row[0], reason=reason, media_ids=media_ids)
            encoded = wire.encode(_ledger_id(connection), sequence, tombstone)
            connection.execute(
                "INSERT INTO buried (sequence, kind, body, reason) VALUES (?, ?, ?, ?)",
                (sequence, row[0], row[1], reason),
            )
            # A confirmed tombstone confirms no verdict: the records' files never become safe to wipe by it.
            connection.execute("UPDATE record SET sequence = -sequence WHERE sequence = ?", (sequence,))
            connection.execute("UPDATE upload SET sequence = -sequence WHERE sequence = ?", (sequence,))
            connection.execute(
                """UPDATE outbox SET kind = ?, content_type = ?, body = ?, priority = ?, state = 'ready', attempts = 0,
                   until_s = 0, reason = ? WHERE sequence = ?""",
                (encoded.kind, encoded.content_type, encoded.body, _PRIORITY[encoded.kind], reason, sequence),
            )

    def retry(self) -> int:
        """Forget the delays: everything that is ready may go at once. Returns how many were waiting."""
        with self._database.transaction("retry") as connection:
            return connection.execute("UPDATE outbox SET until_s = 0 WHERE state = 'ready' AND until_s > 0").rowcount

    def forget_leases(self) -> None:
        """Whoever held them has ended."""
        with self._database.transaction("forget") as connection:
            connection.execute("UPDATE outbox SET state = 'ready', until_s = 0 WHERE state IN ('leased', 'ready')")

    def holds(self, kind: str) -> bool:
        """Whether a message of this kind has not been confirmed yet."""
        return bool(self._database.read("SELECT 1 FROM outbox WHERE kind = ? LIMIT 1", (kind,)))

    def owes_alert(self, code: str, text: str | None = None) -> bool:
        """Whether an alert with this code, and this text if it is given, has not been confirmed yet."""
        query = """SELECT 1 FROM outbox WHERE kind = 'alert' AND json_extract(CAST(body AS TEXT), '$.code') = ?1
                   AND (?2 IS NULL OR json_extract(CAST(body AS TEXT), '$.text') = ?2) LIMIT 1"""
        return bool(self._database.read(query, (code, text)))

    def highest(self) -> int:
        """The highest sequence ever given out."""
        rows = self._database.read("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        return int(rows[0][0]) if rows else 0

    def begin_anew(self, ledger_id: str) -> None:
        """Number everything that is owed again, from 1, under another ledger id."""
        with self._database.transaction("anew") as connection:
            owed = [
                wire.decode(body).payload
                for kind, body in connection.execute("SELECT kind, body FROM outbox ORDER BY sequence").fetchall()
                if kind not in ("record", "records")  # packed again from the records themselves
            ]
            connection.execute("UPDATE record SET sequence = NULL WHERE confirmed = 0")
            connection.execute("DELETE FROM outbox")
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'ledger_id'", (ledger_id,))
            connection.execute("UPDATE upload SET sequence = NULL WHERE confirmed = 0")
            for payload in owed:
                sequence = self.insert(connection, payload)
                if isinstance(payload, wire.MediaStored):
                    connection.execute(
                        "UPDATE upload SET sequence = ? WHERE media_id = ? AND variant = ?",
                        (sequence, bytes.fromhex(payload.media_id), payload.variant),
                    )

    def never_sent(self, sequence: int) -> bool:
        """Whether nobody but this ledger can know of the message with this number."""
        if sequence > self.highest():
            return True
        untouched = "SELECT 1 FROM outbox WHERE sequence = ? AND attempts = 0 AND kind <> 'tombstone'"
        return bool(self._database.read(untouched, (sequence,)))

    def handed_out(self) -> None:
        """Everything that is owed is about to leave by hand: headquarters may know of it from now on."""
        with self._database.transaction("handed_out") as connection:
            connection.execute("UPDATE outbox SET attempts = attempts + 1")

    def unconfirmed(self) -> Iterator[tuple[int, bytes]]:
        """Every message that headquarters has not confirmed: sequence and body, the oldest first."""
        yield from self._database.stream("SELECT sequence, body FROM outbox ORDER BY sequence")

    def rows(self) -> list[tuple[Any, ...]]:
        """For people: sequence, kind, state, bytes, attempts, reason; the oldest first, at most 1,000."""
        return self._database.read(
            "SELECT sequence, kind, state, length(body), attempts, reason FROM outbox ORDER BY sequence LIMIT 1000"
        )

    def ready_bytes(self) -> int:
        """What the messages that are ready to be sent will take from the budget."""
        ((messages, size),) = self._database.read(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM outbox WHERE state = 'ready'"
        )
        return int(size + messages * MESSAGE_HEADER_BYTES)

    def backlog(self) -> Backlog:
        """Count what is owed."""
        ((messages, size),) = self._database.read("SELECT count(*), coalesce(sum(length(body)), 0) FROM outbox")
        ((buried,),) = self._database.read("SELECT count(*) FROM buried")
        ((unpacked,),) = self._database.read("SELECT count(*) FROM record WHERE sequence IS NULL")
        return Backlog(messages=messages, unconfirmed_bytes=size, buried=buried, records_unpacked=unpacked)


def _ledger_id(connection: sqlite3.Connection) -> str:
    """Read anew each time: another process may have given the ledger a new identity."""
    row: tuple[str] = connection.execute("SELECT value FROM meta WHERE key = 'ledger_id'").fetchone()
    return row[0]
