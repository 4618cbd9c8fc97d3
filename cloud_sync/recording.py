"""Entering messages into the record, within one transaction.

Nothing recorded is changed by a later message: rows are inserted once by their key, and the same key with other
contents becomes an alert. Only `receipts` and `status` are replaced, by a later message of the same gateway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud_sync import deployments_store, schema
from cloud_sync.records import Origin, Rows, alert_row, digest
from cloud_sync.schema import MessageState
from edge_module.wire import message_id

Known = dict[tuple[str, str, int], tuple[bytes, str]]
"""(gateway_id, ledger_id, sequence) -> the SHA-256 and the state of the message that is known by it."""

_KEYS_PER_QUERY: Final = 500
_SAME_RECORD: Final = (
    "fate",
    "reason",
    "size_bytes",
    "panda_probability",
    "probabilities",
    "night",
    "view",
    "withheld",
    "exif_time",
    "utc_offset_min",
    "offset_source",
    "camera_make",
    "camera_model",
    "camera_serial",
)
"""What two records of one key must agree in. A ledger that was rebuilt sends the same judgement as another reading."""

_SAME_MEDIA: Final = ("container", "blob_name", "blob_sha256", "size_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message as headquarters understood it, or did not.

    Args:
        origin: its number; None where even that could not be read (then it is parked).
        rows: empty unless it is recorded.
        held: why its body is kept aside (code, reason); None for a recorded one.
        subject: what its alert is about, so that it is raised once; this very message unless given.
    """

    gateway_id: str
    received_at: datetime
    body: bytes
    body_sha256: bytes
    kind: str
    state: MessageState
    origin: Origin | None
    rows: Rows
    held: tuple[str, str] | None = None
    subject: str = ""


class Recording:
    """Enters rows through a connection that writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert

    def take(self, arrivals: Sequence[Arrival]) -> set[tuple[str, str]]:
        """Enter arrivals; returns the (gateway_id, ledger_id) that they touched."""
        numbered = [a for a in arrivals if a.origin]
        touched: dict[tuple[str, str], datetime] = {}
        for arrival in numbered:
            assert arrival.origin
            touched.setdefault((arrival.gateway_id, arrival.origin.ledger_id), arrival.received_at)
        self.know_ledgers(touched)
        known = _known_messages(self._connection, numbered)
        fresh: dict[Table, list[dict[str, Any]]] = {}
        for arrival in arrivals:
            for table, rows in self._number(arrival, known):
                fresh.setdefault(table, []).extend(rows)
        for table, rows in fresh.items():
            self.add(table, rows)
        seen = {a.gateway_id: a.received_at for a in arrivals}
        for gateway_id, at in seen.items():
            is_it = schema.gateways.c.gateway_id == gateway_id
            self._connection.execute(update(schema.gateways).where(is_it).values(last_message_at=at))
        return set(touched)

    def _number(self, arrival: Arrival, known: Known) -> Rows:
        """Enter a message under its number; returns the rows that it brings, if it is new."""
        origin = arrival.origin
        if origin is None:
            return _held(arrival)
        key = (origin.gateway_id, origin.ledger_id, origin.sequence)
        before = known.get(key)
        if before is None:
            known[key] = (arrival.body_sha256, arrival.state)
            row = {
                "gateway_id": origin.gateway_id,
                "ledger_id": origin.ledger_id,
                "sequence": origin.sequence,
                "kind": arrival.kind,
                "state": arrival.state.value,
                "body_sha256": arrival.body_sha256,
                "received_at": arrival.received_at,
            }
            return [(schema.messages, [row]), *_held(arrival), *arrival.rows]
        sha256, state = before
        if sha256 != arrival.body_sha256:
            return _held(
                replace(arrival, state=MessageState.PARKED, held=None),
                "another_body",
                "another body under a number that is known; what came first stands",
            )
        if state == MessageState.RECORDED or arrival.state in (state, MessageState.WAITING):
            return []
        known[key] = (sha256, arrival.state)
        self._connection.execute(
            update(schema.messages).where(_of_arrival(schema.messages, arrival)).values(state=arrival.state.value)
        )
        self._connection.execute(delete(schema.held_bodies).where(_of_arrival(schema.held_bodies, arrival)))
        return [*_held(arrival), *arrival.rows]

    def add(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows by one statement; those whose key is known stay as they are, or raise an alert."""
        if table is schema.records:
            rows = deployments_store.assign(self._connection, rows)
        statement = self._insert(table)
        if table in (schema.receipts, schema.status):
            newer = or_(
                statement.excluded.ledger_id != table.c.ledger_id, statement.excluded.sequence > table.c.sequence
            )
            keys = [c.name for c in table.primary_key]
            changed = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
            readings = {(r["gateway_id"], r["card_id"], r["reading_id"]) for r in rows if table is schema.receipts}
            before = deployments_store.assigned_keys(self._connection, readings) if readings else {}
            self._connection.execute(
                statement.on_conflict_do_update(index_elements=keys, set_=changed, where=newer), rows
            )
            after = deployments_store.assigned_keys(self._connection, readings) if readings else {}
            decided = {reading for reading in readings if before.get(reading) != after.get(reading)}
            deployments_store.assign_readings(self._connection, decided)
            return
        inserted = self._connection.execute(statement.on_conflict_do_nothing(), rows).rowcount
        if inserted == len(rows):
            return
        if table is schema.records:
            self._compare(table, ("record_key",), _SAME_RECORD, rows)
        elif table is schema.media:
            self._compare(table, ("media_id", "variant", "gateway_id"), _SAME_MEDIA, rows)

    def _compare(
        self,
        table: Table,
        keys: tuple[str, ...],
        same: tuple[str, ...],
        rows: list[dict[str, Any]],
    ) -> None:
        """Raise an alert for each message that says something else of a key than what is recorded."""
        columns = [table.c[name] for name in (*keys, *same)]
        recorded: dict[tuple[Any, ...], Row[Any]] = {}
        firsts = [row[keys[0]] for row in rows]
        for at in range(0, len(firsts), _KEYS_PER_QUERY):
            among = table.c[keys[0]].in_(firsts[at : at + _KEYS_PER_QUERY])
            recorded |= {tuple(r[: len(keys)]): r for r in self._connection.execute(select(*columns).where(among))}
        differing: dict[tuple[str, str, int], tuple[int, dict[str, Any]]] = {}
        for row in rows:
            there = recorded[tuple(row[k] for k in keys)]
            if any(getattr(there, name) != row[name] for name in same):
                number = (row["gateway_id"], row["ledger_id"], row["sequence"])
                count, first = differing.get(number, (0, row))
                differing[number] = (count + 1, first)
        now = datetime.now(UTC)
        alerts = [
            alert_row(
                gateway_id=gateway_id,
                source="hq",
                code=f"another_{table.name}_body",
                text=f"message {message_id(ledger_id, sequence)} says something else of {count} known "
                f"{table.name}, the first of them media {first['media_id']}; what was recorded first stands",
                at=now,
                received_at=now,
                subject=message_id(ledger_id, sequence),
            )
            for (gateway_id, ledger_id, sequence), (count, first) in differing.items()
        ]
        if alerts:
            self.add(schema.alerts, alerts)

    def know_ledgers(self, wanted: dict[tuple[str, str], datetime]) -> None:
        """Enter ledgers that were not known; the last one entered is the one that its gateway uses now."""
        table = schema.ledgers
        of_these = table.c.gateway_id.in_({gateway_id for gateway_id, _ in wanted})
        query = select(table.c.gateway_id, table.c.ledger_id, table.c.ordinal).where(of_these)
        known = {(r.gateway_id, r.ledger_id): r.ordinal for r in self._connection.execute(query)}
        last = max(known.values(), default=0)
        new = [key for key in wanted if key not in known]
        if new:
            rows = [
                {
                    "gateway_id": g,
                    "ledger_id": ledger,
                    "ordinal": last + n,
                    "first_seen_at": wanted[g, ledger],
                    "through": 0,
                }
                for n, (g, ledger) in enumerate(new, start=1)
            ]
            self._connection.execute(self._insert(table).on_conflict_do_nothing(), rows)


