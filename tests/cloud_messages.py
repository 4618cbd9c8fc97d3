"""Messages as gateways send them, for tests of headquarters."""

import hashlib
from datetime import UTC, datetime

from cloud_sync.intake import Delivery, understand
from cloud_sync.recording import Arrival
from edge_module import wire
from edge_module.domain import CaptureTime, CardReceipt, Exif, Fate, OffsetSource, ReadingState, Record, Scores

GATEWAY = "gateway-1"
LEDGER = "ledger-1"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def media_id(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def record(n: int, **changes: object) -> Record:
    time = datetime(2026, 11, 1 + n % 28, n % 24, n % 60, 7)  # noqa: DTZ001 - a camera's local time
    values = {
        "card_id": "card-1",
        "reading_id": "reading-1",
        "path": f"DCIM/100RECNX/IMG_{n:05d}.JPG",
        "media_id": media_id(n),
        "model_id": "model-1",
        "event_id": f"event-{n // 3}",
        "fate": Fate.BLANK,
        "size_bytes": 4_000_000 + n,
        "scores": Scores(
            probabilities={"red_panda": 0.01, "other": 0.09, "blank": 0.898, "human": 0.002}, night=False, view="motion"
        ),
        "exif": Exif(
            captured=CaptureTime(
                exif_time=time.strftime("%Y:%m:%d %H:%M:%S"),
                local=time,
                utc_offset_min=345,
                offset_source=OffsetSource.SETTING,
            ),
            camera_make="RECONYX",
            camera_model="HP2X",
            camera_serial="P800-1",
        ),
    }
    return Record(**(values | changes))


def records(first: int, count: int, **changes: object) -> wire.Records:
    return wire.Records(records=tuple(record(n, **changes) for n in range(first, first + count)))


def receipt(**changes: object) -> wire.Receipt:
    values = {
        "card_id": "card-1",
        "reading_id": "reading-1",
        "state": ReadingState.COMPLETE,
        "counts": dict.fromkeys(Fate, 0) | {Fate.BLANK: 3},
        "pending": 0,
        "unconfirmed": 3,
        "originals_owed": 0,
        "destroyed_by_wiping": 3,
        "blockers": ("3 verdicts are not confirmed yet",),
        "named": (),
        "named_omitted": 0,
        "cameras": {"P800-1": 3},
    }
    return wire.Receipt(receipt=CardReceipt(**(values | changes)))


def body(sequence: int, payload: wire.Payload, ledger_id: str = LEDGER) -> bytes:
    return wire.encode(ledger_id, sequence, payload).body


def delivery(sequence: int, payload: wire.Payload | bytes, *, gateway_id: str = GATEWAY, ledger_id: str = LEDGER):
    return Delivery(
        gateway_id=gateway_id,
        message_id=wire.message_id(ledger_id, sequence),
        body=payload if isinstance(payload, bytes) else body(sequence, payload, ledger_id),
        received_at=NOW,
    )


def arrival(sequence: int, payload: wire.Payload | bytes, **changes: str) -> Arrival:
    return understand(delivery(sequence, payload, **changes), {GATEWAY, "gateway-2"})[0]
