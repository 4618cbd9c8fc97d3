"""A record for headquarters to show: cameras, deployments, pictures, receipts, alerts. Seeded; no place in it is real.

It goes in by the roads that real data take: messages through the intake's decoder into the store, deployments through
their own, pictures into Blob Storage before the words about them.
"""

import contextlib
import hashlib
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from PIL import Image

from cloud_sync.deployments import Deployment
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.geo import Position
from cloud_sync.intake import Delivery, understand
from cloud_sync.records import container_of
from cloud_sync.store import Store
from edge_module import wire
from edge_module.domain import (
    CaptureTime,
    CardReceipt,
    Exif,
    Fate,
    NamedFile,
    OffsetSource,
    ReadingState,
    Record,
    Scores,
)
from models.draw import Animal, Shot, draw

NEPAL = timezone(timedelta(hours=5, minutes=45))
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PLACES = (
    ("Rhododendron ridge", 0.22),
    ("Upper bamboo", 0.12),
    ("Stream crossing", 0.03),
    ("Old cowshed", 0.0),
    ("Fir saddle", 0.08),
    ("Mossy boulders", 0.16),
    ("Maple canopy", 0.3),
    ("Lower trail", 0.0),
)
"""Names, and the share of their events with a red panda."""

_PICTURES_PX = (960, 720)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was entered."""

    deployments: tuple[Deployment, ...]
    records: int
    pictures: tuple[str, ...]
    """media ids with a blob."""


def deployments(seed: int = 1, gateway_ids: Sequence[str] = ("gateway-1", "gateway-2")) -> tuple[Deployment, ...]:
    """Eight cameras that stand, and one that has been taken down."""
    rng = random.Random(seed)

    def made(number: int, name: str, *, ends_at: datetime | None = None) -> Deployment:
        return Deployment(
            deployment_id=f"{name.lower().replace(' ', '-')}-2026",
            name=name,
            position=Position(
                latitude_deg=round(rng.uniform(27.05, 28.15), 6), longitude_deg=round(rng.uniform(85.1, 87.9), 6)
            ),
            starts_at=datetime(2026, 9, 1 + number, 9, 30, tzinfo=NEPAL),
            ends_at=ends_at,
            camera_id=f"HQ-{1000 + number}",
            gateway_id=gateway_ids[number % len(gateway_ids)],
            details={"deploymentComments": f"{number + 3} m up, facing north"},
        )

    standing = [made(n, name) for n, (name, _) in enumerate(PLACES)]
    gone = made(len(PLACES), "Burnt clearing", ends_at=datetime(2026, 10, 1, 8, 0, tzinfo=NEPAL))
    return (*standing, gone)


def fill(
    store: Store, *, seed: int = 1, events_each: int = 18, blobs: BlobServiceClient | None = None, drawn: int = 12
) -> Filled:
    """Enter it all.

    Args:
        store: an empty record.
        seed: of everything that is chosen.
        events_each: bursts of one to three pictures at each camera.
        blobs: where pictures go; without it there are none.
        drawn: how many different pictures are drawn; each takes a second.
    """
    gateway_ids = ("gateway-1", "gateway-2")
    for gateway_id in (*gateway_ids, "gateway-3"):
        store.add_gateway(gateway_id, NOW - timedelta(days=90))
    cameras = deployments(seed, gateway_ids)
    DeploymentsStore(store.engine).save(cameras, by="test")
    rng = random.Random(seed)
    jpegs = _drawn(drawn) if blobs else {}
    records: dict[str, list[Record]] = {g: [] for g in gateway_ids}
    for number, camera in enumerate(cameras):
        share = PLACES[number][1] if number < len(PLACES) else 0.0
        records[camera.gateway_id] += _visits(rng, camera, events_each, share)
    records["gateway-1"] += _strays(rng)
    pictures: list[str] = []
    for gateway_id, of_gateway in records.items():
        payloads: list[wire.Payload] = []
        plain = [r for r in of_gateway if r.fate not in (Fate.PANDA, Fate.REVIEW)]
        for record in of_gateway:
            if record.fate in (Fate.PANDA, Fate.REVIEW):
                payloads.append(wire.Records(records=(record,)))
                if blobs and (stored := _store_picture(blobs, gateway_id, record, jpegs[record.fate], rng)):
                    payloads.append(stored)
                    pictures.append(record.media_id)
        for reading_id, model_id in sorted({(r.reading_id, r.model_id) for r in plain}):
            batch = tuple(r for r in plain if (r.reading_id, r.model_id) == (reading_id, model_id))
            payloads.append(wire.Records(records=batch))
        payloads += _about(gateway_id, of_gateway)
        _send(store, gateway_id, payloads)
    _set_aside(store)
    return Filled(deployments=cameras, records=sum(map(len, records.values())), pictures=tuple(pictures))


def _visits(rng: random.Random, camera: Deployment, events: int, panda_share: float) -> list[Record]:
    found = []
    last = camera.ends_at or NOW - timedelta(days=1)
    for event in range(events):
        at = camera.starts_at + (last - camera.starts_at) * rng.random() * 0.999
        fate = Fate.PANDA if rng.random() < panda_share else _other(rng)
        found += [_record(rng, camera, at, fate, event=event, frame=n) for n in range(rng.randint(1, 3))]
    return found


def _other(rng: random.Random) -> Fate:
    return rng.choices((Fate.BLANK, Fate.OTHER, Fate.REVIEW, Fate.HUMAN), weights=(60, 25, 10, 3))[0]


def _record(
    rng: random.Random, camera: Deployment, at: datetime, fate: Fate, *, event: int, frame: int, **changes: object
) -> Record:
    local = (at + timedelta(seconds=3 * frame)).astimezone(NEPAL).replace(microsecond=0, tzinfo=None)
    panda = {Fate.PANDA: rng.uniform(0.82, 0.998), Fate.REVIEW: rng.uniform(0.2, 0.6)}.get(fate, rng.uniform(0, 0.05))
    panda = round(panda, 3)
    rest = round(1 - panda, 3)
    shares = {Fate.BLANK: (0.1, 0.88, 0.02), Fate.HUMAN: (0.1, 0.05, 0.85)}.get(fate, (0.7, 0.25, 0.05))
    others = dict(zip(("other", "blank", "human"), (round(rest * s, 3) for s in shares), strict=True))
    number = int(camera.camera_id.rpartition("-")[2])
    path = f"DCIM/{100 + number % 100}RECNX/E{event:03}_{frame}.JPG"
    values: dict[str, object] = {
        "card_id": f"card-{number}",
        "reading_id": f"reading-{number}",
        "path": path,
        "media_id": hashlib.sha256(f"{number}/{path}".encode()).hexdigest(),
        "model_id": "ponya-lite0-v1",
        "event_id": f"{number}-{event}",
        "fate": fate,
        "size_bytes": rng.randint(1_800_000, 4_200_000),
        "scores": Scores(
            probabilities={"red_panda": panda, **others},
            night=not 6 <= local.hour < 18,
            view=rng.choice(("full", "motion")),
        ),
        "exif": Exif(
            captured=CaptureTime(
                exif_time=local.strftime("%Y:%m:%d %H:%M:%S"),
                local=local,
                utc_offset_min=345,
                offset_source=OffsetSource.SETTING,
            ),
            camera_make="RECONYX",
            camera_model="HYPERFIRE 2",
            camera_serial=camera.camera_id,
        ),
    }
    return Record(**(values | changes))  # type: ignore[arg-type]


def _strays(rng: random.Random) -> list[Record]:
    """Pictures of a camera that nobody has entered, and what else lies on a card."""
    stray = Deployment(
        deployment_id="", name="", position=Position(latitude_deg=0, longitude_deg=0), starts_at=NOW, ends_at=None,
        camera_id="STRAY-7",
    )  # fmt: skip
    told: list[dict[str, object]] = [{"audit_probability": 0.02}, {"withheld": True}, {}, {}, {}]
    found = [
        _record(rng, stray, NOW - timedelta(days=n), Fate.OTHER, event=n, frame=0, **more)
        for n, more in enumerate(told)
    ]
    unreadable = {"scores": None, "exif": Exif(), "model_id": "", "event_id": ""}
    found.append(
        _record(rng, stray, NOW, Fate.UNREADABLE, event=90, frame=0, reason="the file is cut short", **unreadable)
    )
    found.append(
        _record(rng, stray, NOW, Fate.IGNORED, event=91, frame=0, reason="not a picture", media_id="", **unreadable)
    )
    return found


def _about(gateway_id: str, records: Sequence[Record]) -> list[wire.Payload]:
    payloads: list[wire.Payload] = []
    for card_id in sorted({r.card_id for r in records}):
        of_card = [r for r in records if r.card_id == card_id]
        counts = {fate: sum(1 for r in of_card if r.fate is fate) for fate in Fate}
        safe = hash_of(card_id) % 2 == 0
        blockers = (
            () if safe else ("headquarters has not confirmed 3 verdicts", "2 originals are not on this gateway yet")
        )
        payloads.append(
            wire.Receipt(
                receipt=CardReceipt(
                    card_id=card_id,
                    reading_id=of_card[0].reading_id,
                    state=ReadingState.COMPLETE,
                    counts=counts,
                    pending=0,
                    unconfirmed=0 if safe else 3,
                    originals_owed=0 if safe else 2,
                    destroyed_by_wiping=counts[Fate.BLANK] + counts[Fate.OTHER],
                    blockers=blockers,
                    named=tuple(NamedFile(path=r.path, fate=r.fate, reason=r.reason) for r in of_card if r.reason),
                    named_omitted=0,
                    cameras={str(of_card[0].exif.camera_serial): len(of_card)},
                )
            )
        )
    measures: dict[str, float | str] = {
        "activity": "waiting for a card",
        "messages_owed": 4,
        "unconfirmed_bytes": 18_200,
        "messages_buried": 0,
        "pictures_owed": 7,
        "disk_free_bytes": 21_300_000_000,
        "model_id": "ponya-lite0-v1",
        "uptime_s": 1_204_000,
    }
    payloads.append(wire.Status(at=NOW, measures=measures))
    payloads.append(wire.Alert(code="card_error", text=f"{gateway_id}: the card went away while it was read", at=NOW))
    return payloads


def hash_of(text: str) -> int:
    """The same in every process, unlike `hash`."""
    return hashlib.sha256(text.encode()).digest()[0]


def _send(store: Store, gateway_id: str, payloads: Sequence[wire.Payload | bytes], ledger_id: str = "ledger-1") -> None:
    arrivals = []
    for sequence, payload in enumerate(payloads, start=1):
        body = payload if isinstance(payload, bytes) else wire.encode(ledger_id, sequence, payload).body
        delivery = Delivery(
            gateway_id=gateway_id, message_id=wire.message_id(ledger_id, sequence), body=body, received_at=NOW
        )
        arrivals.append(understand(delivery, {"gateway-1", "gateway-2"})[0])
    store.take(arrivals)


def _set_aside(store: Store) -> None:
    _send(store, "gateway-2", [b'{"v":1,"kind":"record","ledger_id":"ledger-2"'], ledger_id="ledger-2")
    _send(store, "not-one-of-ours", [b"<script>alert(1)</script>"], ledger_id="forged")


def _drawn(count: int) -> dict[Fate, list[bytes]]:
    unsure = (Animal.DEER, Animal.RED_PANDA, Animal.BOAR, Animal.PHEASANT)
    width_px, height_px = _PICTURES_PX
    shots = {
        Fate.PANDA: [Shot(seed=n, animal=Animal.RED_PANDA, night=n % 2 == 1) for n in range(max(1, count * 2 // 3))],
        Fate.REVIEW: [
            Shot(seed=50 + n, animal=unsure[n % len(unsure)], night=n % 2 == 0, animal_width=0.3)
            for n in range(max(1, count // 3))
        ],
    }
    return {
        fate: [_jpeg(replace(shot, width_px=width_px, height_px=height_px)) for shot in of_fate]
        for fate, of_fate in shots.items()
    }


def _jpeg(shot: Shot) -> bytes:
    out = io.BytesIO()
    Image.fromarray(draw(shot)).save(out, "JPEG", quality=82)
    return out.getvalue()


def _store_picture(
    blobs: BlobServiceClient, gateway_id: str, record: Record, jpegs: Sequence[bytes], rng: random.Random
) -> wire.MediaStored | None:
    if record.fate is Fate.REVIEW and rng.random() < 0.3:
        return None  # still on its way
    container = blobs.get_container_client(container_of(gateway_id))
    with contextlib.suppress(ResourceExistsError):
        container.create_container()
    jpeg = jpegs[hash_of(record.media_id) % len(jpegs)]
    digest = hashlib.sha256(jpeg).hexdigest()
    name = f"frame/{record.media_id}-{digest[:16]}.jpg"
    container.upload_blob(name, jpeg, overwrite=True)
    return wire.MediaStored(
        media_id=record.media_id, variant="frame", blob_name=name, blob_sha256=digest, size_bytes=len(jpeg)
    )
