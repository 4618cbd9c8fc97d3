"""Which pictures headquarters is owed, and what became of them.

====== =========================================== ======================================================
state  event                                       next state
====== =========================================== ======================================================
       an original is kept                         ready
ready  next: somebody tries                        ready, not to be tried again before its lease ends
ready  stored: the blob is there                   done, and `media_stored` is owed in the same transaction
ready  later: it did not go through                ready, not before a delay
ready  bundled: it went into a bundle              bundled, and `media_stored` is owed in the same transaction;
                                                   still to be stored if a link comes first
ready  fail: it can never be made or stored        failed, and an alert is owed in the same transaction
====== =========================================== ======================================================

A variant is a picture made of the original: until the bandwidth ladder chooses, one ``frame`` of each kept original.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from edge_module import wire
from edge_module.clock import Clock
from edge_module.database import Database
from edge_module.domain import Record
from edge_module.outbox import Outbox

FRAME: Final = "frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture to be made and stored."""

    media_id: str
    variant: str
    name: str
    attempts: int
    bundled: bool


def owe_upload(connection: sqlite3.Connection, record: Record) -> None:
    """Owe headquarters a frame of a kept original; of what could not be scored there is none to make."""
    if not record.reason:
        connection.execute(
            "INSERT OR IGNORE INTO upload (media_id, variant, name, state) VALUES (?, ?, ?, 'ready')",
            (bytes.fromhex(record.media_id), FRAME, record.path),
        )


class Uploads:
    """The pictures of one ledger that are on their way."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock

    def next(self, *, lease_s: float) -> Upload | None:
        """Take the next picture, the least tried first; None when none is due."""
        now, boot = self._clock.monotonic_s(), self._clock.boot_id
        with self._database.transaction("upload") as connection:
            row = connection.execute(
                """SELECT media_id, variant, name, attempts + 1, state FROM upload
                   WHERE state IN ('ready', 'bundled') AND (boot_id <> ? OR until_s <= ?)
                   ORDER BY attempts, media_id LIMIT 1""",
                (boot, now),
            ).fetchone()
            if row is None:
                return None
            upload = _upload(row)
            connection.execute(
                "UPDATE upload SET attempts = ?, boot_id = ?, until_s = ? WHERE media_id = ? AND variant = ?",
                (upload.attempts, boot, now + lease_s, row[0], upload.variant),
            )
        return upload

    def stored(self, upload: Upload, message: wire.MediaStored) -> None:
        """The blob is there: say so to headquarters, unless a bundle says so already."""
        with self._database.transaction("stored") as connection:
            if not upload.bundled:
                self._outbox.insert(connection, message)
            self._set(connection, upload, state="done")

    def bundled(self, upload: Upload, message: wire.MediaStored) -> None:
        """The picture is in a bundle, whose confirmation will say that headquarters has it."""
        with self._database.transaction("bundled") as connection:
            sequence = self._outbox.insert(connection, message)
            connection.execute(
                "UPDATE upload SET state = 'bundled', sequence = ? WHERE media_id = ? AND variant = ?",
                (sequence, bytes.fromhex(upload.media_id), upload.variant),
            )

    def owed(self) -> list[Upload]:
        """Every picture that headquarters may not have: for a bundle."""
        return [
            _upload(row)
            for row in self._database.read(
                """SELECT media_id, variant, name, attempts, state FROM upload
                   WHERE state IN ('ready', 'bundled') ORDER BY media_id"""
            )
        ]

    def later(self, upload: Upload, *, delay_s: float, reason: str) -> None:
        """It did not go through: try again after a delay."""
        with self._database.transaction("later") as connection:
            state = "bundled" if upload.bundled else "ready"
            self._set(connection, upload, state=state, until_s=self._clock.monotonic_s() + delay_s, reason=reason)

    def fail(self, upload: Upload, *, reason: str) -> None:
        """It can never be stored: give up and tell headquarters."""
        text = f"picture {upload.media_id}: {upload.variant} cannot be delivered: {reason}"
        with self._database.transaction("fail") as connection:
            self._set(connection, upload, state="failed", reason=reason)
            alert = wire.Alert(code="picture_undeliverable", text=text, at=self._clock.now())
            self._outbox.insert(connection, alert)

    def _set(
        self,
        connection: sqlite3.Connection,
        upload: Upload,
        *,
        state: str,
        until_s: float = 0,
        reason: str = "",
    ) -> None:
        connection.execute(
            """UPDATE upload SET state = ?, boot_id = ?, until_s = ?, reason = ?
               WHERE media_id = ? AND variant = ?""",
            (state, self._clock.boot_id, until_s, reason, bytes.fromhex(upload.media_id), upload.variant),
        )

    def forget_leases(self) -> None:
        """Whoever held them has ended."""
        with self._database.transaction("forget") as connection:
            connection.execute("UPDATE upload SET until_s = 0 WHERE state IN ('ready', 'bundled')")

    def retry(self) -> int:
        """Try everything again at once, what was given up too. Returns how many were waiting."""
        with self._database.transaction("retry") as connection:
            return connection.execute(
                """UPDATE upload SET state = iif(state = 'failed', 'ready', state), until_s = 0
                   WHERE state = 'failed' OR (state IN ('ready', 'bundled') AND until_s > 0)"""
            ).rowcount

    def waiting(self) -> int:
        """How many pictures are still owed."""
        return int(self._database.read("SELECT count(*) FROM upload WHERE state IN ('ready', 'bundled')")[0][0])


def _upload(row: tuple[Any, ...]) -> Upload:
    media_id, variant, name, attempts, state = row
    return Upload(media_id=media_id.hex(), variant=variant, name=name, attempts=attempts, bundled=state == "bundled")
