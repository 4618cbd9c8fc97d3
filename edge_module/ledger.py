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

Here are the transactions, each with the name by which a crash test cuts it. What happens in them is said in
`readings`, `listing`, `settling`, `keeping` and `wiping`.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from edge_module import keeping, listing, readings, receipts, settling, wiping, wire
from edge_module.belonging import Belongings
from edge_module.budget import Budget
from edge_module.clock import Clock
from edge_module.database import Database, Step, no_step, open_or_set_aside
from edge_module.domain import Card, CardReceipt, Media, Record
from edge_module.errors import LedgerError
from edge_module.keeping import Original
from edge_module.ladder import Want
from edge_module.listing import Listed
from edge_module.outbox import Outbox
from edge_module.readings import Reading
from edge_module.settling import Finding, Known
from edge_module.uploads import Uploads

_log = logging.getLogger(__name__)

LISTING_BATCH_ROWS: Final = 1000


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
            return readings.begin(connection, card)

    def list_files(self, reading: Reading, files: Iterable[Listed]) -> None:
        """Remember every file of the card, in batches, before any is read: memory does not grow with the card.

        A file that changed since an earlier listing of this reading is to be read again; one that was listed, never
        settled and is gone is forgotten. Files with a fate already are settled here.
        """
        stream = iter(files)
        while batch := list(islice(stream, LISTING_BATCH_ROWS)):
            with self._database.transaction("list") as connection:
                listing.list_batch(connection, reading, batch)
        with self._database.transaction("listed") as connection:
            listing.forget_absent(connection, reading)

    def pending(self, reading: Reading) -> Iterator[Media]:
        """The files still to be read, in the order of their paths, a page at a time."""
        return listing.pending(self._database.read, reading)

    def relist(self, reading: Reading, media: Media) -> None:
        """A pending file was found with another size or time than listed: it is still growing."""
        with self._database.transaction("relist") as connection:
            listing.relist(connection, reading, media)

    def failed(self, reading: Reading, media: Media) -> int:
        """A file could not be read this time. Returns in how many attempts so far."""
        with self._database.transaction("failed") as connection:
            return listing.failed(connection, reading, media)

    def known(self, media_id: str) -> Known | None:
        """What these bytes were judged to be, if they were: then they need not be decoded again."""
        return settling.known(self._database.read, media_id)

    def settle(self, reading: Reading, findings: Sequence[Finding]) -> list[Record]:
        """Give files their fates, in the order given, all or none. Returns the records with the final fates."""
        with self._database.transaction("settle") as connection:
            return [settling.settle(connection, reading, finding) for finding in findings]

    def settled(self, reading: Reading) -> Iterator[Record]:
        """The files of a reading that have a fate, in the order of their paths, a page at a time."""
        return readings.settled(self._database.read, reading)

    def end(self, reading: Reading, *, why: str = "") -> CardReceipt:
        """End a reading: complete, or interrupted where a reason is given or files are pending.

        Owes its receipt, unless that says what the one before said: a loose reader may lose a card a thousand times.
        """
        as_read = b"" if why else listing.as_read(self._database, reading)
        with self._database.transaction("end") as connection:
            receipt = readings.end(connection, reading, why=why, as_read=as_read)
            if readings.news(connection, reading, receipt):
                self.outbox.insert(connection, wire.Receipt(receipt=receipt))
        return receipt

    def read_again(self, card_id: str, *, rescore: bool) -> None:
        """The card is to be read again as if it had changed.

        Args:
            card_id: which; one that was never read is read anyway.
            rescore: also score what is known: each file gets a further record of the model that is in force then.
        """
        with self._database.transaction("read_again") as connection:
            readings.read_again(connection, card_id, rescore=rescore)

    def rescored(self, record: Record, path: bytes, wants: Sequence[Want]) -> bool:
        """A kept original was scored again. Returns whether this model had said nothing of it yet."""
        with self._database.transaction("rescored") as connection:
            return settling.rescored(connection, record, path, wants)

    # --- what is known of them ------------------------------------------------------------------------------------

    def counts(self, reading: Reading) -> tuple[int, int]:
        """How many files of a reading are listed, and how many of them are settled."""
        return readings.counts(self._database.read, reading)

    def receipt(self, reading_id: str) -> CardReceipt:
        """What a reading came to so far."""
        return receipts.receipt(self._database.read, reading_id)

    def recent_receipts(self, count: int) -> list[CardReceipt]:
        """What the last readings came to, the latest first."""
        return receipts.recent(self._database.read, count)

    def interrupted(self) -> int:
        """How many cards' last readings stopped before their end."""
        return readings.interrupted(self._database.read)

    def last_complete(self, card_id: str) -> bytes | None:
        """The fingerprint of the card's last reading, if that is complete."""
        return readings.last_complete(self._database.read, card_id)

    def last_reading_id(self, card_id: str) -> str:
        """The card's last reading; empty if it was never read."""
        return readings.last_reading_id(self._database.read, card_id)

    def last_readings(self, limit: int) -> list[tuple[str, str]]:
        """The last readings of all, a card's last each: reading and card, the newest first."""
        return readings.last_readings(self._database.read, limit)

    def records_of(self, media_id: str) -> list[tuple[Record, Media]]:
        """Where some bytes lie on cards whose readings are not compacted yet, and the record of each."""
        return readings.records_of(self._database.read, media_id)

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
        wiping.tell_safe(self._database, self.outbox)

    def forget_leases(self) -> None:
        """Whoever held leases or waited out delays has ended, and only one process has the ledger: all may go now."""
        self.outbox.forget_leases()
        self.uploads.forget_leases()

    # --- originals and compaction ---------------------------------------------------------------------------------

    @property
    def notes_read(self) -> bool:
        """Whether this ledger knows what the notes beside the kept originals say: a new one does not."""
        return bool(self._database.read("SELECT 1 FROM meta WHERE key = 'notes_read'"))

    def set_notes_read(self) -> None:
        """All notes have been restored."""
        with self._database.transaction("notes_read") as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('notes_read', '1')")

    def restore(self, record: Record, path: bytes, wants: Iterable[Want]) -> None:
        """Take back what a note beside a kept original says: after a damaged ledger was set aside."""
        with self._database.transaction("restore") as connection:
            settling.restore(connection, record, path, wants)

    def release(self, media_id: str) -> bool:
        """A person says that an original need not be kept. Returns whether there is one."""
        with self._database.transaction("release") as connection:
            return keeping.release(connection, media_id)

    def kept_after_all(self, record: Record) -> None:
        """The original of a picture that was not to be kept has been copied from its card: somebody asked for it."""
        with self._database.transaction("kept") as connection:
            keeping.keep(connection, record)

    def withhold(self, media_id: str) -> None:
        """There may be a person in a picture: nothing of it leaves the gateway."""
        with self._database.transaction("withhold") as connection:
            settling.withhold(connection, bytes.fromhex(media_id))

    def may_go(self) -> list[Original]:
        """The originals that may be removed from the disk, those first that should go first."""
        return keeping.may_go(self._database.read)

    def going(self, media_id: str) -> bool:
        """An original is about to be removed: nothing may be made of it any more. Returns whether it may go."""
        with self._database.transaction("going") as connection:
            return keeping.going(connection, media_id)

    def gone(self, media_id: str) -> None:
        """It has been removed."""
        with self._database.transaction("gone") as connection:
            keeping.gone(connection, media_id)

    def compact(self) -> int:
        """Drop the rows of readings whose card is safe to wipe. Returns how many readings were compacted."""
        return wiping.compact(self._database)
