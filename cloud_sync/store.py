"""Headquarters' record: every SQL statement on it. SQLite on one machine, PostgreSQL beyond.

Nothing recorded is changed by a later message: rows are inserted once by their key, and the same key with other
contents becomes an alert. Only `receipts` and `status` are replaced, by a later message of the same gateway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud_sync import deployments_store, gaps, schema
from cloud_sync.database import connect, transaction
from cloud_sync.records import Origin, Rows, alert_row, digest
from cloud_sync.schema import MessageState
from edge_module.wire import Confirmed, message_id

Known = dict[tuple[str, str, int], tuple[bytes, str]]
"""(gateway_id, ledger_id, sequence) -> the SHA-256 and the state of the message that is known by it."""

_HELD_SCAN_MAX: Final = 20_000
"""Sequences looked at above `through` for one confirmation; the rest is confirmed once the first gaps close."""

_KEYS_PER_QUERY: Final = 500
_SAME_RECORD: Final = (
    "fate",
    "reason",
    "size_bytes",
    "panda_probability",
    "probabilities",
    "night",
    "view",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far one partition of the event stream has been recorded."""

    consumer_group: str
    partition_id: str
    offset: str
    sequence_number: int


class Store:
    """The record. Safe to share between threads; every method is one transaction."""

    def __init__(self, database_url: str) -> None:
        """Connects at the first transaction.

        Raises:
            ConfigError: not a URL of a database that is supported.
        """
        self.engine = connect(database_url)
        self._insert = sqlite.insert if self.engine.dialect.name == "sqlite" else postgresql.insert

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    # --- messages ---------------------------------------------------------------------------------------------

    def take(self, arrivals: Sequence[Arrival], position: Position | None = None) -> set[tuple[str, str]]:
        """Record arrivals and how far the stream has been read, all or nothing. Doing it again changes nothing.

        Returns:
            The (gateway_id, ledger_id) that it touched.

        Raises:
            StoreUnavailableError: try again.
            StoreRefusedError: one of the arrivals cannot be stored.
        """
        with transaction(self.engine) as connection:
            touched = self._take(connection, arrivals)
            if position:
                self._save_position(connection, position)
        return touched

    def _take(self, connection: Connection, arrivals: Sequence[Arrival]) -> set[tuple[str, str]]:
        numbered = [a for a in arrivals if a.origin]
        touched: dict[tuple[str, str], datetime] = {}
        for arrival in numbered:
            assert arrival.origin
            touched.setdefault((arrival.gateway_id, arrival.origin.ledger_id), arrival.received_at)
        self._know_ledgers(connection, touched)
        known = _known_messages(connection, numbered)
        fresh: dict[Table, list[dict[str, Any]]] = {}
        for arrival in arrivals:
            for table, rows in self._number(connection, arrival, known):
                fresh.setdefault(table, []).extend(rows)
        for table, rows in fresh.items():
            self._add(connection, table, rows)
        seen = {a.gateway_id: a.received_at for a in arrivals}
        for gateway_id, at in seen.items():
            is_it = schema.gateways.c.gateway_id == gateway_id
            connection.execute(update(schema.gateways).where(is_it).values(last_message_at=at))
        return set(touched)

    def _number(self, connection: Connection, arrival: Arrival, known: Known) -> Rows:
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
        connection.execute(
            update(schema.messages).where(_of_arrival(schema.messages, arrival)).values(state=arrival.state.value)
        )
        connection.execute(delete(schema.held_bodies).where(_of_arrival(schema.held_bodies, arrival)))
        return [*_held(arrival), *arrival.rows]

    def _add(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows by one statement; those whose key is known stay as they are, or raise an alert."""
        if table is schema.records:
            rows = deployments_store.assign(connection, rows)
        statement = self._insert(table)
        if table in (schema.receipts, schema.status):
            newer = or_(
                statement.excluded.ledger_id != table.c.ledger_id, statement.excluded.sequence > table.c.sequence
            )
            keys = [c.name for c in table.primary_key]
            changed = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed, where=newer), rows)
            return
        inserted = connection.execute(statement.on_conflict_do_nothing(), rows).rowcount
        if inserted == len(rows):
            return
        if table is schema.records:
            self._compare(connection, table, ("record_key",), _SAME_RECORD, rows)
        elif table is schema.media:
            self._compare(connection, table, ("media_id", "variant", "gateway_id"), _SAME_MEDIA, rows)

    def _compare(
        self,
        connection: Connection,
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
            recorded |= {tuple(r[: len(keys)]): r for r in connection.execute(select(*columns).where(among))}
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
            self._add(connection, schema.alerts, alerts)

    def _know_ledgers(self, connection: Connection, wanted: dict[tuple[str, str], datetime]) -> None:
        """Enter ledgers that were not known; the last one entered is the one that its gateway uses now."""
        table = schema.ledgers
        of_these = table.c.gateway_id.in_({gateway_id for gateway_id, _ in wanted})
        query = select(table.c.gateway_id, table.c.ledger_id, table.c.ordinal).where(of_these)
        known = {(r.gateway_id, r.ledger_id): r.ordinal for r in connection.execute(query)}
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
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    # --- confirmation -----------------------------------------------------------------------------------------

    def current_ledger(self, gateway_id: str) -> str | None:
        """The ledger that a gateway took most recently; None if it has sent nothing yet."""
        table = schema.ledgers
        query = select(table.c.ledger_id).where(table.c.gateway_id == gateway_id).order_by(table.c.ordinal.desc())
        with transaction(self.engine, writing=False) as connection:
            return connection.execute(query.limit(1)).scalar()

    def confirmed(self, gateway_id: str, ledger_id: str) -> Confirmed:
        """What is held of a ledger; remembers how far it is complete."""
        table = schema.messages
        of_ledger = and_(table.c.gateway_id == gateway_id, table.c.ledger_id == ledger_id)
        is_it = and_(schema.ledgers.c.gateway_id == gateway_id, schema.ledgers.c.ledger_id == ledger_id)
        with transaction(self.engine) as connection:
            through = connection.execute(select(schema.ledgers.c.through).where(is_it)).scalar() or 0
            above = and_(of_ledger, table.c.sequence > through, table.c.state != MessageState.WAITING)
            held = connection.scalars(
                select(table.c.sequence).where(above).order_by(table.c.sequence).limit(_HELD_SCAN_MAX)
            ).all()
            highest = connection.execute(select(func.max(table.c.sequence)).where(of_ledger)).scalar() or 0
            parked = connection.scalars(
                select(table.c.sequence)
                .where(of_ledger, table.c.state == MessageState.PARKED)
                .order_by(table.c.sequence)
                .limit(gaps.PARKED_MAX + 1)
            ).all()
            if len(held) == _HELD_SCAN_MAX:
                highest = held[-1]
            value, complete = gaps.confirmed(ledger_id, through=through, held=held, highest=highest, parked=parked)
            if complete > through:
                connection.execute(update(schema.ledgers).where(is_it).values(through=complete))
        return value

    def compare_with_told(self, gateway_id: str, told: Confirmed, at: datetime) -> bool:
        """Compare with what a gateway has been told; an alert if the record holds less, as an old backup does.

        Returns:
            Whether the record holds less than was confirmed.
        """
        with transaction(self.engine) as connection:
            self._know_ledgers(connection, {(gateway_id, told.ledger_id): at})
        holds = self.confirmed(gateway_id, told.ledger_id)
        if holds.through >= told.through:
            return False
        self.alert(
            gateway_id,
            "record_behind_confirmation",
            f"headquarters had confirmed ledger {told.ledger_id} through {told.through} and now holds it only through "
            f"{holds.through}, as after restoring an old backup. The gateway is told; messages that it no longer keeps "
            f"are lost to the record: read its cards again.",
            at=at,
            subject=f"{told.ledger_id}:{told.through}:{holds.through}",
        )
        return True

    # --- waiting, parked, alerts ------------------------------------------------------------------------------

    def held(self, state: MessageState, limit: int = 1000) -> list[Row[Any]]:
        """Bodies kept aside for numbered messages in `state`: gateway_id, ledger_id, sequence, body, received_at."""
        bodies, numbers = schema.held_bodies, schema.messages
        query = (
            select(bodies)
            .join(
                numbers,
                and_(
                    numbers.c.gateway_id == bodies.c.gateway_id,
                    numbers.c.ledger_id == bodies.c.ledger_id,
                    numbers.c.sequence == bodies.c.sequence,
                    numbers.c.body_sha256 == bodies.c.body_sha256,
                ),
            )
            .where(numbers.c.state == state)
            .order_by(bodies.c.received_at)
            .limit(limit)
        )
        with transaction(self.engine, writing=False) as connection:
            return list(connection.execute(query))

    def alert(self, gateway_id: str, code: str, text: str, *, at: datetime, subject: str) -> None:
        """Raise an alert of headquarters' own, once for each `subject`."""
        row = alert_row(
            gateway_id=gateway_id, source="hq", code=code, text=text, at=at, received_at=at, subject=subject
        )
        with transaction(self.engine) as connection:
            self._add(connection, schema.alerts, [row])

    # --- gateways ---------------------------------------------------------------------------------------------

    def add_gateway(self, gateway_id: str, at: datetime) -> None:
        """Register a gateway; one that is known stays as it is."""
        row = {"gateway_id": gateway_id, "registered_at": at}
        with transaction(self.engine) as connection:
            connection.execute(self._insert(schema.gateways).on_conflict_do_nothing(), [row])

    def gateways(self) -> list[Row[Any]]:
        """Every registered gateway, by id."""
        with transaction(self.engine, writing=False) as connection:
            return list(connection.execute(select(schema.gateways).order_by(schema.gateways.c.gateway_id)))

    def set_bundle_key(self, gateway_id: str, verify_key: str) -> bool:
        """Remember a gateway's public key for bundles; False if there is no such gateway."""
        is_it = schema.gateways.c.gateway_id == gateway_id
        with transaction(self.engine) as connection:
            changed = connection.execute(update(schema.gateways).where(is_it).values(bundle_verify_key=verify_key))
            return changed.rowcount == 1

    # --- the stream's position --------------------------------------------------------------------------------

    def _save_position(self, connection: Connection, position: Position) -> None:
        statement = self._insert(schema.positions)
        row = {
            "consumer_group": position.consumer_group,
            "partition_id": position.partition_id,
            "offset": position.offset,
            "sequence_number": position.sequence_number,
        }
        changed = {name: statement.excluded[name] for name in ("offset", "sequence_number")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["consumer_group", "partition_id"], set_=changed), [row]
        )

    def positions(self, consumer_group: str) -> dict[str, Position]:
        """How far each partition has been recorded."""
        query = select(schema.positions).where(schema.positions.c.consumer_group == consumer_group)
        with transaction(self.engine, writing=False) as connection:
            return {r.partition_id: Position(**r._mapping) for r in connection.execute(query)}  # noqa: SLF001 - its API

    # --- reading ----------------------------------------------------------------------------------------------

    def observations(self) -> Iterator[Row[Any]]:
        """Every record, in an order that is the same however they arrived. Streams."""
        table = schema.records
        order = (table.c.card_id, table.c.path, table.c.media_id, table.c.model_id)
        with transaction(self.engine, writing=False) as connection:
            query = select(table).order_by(*order).execution_options(yield_per=1000)
            yield from connection.execute(query)


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
