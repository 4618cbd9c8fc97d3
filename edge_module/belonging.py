"""What the ledger remembers of whose card a card is: the deployments that headquarters told, and what it decided."""

import json
import sqlite3
from typing import Final

from edge_module import receipts, whose, wire
from edge_module.database import Database
from edge_module.domain import CardReceipt
from edge_module.errors import ConfigError
from edge_module.outbox import Outbox

_KEY_MAX: Final = 200


class Belongings:
    """Which deployment each card belongs to; the rules are those of whose.py."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def know(self, deployments: object) -> None:
        """Take the desired property ``deployments``; a null forgets them. Kept for a start without a network.

        Raises:
            WireError: it does not have the form of docs/wire.md; the last good ones stay.
        """
        text = json.dumps(whose.to_json(whose.deployments_from_twin([] if deployments is None else deployments)))
        with self._database.transaction("deployments") as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('deployments', ?)", (text,))

    def assign(self, card_id: str, deployment_key: str | None) -> CardReceipt:
        """Headquarters has decided whose card this is; None takes that back. Owes the card's changed receipt.

        It holds for the card's last reading, and for later ones while no other camera's pictures lie on the card.

        Raises:
            ConfigError: no such card was ever read here, or there can be no such deployment.
        """
        if deployment_key is not None and not 0 < len(deployment_key) <= _KEY_MAX:
            raise ConfigError([f"deployment_key: must have 1 to {_KEY_MAX} characters"])
        with self._database.transaction("assign") as connection:
            read = receipts.within(connection)
            rows = read(
                "SELECT id, reading_id, receipt FROM reading WHERE card_id = ? ORDER BY id DESC LIMIT 1", (card_id,)
            )
            if not rows:
                raise ConfigError([f"card_id: {card_id[:80]!r} was never read by this gateway"])
            row_id, reading_id, kept = rows[0]
            self._remember(connection, card_id, deployment_key, self._serials(read, row_id, kept))
            if kept is not None:
                value = json.loads(kept) | _decided(deployment_key)
                connection.execute("UPDATE reading SET receipt = ? WHERE id = ?", (json.dumps(value), row_id))
            receipt = receipts.receipt(read, reading_id)
            self._outbox.insert(connection, wire.Receipt(receipt=receipt))
        return receipt

    @staticmethod
    def _serials(read: receipts.Read, row_id: int, kept: str | None) -> list[str]:
        if kept is not None:
            return sorted(json.loads(kept)["cameras"])
        return sorted(whose.serials_of(receipts.cameras(read, row_id)))

    @staticmethod
    def _remember(connection: sqlite3.Connection, card_id: str, deployment_key: str | None, serials: list[str]) -> None:
        if deployment_key is None:
            connection.execute("DELETE FROM assignment WHERE card_id = ?", (card_id,))
        else:
            connection.execute(
                "INSERT OR REPLACE INTO assignment VALUES (?, ?, ?)", (card_id, deployment_key, json.dumps(serials))
            )


def _decided(deployment_key: str | None) -> dict[str, str | None]:
    """The fields of a receipt whose rows are gone: what it rested on before cannot be weighed again."""
    if deployment_key is None:
        return {
            "deployment_key": None,
            "deployment_source": "",
            "deployment_why": "headquarters took its decision back",
        }
    return {"deployment_key": deployment_key, "deployment_source": "headquarters", "deployment_why": ""}
