"""A decoded message -> rows for the tables of schema.py. Pure."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Table

from cloud_sync import schema
from cloud_sync.schema import ID_MAX
from edge_module import as_json, wire
from edge_module.domain import BelongingSource, CaptureTime, Record, Variant
from edge_module.errors import WireError

Row = dict[str, Any]
Rows = list[tuple[Table, list[Row]]]

_CODE_MAX: Final = 64
_KEY_MAX: Final = 16
_VARIANT_MAX: Final = 32
_BLOB_NAME: Final = re.compile(r"[A-Za-z0-9._/-]{1,1024}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who sent a message, and when it reached headquarters.

    Args:
        gateway_id: from IoT Hub's annotations, or a bundle's signature; never from the body.
    """

    gateway_id: str
    ledger_id: str
    sequence: int
    received_at: datetime


def digest(*parts: str) -> bytes:
    """SHA-256 of texts in their order: a key of fixed size for rows whose own key has no bound."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def container_of(gateway_id: str) -> str:
    """The gateway's own container in Blob Storage."""
    return f"gw-{gateway_id}"


def rows_of(origin: Origin, payload: wire.Payload) -> Rows:
    """Turn a message's payload into rows by table.

    Raises:
        WireError: an identifier is longer than the record can hold.
    """
    return _MAKERS[type(payload)](origin, payload)


def alert_row(
    *, gateway_id: str, source: str, code: str, text: str, at: datetime, received_at: datetime, subject: str
) -> Row:
    """An alert. The same `subject` (what exactly it is about) gives the same row, however often it is raised."""
    return {
        "alert_key": digest(gateway_id, source, code, subject),
        "gateway_id": gateway_id,
        "source": source,
        "code": code,
        "text": text,
        "at": at,
        "received_at": received_at,
    }


def _known_by(origin: Origin) -> Row:
    return {"gateway_id": origin.gateway_id, "ledger_id": origin.ledger_id, "sequence": origin.sequence}


def _bounded(value: str, name: str, longest: int = ID_MAX) -> str:
    if len(value) > longest:
        raise WireError(f"{name}: {len(value)} characters, {longest} allowed")
    return value


def _records(origin: Origin, payload: wire.Records) -> Rows:
    first = payload.records[0]
    for name in ("card_id", "reading_id", "model_id"):
        _bounded(getattr(first, name), name)
    return [(schema.records, [_record(origin, record) for record in payload.records])]


def _record(origin: Origin, record: Record) -> Row:
    scores, exif = record.scores, record.exif
    captured = exif.captured
    serial = exif.camera_serial
    return {
        "record_key": digest(record.card_id, record.path, record.media_id, record.model_id),
        "gateway_id": origin.gateway_id,
        "ledger_id": origin.ledger_id,
        "sequence": origin.sequence,
        "card_id": record.card_id,
        "reading_id": record.reading_id,
        "path": record.path,
        "media_id": record.media_id,
        "model_id": record.model_id,
        "event_id": _bounded(record.event_id, "event_id"),
        "fate": record.fate.value,
        "reason": record.reason,
        "size_bytes": record.size_bytes,
        "panda_probability": scores.panda if scores else None,
        "probabilities": dict(scores.probabilities) if scores else None,
        "night": scores.night if scores else None,
        "view": _bounded(scores.view, "view", 16) if scores else None,
        "box": [box.left, box.top, box.right, box.bottom] if scores and (box := scores.box) else None,
        "withheld": record.withheld,
        "audit_probability": record.audit_probability,
        "captured_at": _in_utc(captured) if captured else None,
        "exif_time": _bounded(captured.exif_time, "exif_time", 19) if captured else None,
        "utc_offset_min": captured.utc_offset_min if captured else None,
        "offset_source": captured.offset_source.value if captured else None,
        "camera_make": exif.camera_make,
        "camera_model": exif.camera_model,
        # What a camera writes is not the gateway's to bound: cut here, so that one camera cannot park a batch.
        "camera_serial": serial[:ID_MAX] if serial else None,
    }