def _known_messages(connection: Connection, numbered: Sequence[Arrival]) -> Known:
    """The hash and state of those among `numbered` that have arrived before."""
    table = schema.messages
    sequences: dict[tuple[str, str], list[int]] = {}
    for arrival in numbered:
        assert arrival.origin
        sequences.setdefault((arrival.gateway_id, arrival.origin.ledger_id), []).append(arrival.origin.sequence)
    known: Known = {}
    for (gateway_id, ledger_id), numbers in sequences.items():
        for at in range(0, len(numbers), _KEYS_PER_QUERY):
            query = select(table.c.sequence, table.c.body_sha256, table.c.state).where(
                table.c.gateway_id == gateway_id,
                table.c.ledger_id == ledger_id,
                table.c.sequence.in_(numbers[at : at + _KEYS_PER_QUERY]),
            )
            for row in connection.execute(query):
                known[gateway_id, ledger_id, row.sequence] = (bytes(row.body_sha256), row.state)
    return known


def _of_arrival(table: Table, arrival: Arrival) -> ColumnElement[bool]:
    assert arrival.origin
    return and_(
        table.c.gateway_id == arrival.gateway_id,
        table.c.ledger_id == arrival.origin.ledger_id,
        table.c.sequence == arrival.origin.sequence,
        table.c.body_sha256 == arrival.body_sha256,
    )


def _held(arrival: Arrival, code: str = "", reason: str = "") -> Rows:
    """The body of an arrival that was not recorded, and the alert that goes with it."""
    if arrival.held:
        code, reason = arrival.held
    if not code:
        return []
    origin = arrival.origin
    number = message_id(origin.ledger_id, origin.sequence) if origin else ""
    body = {
        "held_key": digest(arrival.gateway_id, number, arrival.body_sha256.hex()),
        "gateway_id": arrival.gateway_id,
        "ledger_id": origin.ledger_id if origin else None,
        "sequence": origin.sequence if origin else None,
        "body_sha256": arrival.body_sha256,
        "code": code,
        "reason": reason,
        "body": arrival.body,
        "received_at": arrival.received_at,
    }
    if arrival.state == MessageState.WAITING:
        return [(schema.held_bodies, [body])]
    alert = alert_row(
        gateway_id=arrival.gateway_id,
        source="hq",
        code=code,
        text=f"message {number or 'without a number'}: {reason}",
        at=arrival.received_at,
        received_at=arrival.received_at,
        subject=arrival.subject or number + arrival.body_sha256.hex(),
    )
    return [(schema.held_bodies, [body]), (schema.alerts, [alert])]
