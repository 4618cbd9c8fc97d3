"""The ledger: what was seen and what became of it, so that nothing is lost and a power cut costs only work in flight.

A file of a reading moves one way, and so does a reading::

    listed (fate NULL) --settle--> fate
    reading --end--> complete | interrupted          interrupted --begin--> reading

Rules:

1. Files are settled in the order of their paths, the frames of one event in one transaction, so that a re-run after a
   power cut sees the same events and gives the same record.
2. The first file with some bytes gets the verdict. The same bytes elsewhere are a `duplicate`; the same file read again
   keeps its first fate and owes no second record.
3. An empty file is `unreadable`, never a duplicate.
4. A complete reading is never reopened: the card read again is a new reading.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from edge_module import receipts, wire
from edge_module.belonging import Belongings
from edge_module.budget import Budget
from edge_module.clock import Clock
from edge_module.database import Database, Step, no_step, open_or_set_aside
from edge_module.domain import KEPT_FATES, Card, CardReceipt, Fate, Media, ReadingState, Record, Variant
from edge_module.errors import LedgerError
from edge_module.ladder import Want
from edge_module.outbox import Outbox
from edge_module.uploads import Uploads, owe

_log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - to count from, in a camera's own time
LISTING_BATCH_ROWS: Final = 1000
ATTEMPTS_MAX: Final = 3
"""Readings in which a file may fail to be read before it is `unreadable`: one bad sector must not hold a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as the listing found it; with a fate where none of its bytes need be read."""

    media: Media
    fate: Fate | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of one card."""

    row_id: int
    reading_id: str
    card_id: str
    listing: int
    rescore: bool = False
    """Whether what is known is to be scored again (`Ledger.read_again`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a worker found of one file, before the ledger has looked whether the bytes are known."""

    media: Media
    record: Record
    original_kept: bool = False
    wants: tuple[Want, ...] = ()
    """The pictures that headquarters is owed of it."""
    rescored: bool = False
    """Whether the file was scored although its bytes are known: its record is a further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A kept original."""

    media_id: str
    name: str
    size_bytes: int
    going: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What some bytes were judged to be before."""

    fate: Fate
    stays_here: bool


class Ledger:
    """The one place that remembers. Every method may be called from any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        with database.transaction("identity") as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('ledger_id', ?)", (uuid4().hex,))
        self.budget = Budget(database, clock)
        self.outbox = Outbox(database, clock, self.budget)
        self.uploads = Uploads(database, self.outbox, clock)
        self.belongings = Belongings(database, self.outbox)

    @classmethod
    def open(cls, path: Path, clock: Clock, *, on_step: Step = no_step) -> tuple[Self, Path | None]:
        """Open the ledger, or start a new one where it is absent or damaged.

        Returns:
            The ledger, and where a damaged predecessor was set aside (see `originals.rebuild`).

        Raises:
            LedgerError: the folder cannot be written, or another process has the ledger.
        """
        database, aside = open_or_set_aside(path, on_step=on_step)
        return cls(database, clock), aside

    @classmethod
    def beside(cls, path: Path, clock: Clock) -> Self:
        """Open the ledger of a gateway that may be running: to look at it, write a bundle, or confirm.

        Raises:
            LedgerError: there is none, or it is damaged.
        """
        if not path.exists():
            raise LedgerError(f"ledger {path}: there is none; scan a card first, or set data_dir")
        try:
            return cls(Database(path, exclusive=False), clock)
        except sqlite3.DatabaseError as exc:
            raise LedgerError(f"ledger {path}: {exc}; restart the gateway, which sets a damaged ledger aside") from exc

    def close(self) -> None:
        """Close the file. No thread may be using the ledger any more."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def ledger_id(self) -> str:
        """The ledger's random identity; a ledger restored from a backup takes a new one."""
        return str(self._database.read("SELECT value FROM meta WHERE key = 'ledger_id'")[0][0])

    # --- readings -------------------------------------------------------------------------------------------------

    def begin(self, card: Card) -> Reading:
        """Go on with the card's unfinished reading, or begin a new one."""
        with self._database.transaction("begin") as connection:
            last = connection.execute(
                "SELECT id, reading_id, state, listing FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1",
                (card.card_id,),
            ).fetchone()
            if last and last[2] != ReadingState.COMPLETE:
                row_id, reading_id, _, listing = last
                connection.execute(
                    "UPDATE reading SET state = ?, listing = ?, why = '' WHERE id = ?",
                    (ReadingState.READING, listing + 1, row_id),
                )
                return Reading(
                    row_id=row_id, reading_id=reading_id, card_id=card.card_id, listing=listing + 1,
                    rescore=_to_rescore(connection, card.card_id),
                )  # fmt: skip
            (count,) = connection.execute("SELECT count(*) FROM reading WHERE card_id = ?", (card.card_id,)).fetchone()
            reading_id = f"{card.card_id}.{count + 1}"
            (row_id,) = connection.execute(
                "INSERT INTO reading (reading_id, card_id, state, listing) VALUES (?, ?, ?, 1) RETURNING id",
                (reading_id, card.card_id, ReadingState.READING),
            ).fetchone()
            rescore = _to_rescore(connection, card.card_id)
        return Reading(row_id=row_id, reading_id=reading_id, card_id=card.card_id, listing=1, rescore=rescore)

    def list_files(self, reading: Reading, files: Iterable[Listed]) -> None:
        """Remember every file of the card, in batches, before any is read: memory does not grow with the card.

        A file that changed since an earlier listing of this reading is to be read again; one that was listed, never
        settled and is gone is forgotten. Files with a fate already are settled here.
        """
        stream = iter(files)
        while batch := list(islice(stream, LISTING_BATCH_ROWS)):
            with self._database.transaction("list") as connection:
                connection.executemany(
                    """INSERT INTO file (reading, path, size_bytes, mtime_ns, listing) VALUES (?, ?, ?, ?, ?)
                       ON CONFLICT (reading, path) DO UPDATE SET listing = excluded.listing,
                         fate = iif(size_bytes = excluded.size_bytes AND mtime_ns = excluded.mtime_ns, fate, NULL),
                         size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns""",
                    [
                        (reading.row_id, f.media.path, f.media.size_bytes, f.media.mtime_ns, reading.listing)
                        for f in batch
                    ],
                )
                for f in batch:
                    if f.fate is not None:
                        record = Record(
                            card_id=reading.card_id,
                            reading_id=reading.reading_id,
                            path=f.media.name,
                            media_id="",
                            model_id="",
                            fate=f.fate,
                            reason=f.reason,
                            size_bytes=f.media.size_bytes,
                        )
                        self._settle(connection, reading, Finding(media=f.media, record=record))
        with self._database.transaction("listed") as connection:
            connection.execute(
                "DELETE FROM file WHERE reading = ? AND listing < ? AND fate IS NULL", (reading.row_id, reading.listing)
            )

    def pending(self, reading: Reading) -> Iterator[Media]:
        """The files still to be read, in the order of their paths, a page at a time."""
        after = b""
        while page := self._database.read(
            """SELECT path, size_bytes, mtime_ns FROM file
               WHERE reading = ? AND path > ? AND fate IS NULL ORDER BY path LIMIT 500""",
            (reading.row_id, after),
        ):
            for path, size_bytes, mtime_ns in page:
                yield Media(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)
            after = page[-1][0]

    def relist(self, reading: Reading, media: Media) -> None:
        """A pending file was found with another size or time than listed: it is still growing."""
        with self._database.transaction("relist") as connection:
            connection.execute(
                "UPDATE file SET size_bytes = ?, mtime_ns = ? WHERE reading = ? AND path = ? AND fate IS NULL",
                (media.size_bytes, media.mtime_ns, reading.row_id, media.path),
            )

    def failed(self, reading: Reading, media: Media) -> int:
        """A file could not be read this time. Returns in how many attempts so far."""
        with self._database.transaction("failed") as connection:
            row: tuple[int] = connection.execute(
                "UPDATE file SET attempts = attempts + 1 WHERE reading = ? AND path = ? RETURNING attempts",
                (reading.row_id, media.path),
            ).fetchone()
        return row[0]

    def known(self, media_id: str) -> Known | None:
        """What these bytes were judged to be, if they were: then they need not be decoded again."""
        rows = self._database.read("SELECT fate, stays_here FROM media WHERE media_id = ?", (bytes.fromhex(media_id),))
        return Known(fate=Fate(rows[0][0]), stays_here=bool(rows[0][1])) if rows else None

    def settle(self, reading: Reading, findings: Sequence[Finding]) -> list[Record]:
        """Give files their fates, in the order given, all or none. Returns the records with the final fates."""
        with self._database.transaction("settle") as connection:
            return [self._settle(connection, reading, finding) for finding in findings]

    def _settle(self, connection: sqlite3.Connection, reading: Reading, finding: Finding) -> Record:
        record, media_id = finding.record, bytes.fromhex(finding.record.media_id)
        first = True
        if media_id and record.size_bytes:
            origin = _origin(record.card_id, finding.media.path)
            if finding.original_kept:
                _keep(connection, media_id, record)
            known = connection.execute(
                "SELECT fate, origin, stays_here FROM media WHERE media_id = ?", (media_id,)
            ).fetchone()
            stays_here = record.stays_here or bool(known and known[2])
            wants = [
                want
                for want in finding.wants
                if stays_here == (want.variant is Variant.WITHHELD)
                and (finding.original_kept if want.picture is None else known is None)
            ]
            owe(connection, media_id, record.path, wants)
            if known is None:
                original = "not_kept" if record.fate not in KEPT_FATES else "kept" if finding.original_kept else "owed"
                connection.execute(
                    "INSERT INTO media VALUES (?, ?, ?, ?, ?)", (media_id, record.fate, origin, original, stays_here)
                )
            elif known[1] == origin:
                first = False
                if finding.rescored:
                    _rescore(connection, record, finding.media.path)
                record = self._first_record(connection, record, finding.media.path, Fate(known[0]))
            else:
                record = replace(
                    record, fate=Fate.DUPLICATE, model_id="", scores=None, reason="", audit_probability=None
                )
        if first:
            _owe(connection, record, finding.media.path)
        connection.execute(
            """UPDATE file SET fate = ?, media_id = ?, reason = ?, camera = ?, captured_s = ?
               WHERE reading = ? AND path = ?""",
            (
                record.fate, media_id, record.reason, record.exif.camera_serial, _captured_s(record),
                reading.row_id, finding.media.path,
            ),
        )  # fmt: skip
        return record

    @staticmethod
    def _first_record(connection: sqlite3.Connection, record: Record, path: bytes, fate: Fate) -> Record:
        """The record of the file's first reading, or what is left of it after compaction."""
        media_id = bytes.fromhex(record.media_id)
        row = connection.execute(
            "SELECT body FROM record WHERE card_id = ? AND path = ? AND media_id = ? AND fate = ? ORDER BY id LIMIT 1",
            (record.card_id, path, media_id, fate),
        ).fetchone()
        if row:
            return wire.record_from_json(json.loads(row[0]))
        return replace(record, fate=fate, scores=None, audit_probability=None)

    def settled(self, reading: Reading) -> Iterator[Record]:
        """The files of a reading that have a fate, in the order of their paths, a page at a time."""
        after = b""
        while page := self._database.read(
            """SELECT f.path, f.size_bytes, f.fate, f.media_id, f.reason,
                      iif(f.fate = 'ignored', NULL,  -- its row says all that its record does
                          (SELECT body FROM record r WHERE r.card_id = ?1 AND r.path = f.path
                           AND r.media_id = f.media_id AND r.fate = f.fate ORDER BY id LIMIT 1))
               FROM file f WHERE f.reading = ?2 AND f.path > ?3 AND f.fate IS NOT NULL ORDER BY f.path LIMIT 500""",
            (reading.card_id, reading.row_id, after),
        ):
            for path, size_bytes, fate, media_id, reason, body in page:
                yield (
                    wire.record_from_json(json.loads(body))
                    if body
                    else Record(
                        card_id=reading.card_id,
                        reading_id=reading.reading_id,
                        path=Media(path=path, size_bytes=0, mtime_ns=0).name,
                        media_id=media_id.hex(),
                        model_id="",
                        fate=Fate(fate),
                        reason=reason,
                        size_bytes=size_bytes,
                    )
                )
            after = page[-1][0]

    def end(self, reading: Reading, *, why: str = "") -> CardReceipt:
        """End a reading: complete, or interrupted where a reason is given or files are pending. Owes its receipt."""
        as_read = b"" if why else self._fingerprint(reading)
        with self._database.transaction("end") as connection:
            (pending,) = connection.execute(
                "SELECT count(*) FROM file WHERE reading = ? AND fate IS NULL", (reading.row_id,)
            ).fetchone()
            state = ReadingState.INTERRUPTED if pending or why else ReadingState.COMPLETE
            if state is ReadingState.COMPLETE and reading.rescore:
                connection.execute("DELETE FROM meta WHERE key = ?", (_rescore_key(reading.card_id),))
            elif _to_rescore(connection, reading.card_id):  # asked for while it was read: it is read once more
                as_read = b""
            connection.execute(
                "UPDATE reading SET state = ?, why = ?, fingerprint = ? WHERE id = ?",
                (state, why, as_read, reading.row_id),
            )
            receipt = receipts.receipt(receipts.within(connection), reading.reading_id)
            self.outbox.insert(connection, wire.Receipt(receipt=receipt))
        return receipt

    def _fingerprint(self, reading: Reading) -> bytes:
        return fingerprint(
            Media(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)
            for path, size_bytes, mtime_ns in self._database.stream(
                "SELECT path, size_bytes, mtime_ns FROM file WHERE reading = ?", (reading.row_id,)
            )
        )

    def counts(self, reading: Reading) -> tuple[int, int]:
        """How many files of a reading are listed, and how many of them are settled."""
        ((listed, settled),) = self._database.read(
            "SELECT count(*), count(fate) FROM file WHERE reading = ?", (reading.row_id,)
        )
        return listed, settled

    def receipt(self, reading_id: str) -> CardReceipt:
        """What a reading came to so far."""
        return receipts.receipt(self._database.read, reading_id)

    def interrupted(self) -> int:
        """How many cards' last readings stopped before their end."""
        ((count,),) = self._database.read(
            """SELECT count(*) FROM reading r WHERE state = ?
               AND id = (SELECT max(id) FROM reading WHERE card_id = r.card_id)""",
            (ReadingState.INTERRUPTED,),
        )
        return int(count)

    def recent_receipts(self, count: int) -> list[CardReceipt]:
        """What the last readings came to, the latest first."""
        rows = self._database.read("SELECT reading_id FROM reading ORDER BY id DESC LIMIT ?", (count,))
        return [self.receipt(str(reading_id)) for (reading_id,) in rows]

    def statistics(self) -> dict[str, int]:
        """For people: rows by table and state."""
        found: dict[str, int] = {}
        for table, column in (
            ("reading", "state"), ("file", "fate"), ("media", "original"), ("outbox", "state"), ("upload", "state"),
            ("buried", "kind"), ("record", "confirmed"),
        ):  # fmt: skip
            rows = self._database.read(f"SELECT {column}, count(*) FROM {table} GROUP BY 1")  # noqa: S608 - our names
            found |= {f"{table}.{value}": count for value, count in rows}
        return found

    def last_complete(self, card_id: str) -> bytes | None:
        """The fingerprint of the card's last reading, if that is complete."""
        rows = self._database.read(
            "SELECT state, fingerprint FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1", (card_id,)
        )
        return rows[0][1] if rows and rows[0][0] == ReadingState.COMPLETE else None

    def last_reading_id(self, card_id: str) -> str:
        """The card's last reading; empty if it was never read."""
        rows = self._database.read(
            "SELECT reading_id FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1", (card_id,)
        )
        return str(rows[0][0]) if rows else ""

    def last_readings(self, limit: int) -> list[tuple[str, str]]:
        """The last readings of all, a card's last each: reading and card, the newest first."""
        return self._database.read(
            "SELECT reading_id, card_id FROM reading WHERE id IN (SELECT max(id) FROM reading GROUP BY card_id)"
            " ORDER BY id DESC LIMIT ?",
            (limit,),
        )

    # --- what headquarters says -----------------------------------------------------------------------------------

    def confirm(self, confirmed: wire.Confirmed, *, resend_older_than_s: float) -> None:
        """Forget what headquarters holds, send again what it misses, and owe receipts for cards that became safe.

        What is said of another ledger is ignored. A ledger of which headquarters has seen more than was ever sent has
        been restored from a backup: it takes another identity and sends what it owes again.
        """
        if confirmed.ledger_id != self.ledger_id:
            _log.info("confirmation for ledger %s ignored, this is %s", confirmed.ledger_id, self.ledger_id)
            return
        if confirmed.highest and self.outbox.never_sent(confirmed.highest):
            _log.error("headquarters has seen more than this ledger ever sent: it was restored from a backup")
            self.outbox.begin_anew(uuid4().hex)
            return
        ends = [(1, confirmed.through), *confirmed.missing, (confirmed.highest + 1, confirmed.highest + 1)]
        held = [ends[0]] + [(last + 1, first - 1) for (_, last), (first, _) in pairwise(ends)]
        self.outbox.ack(held, parked=confirmed.parked)
        self.outbox.resend(confirmed.missing, older_than_s=resend_older_than_s)
        self._tell_safe()

    def _tell_safe(self) -> None:
        for row_id, reading_id in self._database.read(
            "SELECT id, reading_id FROM reading WHERE state = ? AND told_safe = 0", (ReadingState.COMPLETE,)
        ):
            receipt = self.receipt(str(reading_id))
            if receipt.safe_to_wipe:
                with self._database.transaction("safe") as connection:
                    connection.execute("UPDATE reading SET told_safe = 1 WHERE id = ?", (row_id,))
                    self.outbox.insert(connection, wire.Receipt(receipt=receipt))

    def forget_leases(self) -> None:
        """Whoever held leases or waited out delays has ended, and only one process has the ledger: all may go now."""
        self.outbox.forget_leases()
        self.uploads.forget_leases()

    def read_again(self, card_id: str, *, rescore: bool) -> None:
        """The card is to be read again as if it had changed.

        Args:
            card_id: which; one that was never read is read anyway.
            rescore: also score what is known: each file gets a further record of the model that is in force then.
        """
        with self._database.transaction("read_again") as connection:
            connection.execute(
                "UPDATE reading SET fingerprint = x'' WHERE id = (SELECT max(id) FROM reading WHERE card_id = ?)",
                (card_id,),
            )
            if rescore:
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (_rescore_key(card_id),))

    def rescored(self, record: Record, path: bytes, wants: Sequence[Want]) -> bool:
        """A kept original was scored again: owe headquarters the further record, and the pictures it is worth now.

        Returns:
            Whether it is one: the same model says the same once.
        """
        media_id = bytes.fromhex(record.media_id)
        with self._database.transaction("rescored") as connection:
            new = _rescore(connection, record, path)
            (stays_here,) = connection.execute(
                "SELECT stays_here FROM media WHERE media_id = ?", (media_id,)
            ).fetchone() or (True,)
            if new and not stays_here:
                owe(connection, media_id, record.path, [want for want in wants if want.picture is None])
        return new

    # --- originals and compaction ---------------------------------------------------------------------------------

    @property
    def notes_read(self) -> bool:
        """Whether this ledger knows what the notes beside the kept originals say: a new one does not."""
        return bool(self._database.read("SELECT 1 FROM meta WHERE key = 'notes_read'"))

    def set_notes_read(self) -> None:
        """All notes have been restored."""
        with self._database.transaction("notes_read") as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('notes_read', '1')")

    def release(self, media_id: str) -> bool:
        """A person says that an original need not be kept: at the ceiling of the disk it may go.

        Returns:
            Whether there is one.
        """
        with self._database.transaction("release") as connection:
            return bool(
                connection.execute(
                    "UPDATE original SET released = 1 WHERE media_id = ?", (bytes.fromhex(media_id),)
                ).rowcount
            )

    def kept_after_all(self, record: Record) -> None:
        """The original of a picture that was not to be kept has been copied from its card: somebody asked for it."""
        with self._database.transaction("kept") as connection:
            _keep(connection, bytes.fromhex(record.media_id), record)

    def records_of(self, media_id: str) -> list[tuple[Record, Media]]:
        """Where some bytes lie on cards whose readings are not compacted yet, and the record of each."""
        found = []
        for card_id, reading_id, path, size_bytes, mtime_ns, fate, body in self._database.read(
            """SELECT g.card_id, g.reading_id, f.path, f.size_bytes, f.mtime_ns, f.fate,
                 (SELECT body FROM record r WHERE r.card_id = g.card_id AND r.path = f.path AND r.media_id = f.media_id
                  ORDER BY r.id LIMIT 1)
               FROM file f JOIN reading g ON g.id = f.reading WHERE f.media_id = ? LIMIT 20""",
            (bytes.fromhex(media_id),),
        ):
            media = Media(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)
            record = Record(
                card_id=card_id,
                reading_id=reading_id,
                path=media.name,
                media_id=media_id,
                model_id="",
                fate=Fate(fate),
                size_bytes=size_bytes,
            )
            found.append((wire.record_from_json(json.loads(body)) if body else record, media))
        return found

    def may_go(self) -> list[Original]:
        """The originals that may be removed from the disk, those first that should go first.

        First those of which headquarters holds the original, then those that a person released; never one of which
        anything is owed: a verdict, or a picture that is made of it.
        """
        rows = self._database.read(
            """SELECT o.media_id, o.name, o.size_bytes, o.going, held.media_id IS NOT NULL AS is_held FROM original o
               LEFT JOIN upload held ON held.media_id = o.media_id AND held.variant = ? AND held.confirmed
               WHERE (o.released OR is_held OR o.going)
                 AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.media_id = o.media_id
                                 AND (u.state IN ('ready', 'bundled') OR (u.state = 'done' AND u.confirmed = 0)))
                 AND NOT EXISTS (SELECT 1 FROM record r WHERE r.media_id = o.media_id AND r.confirmed = 0)
               ORDER BY o.going DESC, is_held DESC, o.media_id""",
            (Variant.ORIGINAL,),
        )
        return [Original(media_id=row[0].hex(), name=row[1], size_bytes=row[2], going=bool(row[3])) for row in rows]

    def going(self, media_id: str) -> None:
        """An original is about to be removed: nothing may be made of it any more."""
        key = bytes.fromhex(media_id)
        with self._database.transaction("going") as connection:
            connection.execute("UPDATE original SET going = 1 WHERE media_id = ?", (key,))
            connection.execute("UPDATE media SET original = 'gone' WHERE media_id = ?", (key,))

    def gone(self, media_id: str) -> None:
        """It has been removed."""
        with self._database.transaction("gone") as connection:
            connection.execute("DELETE FROM original WHERE media_id = ? AND going", (bytes.fromhex(media_id),))

    def restore(self, record: Record, path: bytes, wants: Iterable[Want]) -> None:
        """Take back what a note beside a kept original says: after a damaged ledger was set aside."""
        media_id = bytes.fromhex(record.media_id)
        with self._database.transaction("restore") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO media VALUES (?, ?, ?, 'kept', ?)",
                (media_id, record.fate, _origin(record.card_id, path), record.stays_here),
            )
            _keep(connection, media_id, record)
            _owe(connection, record, path)
            owe(connection, media_id, record.path, wants)

    def compact(self) -> int:
        """Drop the rows of readings whose card is safe to wipe; fates by media id and receipts stay.

        Returns:
            How many readings were compacted.
        """
        done = 0
        for row_id, reading_id in self._database.read(
            "SELECT id, reading_id FROM reading WHERE state = ? AND receipt IS NULL", (ReadingState.COMPLETE,)
        ):
            receipt = self.receipt(str(reading_id))
            if not receipt.safe_to_wipe:
                continue
            with self._database.transaction("compact") as connection:
                connection.execute(
                    "UPDATE reading SET receipt = ? WHERE id = ?",
                    (json.dumps(wire.receipt_to_json(receipt)), row_id),
                )
                connection.execute("DELETE FROM file WHERE reading = ?", (row_id,))
                connection.execute("DELETE FROM record WHERE reading_id = ? AND confirmed = 1", (reading_id,))
            done += 1
        with self._database.transaction("compact") as connection:  # what was scored again since
            connection.execute(
                """DELETE FROM record WHERE confirmed = 1
                   AND reading_id IN (SELECT reading_id FROM reading WHERE receipt IS NOT NULL)"""
            )
        return done


