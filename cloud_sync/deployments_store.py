"""Every SQL statement on deployments, and on which of them a record belongs to."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    ScalarSelect,
    and_,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    text,
    update,
)

from cloud_sync import deployments, schema
from cloud_sync.database import transaction
from cloud_sync.deployments import Deployment
from cloud_sync.geo import Position
from edge_module.errors import ConfigError

_table = schema.deployments
_records = schema.records
_receipts = schema.receipts
_told = schema.deployments_told


def _first(column: str, value: str) -> ScalarSelect[str]:
    """The deployment whose `column` is the record's `value`, at the record's time. There is one at most."""
    return (
        select(_table.c.deployment_key)
        .where(
            _table.c[column] == _records.c[value],
            _table.c[column] != "",
            _table.c.starts_at <= _records.c.captured_at,
            or_(_table.c.ends_at.is_(None), _records.c.captured_at < _table.c.ends_at),
        )
        .correlate(_records)
        .scalar_subquery()
    )


def _of_this_reading() -> ColumnElement[bool]:
    return and_(
        _receipts.c.gateway_id == _records.c.gateway_id,
        _receipts.c.card_id == _records.c.card_id,
        _receipts.c.reading_id == _records.c.reading_id,
    )


def _assigned() -> ScalarSelect[str]:
    """The deployment that people have assigned the record's card to, if it is known."""
    query = select(_table.c.deployment_key).where(_table.c.deployment_key == _receipts.c.assigned_key)
    return query.where(_of_this_reading()).correlate(_records).scalar_subquery()


_BY_SERIAL: Final = _first("camera_id", "camera_serial")
_BY_CARD: Final = _first("card_id", "card_id")
SQL_ASSIGNMENT: Final = func.coalesce(
    _assigned(), case((_BY_SERIAL != _BY_CARD, null()), else_=func.coalesce(_BY_SERIAL, _BY_CARD))
)


class DeploymentsStore:
    """Deployments in headquarters' database. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[Deployment]:
        """Every deployment, by label."""
        with transaction(self._engine, writing=False) as connection:
            found = _read(connection)
        return sorted(found, key=lambda d: (d.label.casefold(), d.starts_at))

    def get(self, key: str) -> Deployment | None:
        """One deployment."""
        with transaction(self._engine, writing=False) as connection:
            return next(iter(_read(connection, _table.c.deployment_key == key)), None)

    def save(self, given: Sequence[Deployment], *, by: str, new: bool = False) -> int:
        """Enter deployments, in place of those with the same ids, and find again which records belong to which.

        Args:
            given: whole or not at all.
            by: the account, or ``import``.
            new: refuse those whose id is taken.

        Returns:
            How many records have changed their deployment.

        Raises:
            ConfigError: a picture could belong to two deployments, an id is taken, a gateway is not registered.
        """
        with transaction(self._engine) as connection:
            _lock(connection)
            before = {d.deployment_id: d for d in _read(connection)}
            faults = [f"deploymentID: {d.deployment_id!r} is taken" for d in given if new and d.deployment_id in before]
            faults += deployments.faults_between(list((before | {d.deployment_id: d for d in given}).values()))
            known = set(connection.scalars(select(schema.gateways.c.gateway_id)))
            faults += [
                f"gateway {gateway_id!r} is not registered: `python -m cloud_sync gateway list` names those that are"
                for gateway_id in sorted({d.gateway_id for d in given} - known - {""})
            ]
            if faults:
                raise ConfigError(faults)
            keys = [d.key for d in given]
            touched = [*given, *(before[d.deployment_id] for d in given if d.deployment_id in before)]
            connection.execute(delete(_table).where(_table.c.deployment_key.in_(keys)))
            connection.execute(insert(_table), [_row(d, by) for d in given])
            return _assign(connection, touched)

    def remove(self, key: str) -> int:
        """Remove a deployment; its records find another, or become unassigned. Returns how many."""
        with transaction(self._engine) as connection:
            _lock(connection)
            touched = _read(connection, _table.c.deployment_key == key)
            connection.execute(delete(_table).where(_table.c.deployment_key == key))
            return _assign(connection, touched)

    # --- gateways' twins --------------------------------------------------------------------------------------

    def to_tell(self) -> dict[str, list[dict[str, Any]]]:
        """By gateway, what its twin should say and does not yet."""
        with transaction(self._engine, writing=False) as connection:
            by_gateway: dict[str, list[Deployment]] = {}
            for deployment in _read(connection, _table.c.gateway_id != ""):
                by_gateway.setdefault(deployment.gateway_id, []).append(deployment)
            told = {r.gateway_id: bytes(r.told_sha256) for r in connection.execute(select(_told))}
        wanted = {g: deployments.for_twin(by_gateway.get(g, [])) for g in by_gateway.keys() | told.keys()}
        return {g: value for g, value in sorted(wanted.items()) if told.get(g) != deployments.digest_of(value)}

    def told(self, gateway_id: str, value: Sequence[Mapping[str, Any]]) -> None:
        """Remember that a gateway's twin says `value`."""
        row = {
            "gateway_id": gateway_id,
            "told_sha256": deployments.digest_of(value),
            "told_at": datetime.now(UTC),
        }
        with transaction(self._engine) as connection:
            connection.execute(delete(_told).where(_told.c.gateway_id == gateway_id))
            connection.execute(insert(_told), [row])


