"""SQL for pictures: of one deployment, page by page, and everything about one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Engine, Row, and_, func, or_, select

from cloud_sync import schema
from cloud_sync.database import transaction
from cloud_sync.web.map_store import JUDGED
from edge_module.domain import Fate, Variant

_records = schema.records
_media = schema.media

PAGE: Final = 24
_GROUPS_MAX: Final = 200
SHOWABLE: Final = (Variant.WITHHELD, Variant.AUDIT, Variant.CROP, Variant.FRAME)
"""Variants that a page may show, the smallest first; an original carries metadata, and is not for looking at."""


class Tab(StrEnum):
    """Which pictures of a camera."""

    ALL = "all"
    PANDA = "panda"
    NOT_PANDA = "not-panda"
    TO_REVIEW = "to-review"


FATES: Final = {
    Tab.ALL: JUDGED,
    Tab.PANDA: (Fate.PANDA,),
    Tab.NOT_PANDA: (Fate.OTHER, Fate.BLANK, Fate.HUMAN, Fate.UNREADABLE),
    Tab.TO_REVIEW: (Fate.REVIEW,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A picture in a listing, to go on from; the newest come first, those without a time last."""

    captured_at: datetime | None
    record_key: bytes

    def __str__(self) -> str:
        at = "" if self.captured_at is None else str(round(self.captured_at.timestamp() * 1_000_000))
        return f"{at}~{self.record_key.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str` wrote.

        Raises:
            ValueError: it is something else.
        """
        at, _, key = text.partition("~")
        record_key = bytes.fromhex(key)
        if len(record_key) != 32:  # noqa: PLR2004 - SHA-256
            raise ValueError("not a place in a listing")
        try:
            captured_at = datetime.fromtimestamp(int(at) / 1_000_000, UTC) if at else None
        except (OverflowError, OSError) as exc:
            raise ValueError("not a place in a listing") from exc
        return cls(captured_at=captured_at, record_key=record_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some pictures of a listing; `older` is where the next page begins, None at the end."""

    pictures: Sequence[Row[Any]]
    variants: dict[str, set[str]]
    older: Cursor | None


class PicturesStore:
    """Reads for pictures. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, deployment_key: str | None, tab: Tab, before: Cursor | None = None) -> Page:
        """Pictures of a deployment, or of none (None), the newest first."""
        captured_at, record_key = _records.c.captured_at, _records.c.record_key
        query = select(_records).where(_of(deployment_key), _records.c.fate.in_(FATES[tab])).limit(PAGE + 1)
        if deployment_key is None:
            # What has no time belongs to no deployment. The two databases differ in where they put it by themselves.
            query = query.order_by(captured_at.is_(None))
        query = query.order_by(captured_at.desc(), record_key.desc())
        if before is not None:
            query = query.where(_after(before, deployment_key))
        with transaction(self._engine, writing=False) as connection:
            rows = list(connection.execute(query))
            shown = rows[:PAGE]
            stored = select(_media.c.media_id, _media.c.variant).where(
                _media.c.media_id.in_({r.media_id for r in shown}), _media.c.variant.in_(SHOWABLE)
            )
            variants: dict[str, set[str]] = {}
            for media_id, variant in connection.execute(stored):
                variants.setdefault(media_id, set()).add(variant)
        last = shown[-1] if len(rows) > PAGE else None
        older = Cursor(captured_at=last.captured_at, record_key=bytes(last.record_key)) if last else None
        return Page(pictures=shown, variants=variants, older=older)

    def record(self, record_key: bytes) -> Row[Any] | None:
        """One record."""
        with transaction(self._engine, writing=False) as connection:
            return connection.execute(select(_records).where(_records.c.record_key == record_key)).one_or_none()

    def stored(self, media_id: str) -> list[Row[Any]]:
        """What lies in Blob Storage of a picture, the smallest variant first."""
        query = select(_media).where(_media.c.media_id == media_id).order_by(_media.c.size_bytes, _media.c.gateway_id)
        with transaction(self._engine, writing=False) as connection:
            return list(connection.execute(query))

    def told_of(self, media_id: str, gateway_id: str) -> list[Row[Any]]:
        """Alerts of a gateway that name a picture, the latest first."""
        alerts = schema.alerts.c
        query = (
            select(alerts.code, alerts.text, alerts.at)
            .where(alerts.gateway_id == gateway_id, alerts.text.contains(media_id, autoescape=True))
            .order_by(alerts.at.desc())
            .limit(5)
        )
        with transaction(self._engine, writing=False) as connection:
            return list(connection.execute(query))

    def unassigned(self) -> list[Row[Any]]:
        """Pictures of no deployment, by camera and card: gateway_id, camera_serial, card_id, count, first and last."""
        table = _records.c
        by = (table.gateway_id, table.camera_serial, table.card_id)
        query = (
            select(
                *by,
                func.count().label("pictures"),
                func.min(table.captured_at).label("first_at"),
                func.max(table.captured_at).label("last_at"),
                func.max(table.camera_model).label("camera_model"),
            )
            .where(_of(None), table.fate.in_(JUDGED))
            .group_by(*by)
            .order_by(func.count().desc())
            .limit(_GROUPS_MAX)
        )
        with transaction(self._engine, writing=False) as connection:
            return list(connection.execute(query))


def _after(cursor: Cursor, deployment_key: str | None) -> Any:
    captured_at, record_key = _records.c.captured_at, _records.c.record_key
    if cursor.captured_at is None:
        return and_(captured_at.is_(None), record_key < cursor.record_key)
    # The first condition says nothing new; it is what an index can use.
    timed = and_(
        captured_at <= cursor.captured_at,
        or_(captured_at < cursor.captured_at, record_key < cursor.record_key),
    )
    return timed if deployment_key is not None else or_(timed, captured_at.is_(None))


def _of(deployment_key: str | None) -> Any:
    column = _records.c.deployment_key
    return column.is_(None) if deployment_key is None else column == deployment_key
