"""Records as columns: what a `records` message holds. Verdicts of one reading by one model, up to 500 at a time.

Columns of the same kind of value compress to 40-odd bytes a frame, of which 32 are the media id;
tests/unit/test_wire.py holds them to 60. The box of the view that was judged stays behind: no crop is made of them.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, Final

from edge_module.domain import CaptureTime, Exif, Fate, OffsetSource, Record, Scores
from edge_module.errors import WireError
from edge_module.fields import Fields

BATCH_RECORDS_MAX: Final = 500
_EXIF_TIME: Final = "%Y:%m:%d %H:%M:%S"
_PADDED_EXIF_TIME: Final = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", re.ASCII)
_MEDIA_ID_BYTES: Final = 32


def pack(records: Sequence[Record]) -> dict[str, Any]:
    """Turn records into columns.

    Raises:
        ValueError: there are too many, none, or they are of several readings or models.
    """
    if not 1 <= len(records) <= BATCH_RECORDS_MAX:
        raise ValueError(f"a batch is 1 to {BATCH_RECORDS_MAX} records, not {len(records)}")
    first = records[0]
    if any((r.reading_id, r.model_id) != (first.reading_id, first.model_id) for r in records):
        raise ValueError("a batch is of one reading and model")
    labels = next((list(r.scores.probabilities) for r in records if r.scores), [])
    times = [r.exif.captured for r in records]
    few: dict[str, Any] = {}  # said only where it is so of some
    if any(r.withheld for r in records):
        few["withheld"] = [int(r.withheld) for r in records]
    if any(r.audit_probability is not None for r in records):
        few["audit"] = [(i, r.audit_probability) for i, r in enumerate(records) if r.audit_probability is not None]
    return {
        **few,
        "card_id": first.card_id,
        "reading_id": first.reading_id,
        "model_id": first.model_id,
        "path": [r.path for r in records],
        "has_media": [int(bool(r.media_id)) for r in records],
        "media_id": base64.b64encode(b"".join(bytes.fromhex(r.media_id) for r in records)).decode(),
        "event_id": [r.event_id for r in records],
        "fate": [r.fate for r in records],
        "reason": [r.reason for r in records],
        "size_bytes": [r.size_bytes for r in records],
        "labels": labels,
        "thousandths": [
            [round(1000 * r.scores.probabilities[label]) if r.scores else None for r in records] for label in labels
        ],
        "night": [int(r.scores.night) if r.scores else None for r in records],
        "view": [r.scores.view if r.scores else None for r in records],
        "exif_time": [t.exif_time if t else None for t in times],
        "utc_offset_min": [t.utc_offset_min if t else None for t in times],
        "offset_source": [t.offset_source if t else None for t in times],
        "camera_make": [r.exif.camera_make for r in records],
        "camera_model": [r.exif.camera_model for r in records],
        "camera_serial": [r.exif.camera_serial for r in records],
    }


def unpack(fields: Fields) -> tuple[Record, ...]:
    """Turn columns into records.

    Raises:
        WireError: a column is missing, of another length or type.
        ValueError: a value is not one of those allowed.
    """
    paths = fields.column("path", str, None, nulls=False)
    count = len(paths)
    if not 1 <= count <= BATCH_RECORDS_MAX:
        raise WireError(f"records.path: {count} records, 1 to {BATCH_RECORDS_MAX} allowed")
    has_media = fields.column("has_media", int, count, nulls=False)
    try:
        packed = base64.b64decode(fields.text("media_id", longest=None), validate=True)
    except binascii.Error as exc:
        raise WireError("records.media_id: not base64") from exc
    if len(packed) != _MEDIA_ID_BYTES * sum(1 for has in has_media if has):
        raise WireError("records.media_id: length does not fit has_media")
    ids = iter(packed[i : i + _MEDIA_ID_BYTES].hex() for i in range(0, len(packed), _MEDIA_ID_BYTES))
    labels = fields.column("labels", str, None, nulls=False)
    columns = [Fields.column_of(c, int, count, "records.thousandths") for c in fields.array("thousandths")]
    if len(columns) != len(labels):
        raise WireError("records.thousandths: one column a label is needed")
    scores = [
        _scores(labels, row, night, view)
        for *row, night, view in zip(
            *columns, fields.column("night", int, count), fields.column("view", str, count), strict=True
        )
    ]
    exifs = [
        Exif(
            captured=capture_time(time, offset, source) if time else None,
            camera_make=make,
            camera_model=model,
            camera_serial=serial,
        )
        for time, offset, source, make, model, serial in zip(
            fields.column("exif_time", str, count),
            fields.column("utc_offset_min", int, count),
            fields.column("offset_source", str, count),
            fields.column("camera_make", str, count),
            fields.column("camera_model", str, count),
            fields.column("camera_serial", str, count),
            strict=True,
        )
    ]
    audit = _audit(fields, count)
    card_id, reading_id, model_id = (fields.text(name) for name in ("card_id", "reading_id", "model_id"))
    return tuple(
        Record(
            card_id=card_id,
            reading_id=reading_id,
            path=path,
            media_id=next(ids) if has else "",
            model_id=model_id,
            event_id=event_id,
            fate=Fate(fate),
            reason=reason,
            scores=score,
            exif=exif,
            size_bytes=size,
            withheld=bool(held),
            audit_probability=audit.get(i),
        )
        for i, (path, has, event_id, fate, reason, size, score, exif, held) in enumerate(
            zip(
                paths,
                has_media,
                fields.column("event_id", str, count, nulls=False),
                fields.column("fate", str, count, nulls=False),
                fields.column("reason", str, count, nulls=False),
                fields.column("size_bytes", int, count, nulls=False),
                scores,
                exifs,
                fields.column("withheld", int, count, nulls=False) if fields.has("withheld") else repeat(0, count),
                strict=True,
            )
        )
    )


def _audit(fields: Fields, count: int) -> dict[int, float]:
    """Which of the records were drawn for the audit, with which probability."""
    drawn: dict[int, float] = {}
    for pair in fields.array("audit", []):
        if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and 0 <= pair[0] < count):  # noqa: PLR2004
            raise WireError("records.audit: must be pairs of a record's place and a probability")
        drawn[pair[0]] = Fields({"probability": pair[1]}, "records.audit").number("probability")
    return drawn


def _scores(labels: list[Any], thousandths: list[Any], night: Any, view: Any) -> Scores | None:
    if any(t is None for t in thousandths) or not labels:
        return None
    probabilities = {label: t / 1000 for label, t in zip(labels, thousandths, strict=True)}
    return Scores(probabilities=probabilities, night=bool(night), view=str(view))


def capture_time(exif_time: str, utc_offset_min: int | None, offset_source: str) -> CaptureTime:
    """Put a capture time together from its parts on the wire.

    Raises:
        ValueError: the text is not an EXIF time, or the source is not known.
    """
    if utc_offset_min is None:
        raise ValueError("utc_offset_min: is missing beside exif_time")
    return CaptureTime(
        exif_time=exif_time,
        local=_local(exif_time),
        utc_offset_min=utc_offset_min,
        offset_source=OffsetSource(offset_source),
    )


def _local(exif_time: str) -> datetime:
    if _PADDED_EXIF_TIME.fullmatch(exif_time):  # all but a few; strptime takes five times as long
        return datetime.fromisoformat(exif_time[:10].replace(":", "-") + exif_time[10:])
    return datetime.strptime(exif_time, _EXIF_TIME)  # noqa: DTZ007 - the offset stands beside it


def checked_media_id(text: str) -> str:
    """A SHA-256 in hexadecimal, or nothing.

    Raises:
        WireError: it is something else.
    """
    if text and (len(text) != 2 * _MEDIA_ID_BYTES or text != bytes.fromhex(text).hex()):
        raise WireError(f"media_id: {text[:80]!r} is not a SHA-256 in lower-case hexadecimal")
    return text
