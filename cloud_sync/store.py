"""Headquarters' record, a transaction a method. SQLite on one machine, PostgreSQL beyond.

How a message is entered stands in recording.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud_sync import gaps, schema
from cloud_sync.database import connect, transaction
from cloud_sync.recording import Arrival, Recording
from cloud_sync.records import alert_row
from cloud_sync.schema import MessageState
from edge_module.wire import Confirmed

_HELD_SCAN_MAX: Final = 20_000
"""Sequences looked at above `through` for one confirmation; the rest is confirmed once the first gaps close."""


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
            touched = Recording(connection).take(arrivals)
            if position:
                self._save_position(connection, position)
        return touched

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
            Recording(connection).know_ledgers({(gateway_id, told.ledger_id): at})
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
            Recording(connection).add(schema.alerts, [row])

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

    def audited(self) -> Iterator[Row[Any]]:
        """The discards that were drawn for people to look at, each picture once."""
        table = schema.records
        nth = func.row_number().over(partition_by=table.c.media_id, order_by=(table.c.ledger_id, table.c.sequence))
        drawn = select(table, nth.label("nth")).where(table.c.audit_probability.is_not(None)).subquery()
        query = select(drawn).where(drawn.c.nth == 1)
        query = query.order_by(drawn.c.camera_serial, drawn.c.captured_at, drawn.c.media_id)
        with transaction(self.engine, writing=False) as connection:
            yield from connection.execute(query.execution_options(yield_per=1000))