def assign(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `records` that are about to be entered -> the same, each with its ``deployment_key``."""
    serials = {row["camera_serial"] for row in rows} - {None, ""}
    cards = {row["card_id"] for row in rows}
    assigned = assigned_keys(connection, {(r["gateway_id"], r["card_id"], r["reading_id"]) for r in rows})
    either = or_(
        _table.c.camera_id.in_(serials),
        _table.c.card_id.in_(cards),
        _table.c.deployment_key.in_(set(assigned.values())),
    )
    candidates = _read(connection, either)
    return [
        row
        | {
            "deployment_key": deployments.deployment_key(
                row, candidates, assigned.get((row["gateway_id"], row["card_id"], row["reading_id"]))
            )
        }
        for row in rows
    ]


def assigned_keys(
    connection: Connection, readings: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str, str], str]:
    """What people have assigned cards to, by (gateway, card, reading)."""
    query = select(_receipts.c.gateway_id, _receipts.c.card_id, _receipts.c.reading_id, _receipts.c.assigned_key)
    query = query.where(
        _receipts.c.assigned_key.is_not(None), _receipts.c.reading_id.in_({reading for _, _, reading in readings})
    )
    return {(r[0], r[1], r[2]): r[3] for r in connection.execute(query) if (r[0], r[1], r[2]) in readings}


def assign_readings(connection: Connection, readings: Collection[tuple[str, str, str]]) -> None:
    """People have decided on these cards anew: find their records' deployments again."""
    for gateway_id, card_id, reading_id in readings:
        connection.execute(
            update(_records)
            .where(
                _records.c.gateway_id == gateway_id,
                _records.c.card_id == card_id,
                _records.c.reading_id == reading_id,
                _records.c.deployment_key.is_distinct_from(SQL_ASSIGNMENT),
            )
            .values(deployment_key=SQL_ASSIGNMENT)
        )


def _lock(connection: Connection) -> None:
    """Let nobody enter records by the old deployments while they change; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE deployments IN ACCESS EXCLUSIVE MODE"))


def _assign(connection: Connection, touched: Sequence[Deployment]) -> int:
    cameras = {d.camera_id for d in touched} - {""}
    cards = {d.card_id for d in touched} - {""}
    statement = (
        update(_records)
        .where(
            or_(
                _records.c.camera_serial.in_(cameras),
                _records.c.card_id.in_(cards),
                _records.c.deployment_key.in_({d.key for d in touched}),
            ),
            _records.c.deployment_key.is_distinct_from(SQL_ASSIGNMENT),
        )
        .values(deployment_key=SQL_ASSIGNMENT)
    )
    return connection.execute(statement).rowcount


def _read(connection: Connection, *where: Any) -> list[Deployment]:
    return [_deployment(row) for row in connection.execute(select(_table).where(*where))]


def _deployment(row: Row[Any]) -> Deployment:
    return Deployment(
        deployment_id=row.deployment_id,
        name=row.name,
        position=Position(latitude_deg=row.latitude_deg, longitude_deg=row.longitude_deg),
        starts_at=row.starts_at.astimezone(timezone(timedelta(minutes=row.starts_offset_min))),
        ends_at=row.ends_at.astimezone(timezone(timedelta(minutes=row.ends_offset_min))) if row.ends_at else None,
        camera_id=row.camera_id,
        card_id=row.card_id,
        gateway_id=row.gateway_id,
        details=row.details,
    )


def _row(deployment: Deployment, by: str) -> dict[str, Any]:
    return {
        "deployment_key": deployment.key,
        "deployment_id": deployment.deployment_id,
        "name": deployment.name,
        "latitude_deg": deployment.position.latitude_deg,
        "longitude_deg": deployment.position.longitude_deg,
        "starts_at": deployment.starts_at,
        "starts_offset_min": deployments.offset_min(deployment.starts_at),
        "ends_at": deployment.ends_at,
        "ends_offset_min": deployments.offset_min(deployment.ends_at) if deployment.ends_at else None,
        "camera_id": deployment.camera_id,
        "card_id": deployment.card_id,
        "gateway_id": deployment.gateway_id,
        "details": dict(deployment.details),
        "changed_at": datetime.now(UTC),
        "changed_by": by,
    }
