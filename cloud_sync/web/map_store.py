"""SQL for the map: what each deployment has seen. Reads indexes only, whose order is `records_deployment_fate`."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, func, select

from cloud_sync import schema
from cloud_sync.database import transaction
from edge_module.domain import Fate

_records = schema.records

JUDGED: Final = (Fate.PANDA, Fate.REVIEW, Fate.OTHER, Fate.BLANK, Fate.HUMAN, Fate.UNREADABLE)
"""Pictures in their own right: a duplicate is its twin's, an ignored file is none."""

SIGHTINGS_MAX: Final = 1000
"""Panda pictures sent with a map, the latest; counts and heat are of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when, inclusive, to when, exclusive; None: open."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """As conditions on records."""
        captured_at = _records.c.captured_at
        clauses = [captured_at >= self.starts_at] if self.starts_at else []
        return [*clauses, captured_at < self.ends_at] if self.ends_at else clauses


@dataclass(slots=True)
class Seen:
    """What a deployment has seen within a span."""

    counts: dict[Fate, int] = field(default_factory=dict)
    latest_at: datetime | None = None
    latest_panda_at: datetime | None = None

    @property
    def pictures(self) -> int:
        """All of them."""
        return sum(self.counts.values())


class MapStore:
    """Reads for the map. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seen(self, span: Span, keys: Collection[str] = ()) -> dict[str | None, Seen]:
        """By deployment key, what was seen; under None what belongs to no deployment (without `keys`)."""
        key, fate = _records.c.deployment_key, _records.c.fate
        query = (
            select(key, fate, func.count(), func.max(_records.c.captured_at))
            .where(fate.in_(JUDGED), *span.clauses(), *([key.in_(keys)] if keys else []))
            .group_by(key, fate)
        )
        found: dict[str | None, Seen] = {}
        with transaction(self._engine, writing=False) as connection:
            for deployment_key, name, count, latest_at in connection.execute(query):
                seen = found.setdefault(deployment_key, Seen())
                seen.counts[Fate(name)] = count
                seen.latest_at = max(filter(None, (seen.latest_at, latest_at)), default=None)
                if name == Fate.PANDA:
                    seen.latest_panda_at = latest_at
        return found

    def sightings(self, span: Span, keys: Collection[str] = (), limit: int = SIGHTINGS_MAX) -> list[Row[Any]]:
        """The latest panda pictures of deployments."""
        table = _records.c
        query = (
            select(
                table.record_key,
                table.deployment_key,
                table.event_id,
                table.captured_at,
                table.utc_offset_min,
                table.panda_probability,
            )
            .where(table.fate == Fate.PANDA, table.deployment_key.is_not(None), *span.clauses())
            .where(*([table.deployment_key.in_(keys)] if keys else []))
            .order_by(table.captured_at.desc())
            .limit(limit)
        )
        with transaction(self._engine, writing=False) as connection:
            return list(connection.execute(query))