def fingerprint(files: Iterable[Media]) -> bytes:
    """A hash of a listing that does not depend on its order: the same card unchanged has the same."""
    total = 0
    for media in files:
        key = b"%b\0%d\0%d" % (media.path, media.size_bytes, media.mtime_ns)
        total += int.from_bytes(hashlib.blake2b(key, digest_size=16).digest())
    return (total % 2**128).to_bytes(16)


def _rescore_key(card_id: str) -> str:
    return f"rescore:{card_id}"


def _to_rescore(connection: sqlite3.Connection, card_id: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM meta WHERE key = ?", (_rescore_key(card_id),)).fetchone())


def _rescore(connection: sqlite3.Connection, record: Record, path: bytes) -> bool:
    """Owe a further record of a file. Returns whether this model had said nothing of it yet.

    What it makes of the file's fate is for headquarters: here the first fate stands. But where it sees a person, no
    picture leaves any more, whatever later models see.
    """
    media_id = bytes.fromhex(record.media_id)
    before = connection.execute("SELECT stays_here FROM media WHERE media_id = ?", (media_id,)).fetchone()
    if before and before[0]:
        record = replace(record, withheld=True)
    elif record.stays_here:
        connection.execute("UPDATE media SET stays_here = 1 WHERE media_id = ?", (media_id,))
        connection.execute(
            "DELETE FROM upload WHERE media_id = ? AND state = 'ready' AND variant <> ?", (media_id, Variant.WITHHELD)
        )
        connection.execute(  # what a stick took cannot be taken back; the link does not carry it as well
            "UPDATE upload SET state = 'done' WHERE media_id = ? AND state = 'bundled' AND variant <> ?",
            (media_id, Variant.WITHHELD),
        )
    return _owe(connection, replace(record, audit_probability=None), path)


def _keep(connection: sqlite3.Connection, media_id: bytes, record: Record) -> None:
    connection.execute("UPDATE media SET original = 'kept' WHERE media_id = ?", (media_id,))
    connection.execute(
        """INSERT INTO original (media_id, name, size_bytes) VALUES (?, ?, ?)
           ON CONFLICT (media_id) DO UPDATE SET going = 0""",
        (media_id, record.path, record.size_bytes),
    )


def _owe(connection: sqlite3.Connection, record: Record, path: bytes) -> bool:
    """Owe the record of a file. Returns whether this model had said nothing of it yet."""
    cursor = connection.execute(
        """INSERT OR IGNORE INTO record (card_id, path, media_id, model_id, reading_id, fate, body)
           VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (
            record.card_id, path, bytes.fromhex(record.media_id), record.model_id, record.reading_id, record.fate,
            json.dumps(wire.record_to_json(record), separators=(",", ":"), ensure_ascii=False),
        ),
    )  # fmt: skip
    return bool(cursor.rowcount)


def _captured_s(record: Record) -> int | None:
    captured = record.exif.captured
    if captured is None:
        return None
    return round((captured.local - _EPOCH).total_seconds()) - 60 * captured.utc_offset_min


def _origin(card_id: str, path: bytes) -> bytes:
    """Where some bytes were first met, in 8 bytes: enough to tell a file read again from a copy of it."""
    return hashlib.blake2b(card_id.encode() + b"\0" + path, digest_size=8).digest()
