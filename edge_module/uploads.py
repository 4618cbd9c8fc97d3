"""Which pictures headquarters is owed, and what became of them.

====== =========================================== ======================================================
state  event                                       next state
====== =========================================== ======================================================
       a record is settled, or somebody asks       ready
ready  next: somebody tries                        ready, not to be tried again before its lease ends
ready  stored: the blob is there                   done, and `media_stored` is owed in the same transaction
ready  later: it did not go through                ready, not before a delay
ready  bundled: it went into a bundle              bundled, and `media_stored` is owed in the same transaction;
                                                   still to be stored if a link comes first
ready  fail: it can never be made or stored        failed, and an alert is owed in the same transaction
====== =========================================== ======================================================

Which pictures are owed, and which go first, is decided in ladder.py.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from edge_module import wire
from edge_module.clock import Clock
from edge_module.database import Database
from edge_module.domain import Box, Variant
from edge_module.ladder import Rung, Want
from edge_module.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture to be made and stored.

    Args:
        box: what of the frame a crop shows; all of it unless given.
        picture: the JPEG itself, where no original is kept to make it of.
    """

    media_id: str
    variant: Variant
    name: str
    attempts: int
    bundled: bool
    rung: Rung
    box: Box | None
    picture: bytes | None


class Asked(StrEnum):
    """What becomes of a picture that somebody asked for."""

    QUEUED = "queued"
    STORED = "stored"
    """It is in Blob Storage already."""
    GONE = "gone"
    """The original is not on this gateway (any more)."""
    WITHHELD = "withheld"
    """There may be a person in it: it never leaves the gateway."""
    UNKNOWN = "unknown"
    """This gateway has not met it."""


ASKABLE: Final = (Variant.CROP, Variant.FRAME, Variant.ORIGINAL)


def owe(connection: sqlite3.Connection, media_id: bytes, name: str, wants: Iterable[Want]) -> None:
    """Owe headquarters pictures; what is owed or done already stays as it is."""
    connection.executemany(
        """INSERT OR IGNORE INTO upload (media_id, variant, name, state, rung, worth, box, picture)
           VALUES (?, ?, ?, 'ready', ?, ?, ?, ?)""",
        [
            (media_id, want.variant, name, want.rung, want.worth, _box_text(want.box), want.picture)
            for want in wants
        ],
    )  # fmt: skip


