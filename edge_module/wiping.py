"""What follows when a card has become safe to wipe: a receipt that says so is owed, and its rows are dropped."""

import json

from edge_module import as_json, receipts, wire
from edge_module.database import Database
from edge_module.domain import ReadingState
from edge_module.outbox import Outbox


def tell_safe(database: Database, outbox: Outbox) -> None:
    """Owe a receipt for each card that has become safe."""
    for row_id, reading_id in database.read(
        "SELECT id, reading_id FROM reading WHERE state = ? AND told_safe = 0", (ReadingState.COMPLETE,)
    ):
        receipt = receipts.receipt(database.read, str(reading_id))
        if receipt.safe_to_wipe:
            with database.transaction("safe") as connection:
                connection.execute("UPDATE reading SET told_safe = 1 WHERE id = ?", (row_id,))
                outbox.insert(connection, wire.Receipt(receipt=receipt))


def compact(database: Database) -> int:
    """Drop the rows of readings whose card is safe to wipe; fates by media id and receipts stay.

    Returns:
        How many readings were compacted.
    """
    done = 0
    for row_id, reading_id in database.read(
        "SELECT id, reading_id FROM reading WHERE state = ? AND receipt IS NULL", (ReadingState.COMPLETE,)
    ):
        receipt = receipts.receipt(database.read, str(reading_id))
        if not receipt.safe_to_wipe:
            continue
        with database.transaction("compact") as connection:
            connection.execute(
                "UPDATE reading SET receipt = ? WHERE id = ?",
                (json.dumps(as_json.receipt_to_json(receipt)), row_id),
            )
            connection.execute("DELETE FROM file WHERE reading = ?", (row_id,))
            connection.execute("DELETE FROM record WHERE reading_id = ? AND confirmed = 1", (reading_id,))
        done += 1
    with database.transaction("compact") as connection:  # what was scored again since
        connection.execute(
            """DELETE FROM record WHERE confirmed = 1
               AND reading_id IN (SELECT reading_id FROM reading WHERE receipt IS NOT NULL)"""
        )
    return done
