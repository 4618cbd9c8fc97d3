"""A file's fate, and what headquarters is owed of it. Rules 1 to 3 of ledger.py."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from edge_module import as_json
from edge_module.domain import KEPT_FATES, Fate, Media, Record, Variant
from edge_module.keeping import keep
from edge_module.ladder import Want
from edge_module.readings import Reading
from edge_module.receipts import Read
from edge_module.uploads import owe

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - to count from, in a camera's own time


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
class Known:
    """What some bytes were judged to be before."""

    fate: Fate
    stays_here: bool


def known(read: Read, media_id: str) -> Known | None:
    """What these bytes were judged to be, if they were: then they need not be decoded again."""
    rows = read("SELECT fate, stays_here FROM media WHERE media_id = ?", (bytes.fromhex(media_id),))
    return Known(fate=Fate(rows[0][0]), stays_here=bool(rows[0][1])) if rows else None


def settle(connection: sqlite3.Connection, reading: Reading, finding: Finding) -> Record:
    """Give a file its fate. Returns its record with the final fate."""
    record, media_id = finding.record, bytes.fromhex(finding.record.media_id)
    first = True
    if media_id and record.size_bytes:
        origin = _origin(record.card_id, finding.media.path)
        if finding.original_kept:
            keep(connection, record)
        known = connection.execute(
            "SELECT fate, origin, stays_here FROM media WHERE media_id = ?", (media_id,)
        ).fetchone()
        stays_here = record.stays_here or bool(known and known[2])
        if known and stays_here and not known[2]:  # a copy, judged beside others than the first was
            withhold(connection, media_id)
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
            record = _first_record(connection, record, finding.media.path, Fate(known[0]))
        else:
            record = replace(record, fate=Fate.DUPLICATE, model_id="", scores=None, reason="", audit_probability=None)
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


def _first_record(connection: sqlite3.Connection, record: Record, path: bytes, fate: Fate) -> Record:
    """The record of the file's first reading, or what is left of it after compaction."""
    media_id = bytes.fromhex(record.media_id)
    row = connection.execute(
        "SELECT body FROM record WHERE card_id = ? AND path = ? AND media_id = ? AND fate = ? ORDER BY id LIMIT 1",
        (record.card_id, path, media_id, fate),
    ).fetchone()
    if row:
        return as_json.record_from_json(json.loads(row[0]))
    return replace(record, fate=fate, scores=None, audit_probability=None)


def rescored(connection: sqlite3.Connection, record: Record, path: bytes, wants: Sequence[Want]) -> bool:
    """A kept original was scored again: owe headquarters the further record, and the pictures it is worth now.

    Returns:
        Whether it is one: the same model says the same once.
    """
    media_id = bytes.fromhex(record.media_id)
    new = _rescore(connection, record, path)
    (stays_here,) = connection.execute("SELECT stays_here FROM media WHERE media_id = ?", (media_id,)).fetchone() or (
        True,
    )
    if new and not stays_here:
        owe(connection, media_id, record.path, [want for want in wants if want.picture is None])
    return new


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
        withhold(connection, media_id)
    return _owe(connection, replace(record, audit_probability=None), path)


def withhold(connection: sqlite3.Connection, media_id: bytes) -> None:
    """There may be a person in these bytes: from now on no picture of them leaves the gateway."""
    connection.execute("UPDATE media SET stays_here = 1 WHERE media_id = ?", (media_id,))
    connection.execute(
        "DELETE FROM upload WHERE media_id = ? AND state = 'ready' AND variant <> ?", (media_id, Variant.WITHHELD)
    )
    connection.execute(  # what a stick took cannot be taken back; the link does not carry it as well
        "UPDATE upload SET state = 'done' WHERE media_id = ? AND state = 'bundled' AND variant <> ?",
        (media_id, Variant.WITHHELD),
    )


def restore(connection: sqlite3.Connection, record: Record, path: bytes, wants: Iterable[Want]) -> None:
    """Take back what a note beside a kept original says: after a damaged ledger was set aside."""
    media_id = bytes.fromhex(record.media_id)
    connection.execute(
        "INSERT OR IGNORE INTO media VALUES (?, ?, ?, 'kept', ?)",
        (media_id, record.fate, _origin(record.card_id, path), record.stays_here),
    )
    keep(connection, record)
    _owe(connection, record, path)
    owe(connection, media_id, record.path, wants)


def _owe(connection: sqlite3.Connection, record: Record, path: bytes) -> bool:
    """Owe the record of a file. Returns whether this model had said nothing of it yet."""
    cursor = connection.execute(
        """INSERT OR IGNORE INTO record (card_id, path, media_id, model_id, reading_id, fate, body)
           VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (
            record.card_id, path, bytes.fromhex(record.media_id), record.model_id, record.reading_id, record.fate,
            json.dumps(as_json.record_to_json(record), separators=(",", ":"), ensure_ascii=False),
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
