"""SQL for the pages about gateways, alerts and what was set aside."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine, Row, and_, func, or_, select

from cloud_sync import schema
from cloud_sync.database import transaction
from cloud_sync.schema import MessageState

_gateways = schema.gateways
_status = schema.status
_receipts = schema.receipts
_alerts = schema.alerts
_held = schema.held_bodies
_messages = schema.messages

PAGE: Final = 50
_PREVIEW_BYTES: Final = 400


class GatewaysStore:
    """Reads about the fleet. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[Row[Any]]:
        """Every gateway with its latest status, by id."""
        query = (
            select(_gateways, _status.c.at.label("status_at"), _status.c.measures)
            .join(_status, _status.c.gateway_id == _gateways.c.gateway_id, isouter=True)
            .order_by(_gateways.c.gateway_id)
        )
        return self._rows(query)

    def get(self, gateway_id: str) -> Row[Any] | None:
        """One gateway, as `all` has it."""
        return next((row for row in self.all() if row.gateway_id == gateway_id), None)

    def receipts(self, gateway_id: str) -> list[Row[Any]]:
        """A gateway's latest readings."""
        query = select(_receipts).where(_receipts.c.gateway_id == gateway_id)
        return self._rows(query.order_by(_receipts.c.received_at.desc()).limit(PAGE))

    def not_recorded(self, gateway_id: str) -> dict[MessageState, int]:
        """How many of a gateway's messages are parked, and how many wait for a picture."""
        query = (
            select(_messages.c.state, func.count().label("messages"))
            .where(_messages.c.gateway_id == gateway_id, _messages.c.state != MessageState.RECORDED)
            .group_by(_messages.c.state)
        )
        return {MessageState(row.state): row.messages for row in self._rows(query)}

    def pictures(self, gateway_id: str) -> tuple[int, int]:
        """How many pictures of a gateway are in Blob Storage, and their bytes."""
        total_bytes = func.coalesce(func.sum(schema.media.c.size_bytes), 0).label("total_bytes")
        query = select(func.count().label("pictures"), total_bytes)
        [row] = self._rows(query.where(schema.media.c.gateway_id == gateway_id))
        return row.pictures, int(row.total_bytes)

    def alerts(self, *, gateway_id: str | None = None, before: tuple[datetime, bytes] | None = None) -> list[Row[Any]]:
        """Alerts, the latest first, at most one more than a page; `before`: when one was received, and its key."""
        query = select(_alerts)
        if gateway_id:
            query = query.where(_alerts.c.gateway_id == gateway_id)
        if before:
            at, key = before
            same_moment = and_(_alerts.c.received_at == at, _alerts.c.alert_key > key)
            query = query.where(_alerts.c.received_at <= at, or_(_alerts.c.received_at < at, same_moment))
        return self._rows(query.order_by(_alerts.c.received_at.desc(), _alerts.c.alert_key).limit(PAGE + 1))

    def set_aside(self) -> list[Row[Any]]:
        """Messages that were not recorded, the latest first, with the beginning of their bodies."""
        columns = [c for c in _held.c if c.name != "body"]
        body = func.substr(_held.c.body, 1, _PREVIEW_BYTES).label("beginning")
        query = select(*columns, body, func.length(_held.c.body).label("size_bytes"))
        return self._rows(query.order_by(_held.c.received_at.desc()).limit(PAGE))

    def _rows(self, query: Any) -> list[Row[Any]]:
        with transaction(self._engine, writing=False) as connection:
            return list(connection.execute(query))
