"""The contract between gateway and headquarters: versioned payloads to and from the domain. Standard library only.

A message's body carries `v` (version), `kind`, `ledger_id` and `sequence`; with the sender, which headquarters takes
from IoT Hub's annotations and never from here, the last two identify it. What people look at is readable JSON, one
message each, so that IoT Hub can route on the body; the rest goes as `records`, columns under zlib (columns.py).
docs/wire.md documents every field; tests/golden/wire holds a body of each kind for each version. Old versions decode
for ever; unknown fields pass.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from edge_module import as_json, columns
from edge_module.domain import (
    CardReceipt,
    Fate,
    Record,
)
from edge_module.errors import WireError
from edge_module.fields import Fields

VERSION: Final = 1
MESSAGE_MAX_BYTES: Final = 256 * 1024
"""IoT Hub refuses more."""

JSON_TYPE: Final = "application/json"
BATCH_TYPE: Final = "application/vnd.ponya.records+zlib"
_INFLATED_MAX_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Verdicts: one `panda` or `review` as JSON, or up to 500 others of one reading and model as columns."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStored:
    """A picture lies in Blob Storage. Sent after the blob, so that words never precede pictures.

    Args:
        variant: one of `domain.Variant`.
        blob_name: within the gateway's own container.
    """

    media_id: str
    variant: str
    blob_name: str
    blob_sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A card's receipt, whenever its reading ends or its safety changes."""

    receipt: CardReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something a person should know. `code` is stable (docs/wire.md lists them), `text` is for people."""

    code: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the gateway is. Free-form measurements by name; headquarters keeps the latest."""

    at: datetime
    measures: dict[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Stands under the number of a message that can never be delivered, so that no gap is waited for."""

    buried_kind: str
    reason: str
    media_ids: tuple[str, ...]


Payload = Records | MediaStored | Receipt | Alert | Status | Tombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A decoded body. (sender, `ledger_id`, `sequence`) identifies it."""

    version: int
    ledger_id: str
    sequence: int
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A body ready to be sent, with the content type that tells how to read it."""

    kind: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What headquarters' database holds of one ledger: the desired property ``confirmed``.

    Args:
        through: every sequence up to this one is recorded or parked.
        highest: every sequence up to this one is recorded or parked, or missing. Not above the highest that arrived.
        missing: inclusive ranges between the two that headquarters does not hold, the lowest first.
        parked: sequences that headquarters could not understand, kept aside there; their files are not safe to wipe.
    """

    ledger_id: str
    through: int
    highest: int
    missing: tuple[tuple[int, int], ...] = ()
    parked: tuple[int, ...] = ()

    def to_twin(self) -> dict[str, Any]:
        """The value of the desired property."""
        return {
            "ledger_id": self.ledger_id,
            "through": self.through,
            "highest": self.highest,
            "missing": [list(r) for r in self.missing],
            "parked": list(self.parked),
        }

    @classmethod
    def from_twin(cls, value: object) -> "Confirmed":
        """Read the desired property.

        Raises:
            WireError: it does not have the form above.
        """
        fields = Fields.of(value, "confirmed")
        ranges = []
        for item in fields.array("missing", []):
            if not (isinstance(item, list) and len(item) == 2 and all(type(n) is int and n >= 0 for n in item)):  # noqa: PLR2004
                raise WireError(f"confirmed.missing: {item!r} is not a pair of sequences")
            ranges.append((item[0], item[1]))
        through, highest = fields.integer("through"), fields.integer("highest")
        ends = [through, *(n for r in ranges for n in r), highest]
        if through > highest or any(later < earlier for earlier, later in pairwise(ends)):
            raise WireError("confirmed: through, missing and highest must ascend")
        parked = fields.array("parked", [])
        if not all(type(n) is int for n in parked):
            raise WireError("confirmed.parked: must be sequences")
        return cls(
            ledger_id=fields.text("ledger_id"),
            through=through,
            highest=highest,
            missing=tuple(ranges),
            parked=tuple(parked),
        )


SAS_REQUEST: Final = Encoded(kind="sas_request", content_type=JSON_TYPE, body=b'{"v":1,"kind":"sas_request"}')
"""Asks headquarters for an upload credential. Carries no number: nothing is lost if it is."""


def message_id(ledger_id: str, sequence: int) -> str:
    """The message's id on the wire: the same however often it is sent."""
    return f"{ledger_id}:{sequence}"


# --- encoding -----------------------------------------------------------------------------------------------------


def encode(ledger_id: str, sequence: int, payload: Payload) -> Encoded:
    """Encode a message. The same values give the same bytes: headquarters compares their hashes."""
    head = {"v": VERSION, "ledger_id": ledger_id, "sequence": sequence}
    match payload:
        case Records(records=(record,)) if record.fate in (Fate.PANDA, Fate.REVIEW):
            return _json("record", {**head, "record": as_json.record_to_json(record)})
        case Records(records=records):
            body = zlib.compress(_dump({**head, "kind": "records", **columns.pack(records)}), 9)
            return Encoded(kind="records", content_type=BATCH_TYPE, body=body)
        case MediaStored():
            names = ("media_id", "variant", "blob_name", "blob_sha256", "size_bytes")
            return _json("media_stored", {**head, **{name: getattr(payload, name) for name in names}})
        case Receipt(receipt=receipt):
            return _json("receipt", {**head, "receipt": as_json.receipt_to_json(receipt)})
        case Alert(code=code, text=text, at=at):
            return _json("alert", {**head, "code": code, "text": text, "at": at.isoformat()})
        case Status(at=at, measures=measures):
            return _json("status", {**head, "at": at.isoformat(), "measures": measures})
        case Tombstone(buried_kind=kind, reason=reason, media_ids=ids):
            return _json("tombstone", {**head, "buried_kind": kind, "reason": reason, "media_ids": list(ids)})


def _json(kind: str, value: dict[str, Any]) -> Encoded:
    return Encoded(kind=kind, content_type=JSON_TYPE, body=_dump({"kind": kind, **value}))


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


# --- decoding -----------------------------------------------------------------------------------------------------


def decode(body: bytes) -> Message:
    """Decode a body of any version so far, whatever its content type claims.

    Raises:
        WireError: not a message, of an unknown version or kind, or a field is absent or wrong; names the field.
    """
    fields = Fields.of(_parse(body), "message")
    version = fields.integer("v")
    if version != VERSION:
        raise WireError(f"message.v: version {version} is not known, {VERSION} is")
    kind = fields.text("kind")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise WireError(f"message.kind: {kind!r} is not known")
    try:
        payload = decoder(fields)
    except (ValueError, OverflowError) as exc:
        raise WireError(f"{kind}: {exc}") from exc
    return Message(
        version=version, ledger_id=fields.text("ledger_id"), sequence=fields.integer("sequence"), payload=payload
    )


def _parse(body: bytes) -> object:
    try:
        if not body.startswith(b"{"):
            inflater = zlib.decompressobj()
            body = inflater.decompress(body, _INFLATED_MAX_BYTES)
            if not inflater.eof:
                raise WireError(f"message: inflates to more than {_INFLATED_MAX_BYTES} bytes, or is cut short")
        parsed: object = json.loads(body)
    except (zlib.error, ValueError, RecursionError) as exc:
        raise WireError(f"message: neither JSON nor a zlib batch ({exc})") from exc
    return parsed


def _records(fields: Fields) -> Records:
    return Records(records=columns.unpack(fields))


def _record(fields: Fields) -> Records:
    return Records(records=(as_json.record_from_json(fields.inner("record").values),))


def _media_stored(fields: Fields) -> MediaStored:
    return MediaStored(
        media_id=columns.checked_media_id(fields.text("media_id")),
        variant=fields.text("variant"),
        blob_name=fields.text("blob_name"),
        blob_sha256=columns.checked_media_id(fields.text("blob_sha256")),
        size_bytes=fields.integer("size_bytes"),
    )


def _receipt(fields: Fields) -> Receipt:
    return Receipt(receipt=as_json.receipt_from_json(fields.inner("receipt").values))


def _alert(fields: Fields) -> Alert:
    return Alert(code=fields.text("code"), text=fields.text("text"), at=fields.instant("at"))


def _status(fields: Fields) -> Status:
    measures = fields.inner("measures").scalars()
    return Status(at=fields.instant("at"), measures=measures)


def _tombstone(fields: Fields) -> Tombstone:
    ids = tuple(columns.checked_media_id(str(item)) for item in fields.array("media_ids"))
    return Tombstone(buried_kind=fields.text("buried_kind"), reason=fields.text("reason"), media_ids=ids)


_DECODERS: Final[dict[str, Callable[[Fields], Payload]]] = {
    "record": _record,
    "records": _records,
    "media_stored": _media_stored,
    "receipt": _receipt,
    "alert": _alert,
    "status": _status,
    "tombstone": _tombstone,
}
