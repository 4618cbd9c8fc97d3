"""The files of a reading: listed before any is read, then to be read one by one, in the order of their paths."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge_module.database import Database
from edge_module.domain import Fate, Media, Record
from edge_module.readings import Reading
from edge_module.receipts import Read
from edge_module.settling import Finding, settle

ATTEMPTS_MAX: Final = 3
"""Readings in which a file may fail to be read before it is `unreadable`: one bad sector must not hold a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as the listing found it; with a fate where none of its bytes need be read."""

    media: Media
    fate: Fate | None = None
    reason: str = ""


def list_batch(connection: sqlite3.Connection, reading: Reading, files: Sequence[Listed]) -> None:
    """Remember some files of the card, and settle those that have a fate already.

    A file that changed since an earlier listing of this reading is to be read again.
    """
    connection.executemany(
        """INSERT INTO file (reading, path, size_bytes, mtime_ns, listing) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (reading, path) DO UPDATE SET listing = excluded.listing,
             fate = iif(size_bytes = excluded.size_bytes AND mtime_ns = excluded.mtime_ns, fate, NULL),
             size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns""",
        [(reading.row_id, f.media.path, f.media.size_bytes, f.media.mtime_ns, reading.listing) for f in files],
    )
    for f in files:
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
            settle(connection, reading, Finding(media=f.media, record=record))


def forget_absent(connection: sqlite3.Connection, reading: Reading) -> None:
    """The card has been listed to its end: what was listed before, never settled and is gone is forgotten."""
    connection.execute(
        "DELETE FROM file WHERE reading = ? AND listing < ? AND fate IS NULL", (reading.row_id, reading.listing)
    )


def pending(read: Read, reading: Reading) -> Iterator[Media]:
    """The files still to be read, in the order of their paths, a page at a time."""
    after = b""
    while page := read(
        """SELECT path, size_bytes, mtime_ns FROM file
           WHERE reading = ? AND path > ? AND fate IS NULL ORDER BY path LIMIT 500""",
        (reading.row_id, after),
    ):
        for path, size_bytes, mtime_ns in page:
            yield Media(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)
        after = page[-1][0]


def relist(connection: sqlite3.Connection, reading: Reading, media: Media) -> None:
    """A pending file was found with another size or time than listed: it is still growing."""
    connection.execute(
        "UPDATE file SET size_bytes = ?, mtime_ns = ? WHERE reading = ? AND path = ? AND fate IS NULL",
        (media.size_bytes, media.mtime_ns, reading.row_id, media.path),
    )


def failed(connection: sqlite3.Connection, reading: Reading, media: Media) -> int:
    """A file could not be read this time. Returns in how many attempts so far."""
    row: tuple[int] = connection.execute(
        "UPDATE file SET attempts = attempts + 1 WHERE reading = ? AND path = ? RETURNING attempts",
        (reading.row_id, media.path),
    ).fetchone()
    return row[0]


def as_read(database: Database, reading: Reading) -> bytes:
    """The fingerprint of the card as it was listed."""
    return fingerprint(
        Media(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)
        for path, size_bytes, mtime_ns in database.stream(
            "SELECT path, size_bytes, mtime_ns FROM file WHERE reading = ?", (reading.row_id,)
        )
    )


def fingerprint(files: Iterable[Media]) -> bytes:
    """A hash of a listing that does not depend on its order: the same card unchanged has the same."""
    total = 0
    for media in files:
        key = b"%b\0%d\0%d" % (media.path, media.size_bytes, media.mtime_ns)
        total += int.from_bytes(hashlib.blake2b(key, digest_size=16).digest())
    return (total % 2**128).to_bytes(16)
