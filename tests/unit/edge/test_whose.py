"""Whose card it is: the camera's serial number, then the card, with the times; and headquarters where they disagree."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_module import wire
from edge_module.domain import Belonging, BelongingSource, CaptureTime, Card, Exif, Fate, OffsetSource
from edge_module.errors import ConfigError, WireError
from edge_module.ledger import Ledger
from edge_module.listing import Listed
from edge_module.whose import Assignment, Camera, Deployment, decide, deployments_from_twin
from tests.ledgers import TestClock, finding, media, open_ledger

CARD_ID = "marker-000000000007"
MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))


def deployment(key: str, *, serial: str | None = None, card: str | None = None, ends: datetime | None = None):
    return Deployment(deployment_key=key, camera_serial=serial, card_id=card, starts_at=MARCH, ends_at=ends)


def camera(serial: str | None, first: datetime = datetime(2026, 3, 5, tzinfo=UTC), last: datetime | None = None):
    return Camera(serial=serial, first_s=first.timestamp(), last_s=(last or first).timestamp())


FIR, MAPLE = deployment("fir", serial="S1", card="volume-1"), deployment("maple", serial="S2", card=CARD_ID)


def test_the_cameras_serial_number_says_whose_card_it_is() -> None:
    assert decide("volume-9", [camera("S1")], [FIR, MAPLE], None) == Belonging(
        deployment_key="fir", source=BelongingSource.SERIAL
    )


@pytest.mark.parametrize(
    ("card_id", "source"), [(CARD_ID, BelongingSource.MARKER), ("volume-1", BelongingSource.VOLUME)]
)
def test_a_camera_that_writes_no_serial_number_is_known_by_its_card(card_id: str, source: BelongingSource) -> None:
    key = "maple" if source is BelongingSource.MARKER else "fir"
    assert decide(card_id, [camera(None)], [FIR, MAPLE], None) == Belonging(deployment_key=key, source=source)


def test_serial_number_and_card_that_agree_are_one() -> None:
    assert decide(CARD_ID, [camera("S2")], [FIR, MAPLE], None).source is BelongingSource.SERIAL


@pytest.mark.parametrize(
    ("card_id", "cameras", "deployments", "why"),
    [
        (CARD_ID, [camera("S1")], [FIR, MAPLE], "name two deployments"),
        ("volume-9", [camera("S1"), camera("S2")], [FIR, MAPLE], "pictures of 2 cameras lie on it"),
        ("volume-9", [camera("S3")], [FIR, MAPLE], "of a known deployment"),
        ("volume-9", [], [FIR, MAPLE], "no picture says when it was taken"),
        ("volume-9", [camera("S1", first=datetime(2026, 2, 1, tzinfo=UTC))], [FIR], "not all pictures were taken"),
        (
            "volume-9",
            [camera("S1", last=datetime(2026, 4, 2, tzinfo=UTC))],
            [deployment("a", serial="S1", ends=APRIL)],
            "not all pictures were taken",
        ),
        (CARD_ID, [camera("S3"), camera(None, first=datetime(2000, 1, 1, tzinfo=UTC))], [MAPLE], "not all pictures"),
        ("volume-9", [camera("S1")], [FIR, deployment("b", serial="S1")], "in 2 deployments at once"),
    ],
)
def test_what_disagrees_stays_unassigned_with_the_reason(card_id, cameras, deployments, why) -> None:  # type: ignore[no-untyped-def]
    belonging = decide(card_id, cameras, deployments, None)
    assert belonging.deployment_key is None
    assert why in belonging.why


def test_what_headquarters_decided_holds_until_another_cameras_pictures_come() -> None:
    decided = Assignment(deployment_key="maple", serials=frozenset({"S1"}))
    assert decide(CARD_ID, [camera("S1")], [FIR, MAPLE], decided).source is BelongingSource.HEADQUARTERS
    wandered = decide("volume-9", [camera("S2")], [FIR, MAPLE], decided)
    assert wandered == Belonging(deployment_key="maple", source=BelongingSource.SERIAL)


@pytest.mark.parametrize(
    "noise",
    ["noise", {}, [1], [{}], [{"deployment_key": 1}], [{"deployment_key": "a", "starts_at": "soon"}], [None] * 5000],
)
def test_noise_in_the_twin_is_refused_and_the_last_good_deployments_stay(noise: object, tmp_path: Path) -> None:
    with pytest.raises(WireError, match="deployments"):
        deployments_from_twin(noise)
    with open_ledger(tmp_path, TestClock()) as ledger:
        ledger.belongings.know(TOLD)
        with pytest.raises(WireError):
            ledger.belongings.know(noise)
        assert read(ledger, {"a.jpg": "S1"}).belonging.deployment_key == "fir"


TOLD = [
    {
        "deployment_key": "fir", "camera_serial": "S1", "card_id": None, "starts_at": "2026-03-01T00:00:00+05:45",
        "ends_at": None, "latitude_deg": 27.5, "longitude_deg": 86.5,
    },
    {
        "deployment_key": "maple", "camera_serial": None, "card_id": CARD_ID, "starts_at": "2026-03-01T00:00:00+05:45",
        "ends_at": "2026-04-01T00:00:00+05:45", "latitude_deg": 27.5, "longitude_deg": 86.5,
    },
]  # fmt: skip


def read(ledger: Ledger, serials: dict[str, str | None], card_id: str = CARD_ID.replace("7", "8")):  # type: ignore[no-untyped-def]
    """Read a card of pictures by those cameras, taken on 2026-03-05, to its receipt."""
    reading = ledger.begin(Card(card_id=card_id, source="marker"))
    files = [media(path) for path in serials]
    ledger.list_files(reading, (Listed(media=file) for file in files))
    for file in files:
        found = finding(reading, file, f"{card_id}{file.name}", Fate.BLANK)
        captured = CaptureTime(
            exif_time="2026:03:05 06:00:00", local=datetime(2026, 3, 5, 6), utc_offset_min=345,  # noqa: DTZ001
            offset_source=OffsetSource.SETTING,
        )  # fmt: skip
        exif = Exif(captured=captured, camera_serial=serials[file.name])
        object.__setattr__(found.record, "exif", exif)
        ledger.settle(reading, [found])
    return ledger.end(reading)


def test_the_receipt_says_it_also_after_a_restart_without_a_network(tmp_path: Path) -> None:
    clock = TestClock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.belongings.know(TOLD)
    with open_ledger(tmp_path, clock) as ledger:
        assert read(ledger, {"a.jpg": "S1", "b.jpg": None}).belonging == Belonging(
            deployment_key="fir", source=BelongingSource.SERIAL
        )
        assert read(ledger, {"a.jpg": None}, CARD_ID).belonging.source is BelongingSource.MARKER


def test_a_card_that_disagrees_is_assigned_by_headquarters_and_the_new_receipt_is_owed(tmp_path: Path) -> None:
    with open_ledger(tmp_path, TestClock()) as ledger:
        ledger.belongings.know(TOLD)
        first = read(ledger, {"a.jpg": "S1"}, CARD_ID)
        assert first.belonging.deployment_key is None
        assert "name two deployments" in first.belonging.why
        decided = ledger.belongings.assign(CARD_ID, "maple")
        assert decided.belonging == Belonging(deployment_key="maple", source=BelongingSource.HEADQUARTERS)
        said = [wire.decode(body).payload for _, body in ledger.outbox.unconfirmed()]
        assert [r.receipt.belonging.deployment_key for r in said if isinstance(r, wire.Receipt)] == [None, "maple"]
        assert read(ledger, {"a.jpg": "S1"}, CARD_ID).belonging.deployment_key == "maple"
        assert ledger.belongings.assign(CARD_ID, None).belonging.deployment_key is None


def test_headquarters_may_decide_when_the_rows_are_long_gone(tmp_path: Path) -> None:
    with open_ledger(tmp_path, TestClock()) as ledger:
        ledger.belongings.know(TOLD)
        receipt = read(ledger, {"a.jpg": "S1"}, CARD_ID)
        while ledger.outbox.pack(flush=True):
            pass
        highest = ledger.outbox.highest()
        for owed in ledger.outbox.lease(limit=100, lease_s=1):
            ledger.outbox.sent(owed.sequence)
        ledger.confirm(
            wire.Confirmed(ledger_id=ledger.ledger_id, through=highest, highest=highest), resend_older_than_s=0
        )
        assert ledger.compact() == 1
        assert ledger.belongings.assign(CARD_ID, "fir").belonging.deployment_key == "fir"
        assert ledger.receipt(receipt.reading_id).belonging.source is BelongingSource.HEADQUARTERS
        assert read(ledger, {"a.jpg": "S1"}, CARD_ID).belonging.source is BelongingSource.HEADQUARTERS


@pytest.mark.parametrize(("card_id", "key"), [("never-read", "fir"), (CARD_ID, ""), (CARD_ID, "x" * 201)])
def test_an_assignment_that_makes_no_sense_is_refused(tmp_path: Path, card_id: str, key: str) -> None:
    with open_ledger(tmp_path, TestClock()) as ledger:
        read(ledger, {"a.jpg": "S1"}, CARD_ID)
        with pytest.raises(ConfigError):
            ledger.belongings.assign(card_id, key)


def test_a_receipt_of_a_gateway_that_does_not_decide_is_unassigned() -> None:
    golden = Path(__file__).parents[2] / "golden/wire/v1/receipt.body"
    payload = wire.decode(golden.read_bytes()).payload
    assert isinstance(payload, wire.Receipt)
    assert payload.receipt.belonging == Belonging()
    assert "deployment_key" not in json.loads(golden.read_bytes())["receipt"]
