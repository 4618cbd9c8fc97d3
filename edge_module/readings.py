"""The readings of cards: where each stands, and what was found in it. Rule 4 of ledger.py."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from edge_module import as_json, receipts
from edge_module.domain import Card, CardReceipt, Fate, Media, ReadingState, Record
from edge_module.receipts import Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of one card."""

    row_id: int
    reading_id: str
    card_id: str
    listing: int
    rescore: bool = False
    """Whether what is known is to be scored again (`Ledger.read_again`)."""


def begin(connection: sqlite3.Connection, card: Card) -> Reading:
    """Go on with the card's unfinished reading, or begin a new one."""
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


def _to_rescore(connection: sqlite3.Connection, card_id: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM meta WHERE key = ?", (_rescore_key(card_id),)).fetchone())


def _rescore_key(card_id: str) -> str:
    return f"rescore:{card_id}"


def read_again(connection: sqlite3.Connection, card_id: str, *, rescore: bool) -> None:
    """The card is to be read again as if it had changed, and what is known scored again where that is asked for."""
    connection.execute(
        "UPDATE reading SET fingerprint = x'' WHERE id = (SELECT max(id) FROM reading WHERE card_id = ?)",
        (card_id,),
    )
    if rescore:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (_rescore_key(card_id),))


def end(connection: sqlite3.Connection, reading: Reading, *, why: str, as_read: bytes) -> CardReceipt:
    """End a reading: complete, or interrupted where a reason is given or files are pending.

    Args:
        connection: of the transaction.
        reading: which.
        why: it stopped before its end; empty if it did not.
        as_read: the fingerprint of its listing.
    """
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
    return receipts.receipt(receipts.within(connection), reading.reading_id)


def news(connection: sqlite3.Connection, reading: Reading, receipt: CardReceipt) -> bool:
    """Whether a receipt of a reading says something that the one before it did not."""
    said = hashlib.sha256(json.dumps(as_json.receipt_to_json(receipt), sort_keys=True).encode()).digest()
    return bool(
        connection.execute("UPDATE reading SET told = ?1 WHERE id = ?2 AND told <> ?1", (said, reading.row_id)).rowcount
    )


def counts(read: Read, reading: Reading) -> tuple[int, int]:
    """How many files of a reading are listed, and how many of them are settled."""
    ((listed, settled),) = read("SELECT count(*), count(fate) FROM file WHERE reading = ?", (reading.row_id,))
    return listed, settled


def settled(read: Read, reading: Reading) -> Iterator[Record]:
    """The files of a reading that have a fate, in the order of their paths, a page at a time."""
    after = b""
    while page := read(
        """SELECT f.path, f.size_bytes, f.fate, f.media_id, f.reason,
                  iif(f.fate = 'ignored', NULL,  -- its row says all that its record does
                      (SELECT body FROM record r WHERE r.card_id = ?1 AND r.path = f.path
                       AND r.media_id = f.media_id AND r.fate = f.fate ORDER BY id LIMIT 1))
           FROM file f WHERE f.reading = ?2 AND f.path > ?3 AND f.fate IS NOT NULL ORDER BY f.path LIMIT 500""",
        (reading.card_id, reading.row_id, after),
    ):
        for path, size_bytes, fate, media_id, reason, body in page:
            yield (
                as_json.record_from_json(json.loads(body))
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


def records_of(read: Read, media_id: str) -> list[tuple[Record, Media]]:
    """Where some bytes lie on cards whose readings are not compacted yet, and the record of each."""
    found = []
    for card_id, reading_id, path, size_bytes, mtime_ns, fate, body in read(
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
        found.append((as_json.record_from_json(json.loads(body)) if body else record, media))
    return found


def interrupted(read: Read) -> int:
    """How many cards' last readings stopped before their end."""
    ((count,),) = read(
        """SELECT count(*) FROM reading r WHERE state = ?
           AND id = (SELECT max(id) FROM reading WHERE card_id = r.card_id)""",
        (ReadingState.INTERRUPTED,),
    )
    return int(count)


def last_complete(read: Read, card_id: str) -> bytes | None:
    """The fingerprint of the card's last reading, if that is complete."""
    rows = read("SELECT state, fingerprint FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1", (card_id,))
    return rows[0][1] if rows and rows[0][0] == ReadingState.COMPLETE else None


def last_reading_id(read: Read, card_id: str) -> str:
    """The card's last reading; empty if it was never read."""
    rows = read("SELECT reading_id FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1", (card_id,))
    return str(rows[0][0]) if rows else ""


def last_readings(read: Read, limit: int) -> list[tuple[str, str]]:
    """The last readings of all, a card's last each: reading and card, the newest first."""
    return read(
        "SELECT reading_id, card_id FROM reading WHERE id IN (SELECT max(id) FROM reading GROUP BY card_id)"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