def _in_utc(captured: CaptureTime) -> datetime | None:
    """None where a camera's clock lies so far off that UTC has no such year; the raw EXIF time is kept all the same."""
    try:
        return (captured.local - timedelta(minutes=captured.utc_offset_min)).replace(tzinfo=UTC)
    except OverflowError:
        return None


def _media_stored(origin: Origin, payload: wire.MediaStored) -> Rows:
    if payload.variant == Variant.ORIGINAL and payload.blob_sha256 != payload.media_id:
        raise WireError("media_stored.blob_sha256: an original's is its media_id")
    row = {
        **_known_by(origin),
        "media_id": payload.media_id,
        "variant": _bounded(payload.variant, "variant", _VARIANT_MAX),
        "container": container_of(origin.gateway_id),
        "blob_name": checked_blob_name(payload.blob_name),
        "blob_sha256": payload.blob_sha256,
        "size_bytes": payload.size_bytes,
        "verified_at": origin.received_at,
    }
    return [(schema.media, [row])]


def checked_blob_name(name: str) -> str:
    """Only a name that stays in the container whatever a client makes of the path."""
    if not _BLOB_NAME.fullmatch(name) or {"", ".", ".."} & set(name.split("/")):
        raise WireError(f"blob_name: {name[:80]!r} must be of letters, digits, - _ . and / between names")
    return name


def _receipt(origin: Origin, payload: wire.Receipt) -> Rows:
    receipt = payload.receipt
    assigned_key = receipt.belonging.deployment_key
    if receipt.belonging.source is not BelongingSource.HEADQUARTERS or len(assigned_key or "") > _KEY_MAX:
        assigned_key = None  # found by the gateway: headquarters finds each record's own
    row = {
        **_known_by(origin),
        "card_id": _bounded(receipt.card_id, "card_id"),
        "reading_id": _bounded(receipt.reading_id, "reading_id"),
        "state": receipt.state.value,
        "seen": receipt.seen,
        "pending": receipt.pending,
        "safe_to_wipe": receipt.safe_to_wipe,
        "receipt": as_json.receipt_to_json(receipt),
        "assigned_key": assigned_key,
        "received_at": origin.received_at,
    }
    return [(schema.receipts, [row])]


def _alert(origin: Origin, payload: wire.Alert) -> Rows:
    row = alert_row(
        gateway_id=origin.gateway_id,
        source="gateway",
        code=_bounded(payload.code, "code", _CODE_MAX),
        text=payload.text,
        at=_instant(payload.at, "at"),
        received_at=origin.received_at,
        subject=wire.message_id(origin.ledger_id, origin.sequence),
    )
    return [(schema.alerts, [row])]


def _status(origin: Origin, payload: wire.Status) -> Rows:
    row = {
        **_known_by(origin),
        "at": _instant(payload.at, "at"),
        "measures": dict(payload.measures),
        "received_at": origin.received_at,
    }
    return [(schema.status, [row])]


def _tombstone(origin: Origin, payload: wire.Tombstone) -> Rows:
    row = {
        **_known_by(origin),
        "buried_kind": _bounded(payload.buried_kind, "buried_kind", _CODE_MAX),
        "reason": payload.reason,
        "media_ids": list(payload.media_ids),
    }
    alert = alert_row(
        gateway_id=origin.gateway_id,
        source="hq",
        code="buried",
        text=f"the gateway buried a message of kind {payload.buried_kind}: {payload.reason}",
        at=origin.received_at,
        received_at=origin.received_at,
        subject=wire.message_id(origin.ledger_id, origin.sequence),
    )
    return [(schema.tombstones, [row]), (schema.alerts, [alert])]


def _instant(at: datetime, name: str) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as exc:
        raise WireError(f"{name}: {at.isoformat()} is outside the years that UTC has") from exc


_MAKERS: Final[dict[type, Callable[[Origin, Any], Rows]]] = {
    wire.Records: _records,
    wire.MediaStored: _media_stored,
    wire.Receipt: _receipt,
    wire.Alert: _alert,
    wire.Status: _status,
    wire.Tombstone: _tombstone,
}
