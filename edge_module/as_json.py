"""Records and receipts as JSON: on the wire, in the ledger, in the note beside a kept original, for ``scan --json``.

Standard library only; docs/wire.md documents every field.
"""

from typing import Any

from edge_module import columns
from edge_module.domain import (
    Belonging,
    BelongingSource,
    Box,
    CardReceipt,
    Exif,
    Fate,
    NamedFile,
    ReadingState,
    Record,
    Scores,
)
from edge_module.fields import Fields


def record_to_json(record: Record) -> dict[str, Any]:
    """A record as the wire, the ledger and the note beside a kept original have it."""
    value: dict[str, Any] = {
        name: getattr(record, name)
        for name in (
            "card_id",
            "reading_id",
            "path",
            "media_id",
            "model_id",
            "event_id",
            "fate",
            "reason",
            "size_bytes",
        )
    }
    if record.scores:
        value |= {
            "panda_probability": record.scores.panda,
            "probabilities": dict(record.scores.probabilities),
            "night": record.scores.night,
            "view": record.scores.view,
        }
        if box := record.scores.box:
            value["box"] = [round(1000 * edge) for edge in (box.left, box.top, box.right, box.bottom)]
    if record.withheld:  # said only where it is so: a record reads as before it could be
        value["withheld"] = True
    if record.audit_probability is not None:
        value["audit_probability"] = record.audit_probability
    exif = record.exif
    if exif.captured:
        value |= {
            "captured_at": exif.captured.at.isoformat(),
            "exif_time": exif.captured.exif_time,
            "utc_offset_min": exif.captured.utc_offset_min,
            "offset_source": exif.captured.offset_source,
        }
    cameras = {"camera_make": exif.camera_make, "camera_model": exif.camera_model, "camera_serial": exif.camera_serial}
    return value | {name: text for name, text in cameras.items() if text}


def record_from_json(value: object) -> Record:
    """Read what `record_to_json` wrote.

    Raises:
        WireError: a field is missing or wrong.
        ValueError: a value is not one of those allowed.
    """
    r = Fields.of(value, "record")
    probabilities = r.numbers("probabilities") if r.has("probabilities") else None
    scores = (
        Scores(probabilities=probabilities, night=r.flag("night"), view=r.text("view"), box=_box(r))
        if probabilities
        else None
    )
    captured = (
        columns.capture_time(r.text("exif_time"), r.integer("utc_offset_min", least=-840), r.text("offset_source"))
        if r.has("exif_time")
        else None
    )
    exif = Exif(
        captured=captured,
        camera_make=r.optional_text("camera_make"),
        camera_model=r.optional_text("camera_model"),
        camera_serial=r.optional_text("camera_serial"),
    )
    return Record(
        card_id=r.text("card_id"),
        reading_id=r.text("reading_id"),
        path=r.text("path"),
        media_id=columns.checked_media_id(r.text("media_id")),
        model_id=r.text("model_id"),
        event_id=r.text("event_id"),
        fate=Fate(r.text("fate")),
        reason=r.text("reason"),
        scores=scores,
        exif=exif,
        size_bytes=r.integer("size_bytes"),
        withheld=r.flag("withheld") if r.has("withheld") else False,
        audit_probability=r.number("audit_probability") if r.has("audit_probability") else None,
    )


def _box(fields: Fields) -> Box | None:
    if not fields.has("box"):
        return None
    left, top, right, bottom = fields.column("box", int, 4, nulls=False)
    return Box(left=left / 1000, top=top / 1000, right=right / 1000, bottom=bottom / 1000)


def receipt_to_json(receipt: CardReceipt) -> dict[str, Any]:
    """A receipt as ``scan --json``, the wire and headquarters have it: every class of guarantee 1, and the balance."""
    belonging = receipt.belonging
    whose = {
        "deployment_key": belonging.deployment_key,
        "deployment_source": belonging.source,
        "deployment_why": belonging.why,
    }
    return {
        "card_id": receipt.card_id,
        "reading_id": receipt.reading_id,
        "state": receipt.state,
        "seen": receipt.seen,
        **{fate: receipt.counts[fate] for fate in Fate},
        "pending": receipt.pending,
        "unconfirmed": receipt.unconfirmed,
        "originals_owed": receipt.originals_owed,
        "destroyed_by_wiping": receipt.destroyed_by_wiping,
        "safe_to_wipe": receipt.safe_to_wipe,
        "blockers": list(receipt.blockers),
        "named": [{"path": n.path, "fate": n.fate, "reason": n.reason} for n in receipt.named],
        "named_omitted": receipt.named_omitted,
        "cameras": dict(receipt.cameras),
        **{name: value for name, value in whose.items() if value},
    }


def receipt_from_json(value: object) -> CardReceipt:
    """Read what `receipt_to_json` wrote.

    Raises:
        WireError: a field is missing or wrong.
        ValueError: a value is not one of those allowed.
    """
    r = Fields.of(value, "receipt")
    named = tuple(
        NamedFile(
            path=n.text("path"),
            fate=Fate(n.text("fate")) if n.has("fate") else None,
            reason=n.text("reason"),
        )
        for n in (Fields.of(item, "receipt.named") for item in r.array("named"))
    )
    return CardReceipt(
        card_id=r.text("card_id"),
        reading_id=r.text("reading_id"),
        state=ReadingState(r.text("state")),
        counts={fate: r.integer(fate) for fate in Fate},
        pending=r.integer("pending"),
        unconfirmed=r.integer("unconfirmed"),
        originals_owed=r.integer("originals_owed"),
        destroyed_by_wiping=r.integer("destroyed_by_wiping"),
        blockers=tuple(r.column("blockers", str, None, nulls=False)),
        named=named,
        named_omitted=r.integer("named_omitted"),
        cameras={serial: int(n) for serial, n in r.numbers("cameras").items()},
        belonging=Belonging(
            deployment_key=r.optional_text("deployment_key"),
            source=BelongingSource(r.optional_text("deployment_source") or ""),
            why=r.optional_text("deployment_why") or "",
        ),
    )