class Uploads:
    """The pictures of one ledger that are on their way."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock

    def request(self, media_id: str, variant: Variant) -> Asked:
        """Somebody asks for a picture of a kept original: it goes before what nobody asked for.

        Args:
            media_id: of the picture.
            variant: one of `ASKABLE`.
        """
        key = bytes.fromhex(media_id)
        rung = Rung.ASKED_ORIGINAL if variant is Variant.ORIGINAL else Rung.ASKED
        with self._database.transaction("request") as connection:
            known = connection.execute("SELECT stays_here FROM media WHERE media_id = ?", (key,)).fetchone()
            if known is None:
                return Asked.UNKNOWN
            if known[0]:
                return Asked.WITHHELD
            there = connection.execute(
                "SELECT state FROM upload WHERE media_id = ? AND variant = ?", (key, variant)
            ).fetchone()
            if there and there[0] == "done":
                return Asked.STORED
            kept = connection.execute("SELECT name FROM original WHERE media_id = ? AND going = 0", (key,)).fetchone()
            if kept is None:
                return Asked.GONE
            owe(connection, key, kept[0], [Want(variant=variant, rung=rung, worth=1.0)])
            connection.execute(
                """UPDATE upload SET rung = min(rung, ?), until_s = 0, state = iif(state = 'failed', 'ready', state)
                   WHERE media_id = ? AND variant = ?""",
                (rung, key, variant),
            )
        return Asked.QUEUED

    def next(self, *, lease_s: float, review_crops: bool = True) -> Upload | None:
        """Take the next picture: of the lowest rung, there the least tried, there the worthiest; None when none is due.

        Args:
            lease_s: after which it may be taken again.
            review_crops: whether crops of `review` may go today.
        """
        now, boot = self._clock.monotonic_s(), self._clock.boot_id
        with self._database.transaction("upload") as connection:
            row = connection.execute(
                """SELECT media_id, variant, name, attempts, state, rung, box, picture FROM upload
                   WHERE state IN ('ready', 'bundled') AND (boot_id <> ? OR until_s <= ?) AND rung <> ?
                   ORDER BY rung, attempts, worth DESC, media_id LIMIT 1""",
                (boot, now, -1 if review_crops else Rung.REVIEW_CROP),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                """UPDATE upload SET attempts = attempts + 1, boot_id = ?, until_s = ?
                   WHERE media_id = ? AND variant = ?""",
                (boot, now + lease_s, row[0], row[1]),
            )
        return _upload((*row[:3], row[3] + 1, *row[4:]))

    def keep_withheld_here(self) -> int:
        """What stays here is not to travel at 48 px either (any more). Returns how many pictures were dropped."""
        waiting = "state IN ('ready', 'bundled') AND rung = ?"
        if not self._database.read(f"SELECT 1 FROM upload WHERE {waiting} LIMIT 1", (Rung.WITHHELD,)):  # noqa: S608
            return 0
        with self._database.transaction("withheld") as connection:
            return connection.execute(f"DELETE FROM upload WHERE {waiting}", (Rung.WITHHELD,)).rowcount  # noqa: S608

    def put_back(self, upload: Upload) -> None:
        """It was not tried after all: as if it had not been taken."""
        with self._database.transaction("put_back") as connection:
            connection.execute(
                "UPDATE upload SET attempts = attempts - 1, until_s = 0 WHERE media_id = ? AND variant = ?",
                (bytes.fromhex(upload.media_id), upload.variant),
            )

    def stored(self, upload: Upload, message: wire.MediaStored) -> None:
        """The blob is there: say so to headquarters, unless a bundle says so already."""
        key = bytes.fromhex(upload.media_id)
        with self._database.transaction("stored") as connection:
            if not upload.bundled:
                self._number(connection, key, upload.variant, self._outbox.insert(connection, message))
            self._set(connection, upload, state="done")
            connection.execute(
                "UPDATE upload SET picture = NULL WHERE media_id = ? AND variant = ?", (key, upload.variant)
            )
            connection.execute("DELETE FROM upload_block WHERE media_id = ?", (key,))
            if upload.rung is Rung.REVIEW_CROP:
                connection.execute("UPDATE budget SET review_crops = review_crops + 1")

    def bundled(self, upload: Upload, message: wire.MediaStored) -> None:
        """The picture is in a bundle, whose confirmation will say that headquarters has it."""
        with self._database.transaction("bundled") as connection:
            key = bytes.fromhex(upload.media_id)
            self._number(connection, key, upload.variant, self._outbox.insert(connection, message))
            connection.execute(
                "UPDATE upload SET state = 'bundled' WHERE media_id = ? AND variant = ?", (key, upload.variant)
            )

    @staticmethod
    def _number(connection: sqlite3.Connection, key: bytes, variant: Variant, sequence: int) -> None:
        """Its `media_stored` has this number: what confirms that confirms the picture."""
        connection.execute(
            "UPDATE upload SET sequence = ? WHERE media_id = ? AND variant = ?", (sequence, key, variant)
        )

    def owed(self) -> list[Upload]:
        """Every picture that headquarters may not have: for a bundle."""
        return [
            _upload(row)
            for row in self._database.read(
                """SELECT media_id, variant, name, attempts, state, rung, box, picture FROM upload
                   WHERE state IN ('ready', 'bundled') ORDER BY rung, worth DESC, media_id"""
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

    def blocks(self, upload: Upload) -> set[str]:
        """Which blocks of a large original storage has."""
        rows = self._database.read(
            "SELECT block_id FROM upload_block WHERE media_id = ?", (bytes.fromhex(upload.media_id),)
        )
        return {row[0] for row in rows}

    def block_stored(self, upload: Upload, block_id: str) -> None:
        """Storage has another block."""
        with self._database.transaction("block") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO upload_block VALUES (?, ?)", (bytes.fromhex(upload.media_id), block_id)
            )

    def forget_blocks(self, upload: Upload) -> None:
        """Storage has thrown away what it had, as it does after a week."""
        with self._database.transaction("blocks") as connection:
            connection.execute("DELETE FROM upload_block WHERE media_id = ?", (bytes.fromhex(upload.media_id),))

    def waiting(self) -> int:
        """How many pictures are still owed."""
        return int(self._database.read("SELECT count(*) FROM upload WHERE state IN ('ready', 'bundled')")[0][0])


def _upload(row: tuple[Any, ...]) -> Upload:
    media_id, variant, name, attempts, state, rung, box, picture = row
    return Upload(
        media_id=media_id.hex(),
        variant=Variant(variant),
        name=name,
        attempts=attempts,
        bundled=state == "bundled",
        rung=Rung(rung),
        box=Box(**json.loads(box)) if box else None,
        picture=picture,
    )


def _box_text(box: Box | None) -> str:
    return json.dumps(asdict(box)) if box else ""
