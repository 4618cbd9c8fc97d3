"""Camtrap DP's deployments.csv in, whole or not at all; and which pictures belong to which deployment."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud_sync import camtrap_dp, deployments, schema
from cloud_sync.__main__ import main
from cloud_sync.camtrap_dp import read_csv
from cloud_sync.database import transaction
from cloud_sync.deployments import Deployment
from cloud_sync.deployments_store import DeploymentsStore
from cloud_sync.geo import Box, Position
from edge_module import wire
from edge_module.domain import Belonging, BelongingSource, CaptureTime, Exif, OffsetSource
from edge_module.errors import ConfigError
from tests.cloud_messages import NOW, arrival
from tests.cloud_messages import receipt as receipt_of
from tests.cloud_messages import records as records_of

BOX = Box(west_deg=78, south_deg=24, east_deg=105, north_deg=35)
NEPAL = timezone(timedelta(minutes=345))
HEADER = "deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd,cameraID,deploymentTags,habitat"
RIDGE = "ridge-1,Ridge,27.712345,88.112345,2026-09-01T09:30:00+05:45,2026-11-20T10:00:00+05:45,P800-1,,fir forest"
STREAM = "stream-1,Stream,27.5,88.2,2026-09-01T09:30:00Z,,,canopy|card:card-7|gateway:gateway-1,"


def csv(*rows: str) -> bytes:
    return "\r\n".join((HEADER, *rows)).encode()


def faults(content: bytes) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read_csv(content, BOX)
    return refused.value.faults


def deployment(name: str, **changes: object) -> Deployment:
    values = {
        "deployment_id": name,
        "name": name.title(),
        "position": Position(latitude_deg=27.7, longitude_deg=88.1),
        "starts_at": datetime(2026, 11, 1, tzinfo=NEPAL),
        "ends_at": datetime(2026, 11, 10, tzinfo=NEPAL),
        "camera_id": "P800-1",
    }
    return Deployment(**(values | changes))  # type: ignore[arg-type]


def test_a_file_as_camtrap_dp_has_it() -> None:
    ridge, stream = read_csv(csv(RIDGE, STREAM), BOX)
    assert (ridge.deployment_id, ridge.label, ridge.camera_id) == ("ridge-1", "Ridge", "P800-1")
    assert ridge.position == Position(latitude_deg=27.712345, longitude_deg=88.112345)
    assert ridge.starts_at.isoformat() == "2026-09-01T09:30:00+05:45"
    assert ridge.details == {"habitat": "fir forest"}
    assert (stream.card_id, stream.gateway_id, stream.ends_at) == ("card-7", "gateway-1", None)
    assert stream.details == {"deploymentTags": "canopy"}


def test_a_byte_order_mark_and_quotes_are_no_matter() -> None:
    [ridge] = read_csv(b"\xef\xbb\xbf" + csv(RIDGE.replace("Ridge", '"Ridge, ""upper"""')), BOX)
    assert ridge.name == 'Ridge, "upper"'


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            RIDGE.replace("27.712345,88.112345", "88.112345,27.712345"),
            "line 2: latitude: latitude and longitude look sw",
        ),
        (RIDGE.replace("27.712345", "NaN"), "line 2: latitude: '' is not a number"),
        (RIDGE.replace("27.712345", "inf"), "line 2: latitude: 'inf' is not a number"),
        (RIDGE.replace("27.712345", "1e999"), "line 2: latitude: '1e999' is not a number"),
        (RIDGE.replace("27.712345", "27,7"), "line 2: 10 values for 9 columns"),
        (RIDGE.replace("2026-09-01T09:30:00+05:45", "2026-09-01T09:30:00"), "line 2: deploymentStart: '2026-09-01T09:"),
        (RIDGE.replace("2026-09-01T09:30:00+05:45", "0001-01-01T00:00:00+05:45"), "line 2: deploymentStart: '0001"),
        (RIDGE.replace("2026-11-20", "2025-11-20"), "line 2: deploymentEnd: must be later"),
        (RIDGE.replace("P800-1", ""), "line 2: cameraID: give the camera's serial number, or its card"),
        (RIDGE.replace("ridge-1", ""), "line 2: deploymentID: is needed"),
        (RIDGE.replace("ridge-1", "r" * 201), "line 2: deploymentID: at most 200 characters"),
        (RIDGE.replace("Ridge", "Rid\x00ge"), "line 2: locationName: at most 200 characters, none of them a control"),
        (RIDGE.replace("fir forest", "x") + "\r\n" + RIDGE, "line 3: deploymentID 'ridge-1' stands there twice"),
        (
            RIDGE + "\r\n" + RIDGE.replace("ridge-1", "ridge-2"),
            "camera 'P800-1' stands at 'Ridge' and at 'Ridge' at th",
        ),
    ],
)
def test_a_fault_is_named_with_its_line(row: str, says: str) -> None:
    assert any(fault.startswith(says) for fault in faults(csv(row))), faults(csv(row))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it lacks the columns deploymentID"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8"),
        (HEADER.encode(), "no deployment stands in it"),
        (csv(RIDGE).replace(b"habitat", b"habitats"), "habitats: is no column of Camtrap DP"),
        (csv(RIDGE).replace(b"habitat", b"cameraTilt"), "cameraTilt: 'fir forest' is not a number"),
        (csv(RIDGE).replace(b"habitat", b"cameraID"), "a column stands there twice"),
        (csv('"' + RIDGE), "not CSV"),
        (b"x" * (camtrap_dp.FILE_MAX_BYTES + 1), "a deployments.csv has at most"),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, says: str) -> None:
    assert any(says in fault for fault in faults(content)), faults(content)


def test_a_thousand_faults_are_counted_not_listed() -> None:
    found = faults(csv(*(RIDGE.replace("ridge-1", "") for _ in range(1000))))
    assert len(found) == camtrap_dp.FAULTS_MAX + 1
    assert found[-1] == f"and {1000 - camtrap_dp.FAULTS_MAX} more faults"


def test_the_import_is_whole_or_not_at_all(
    tmp_path: Path, database_url: str, store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PONYA_DATABASE_URL", database_url)
    store.add_gateway("gateway-1", NOW)
    file = tmp_path / "deployments.csv"
    file.write_bytes(csv(RIDGE, STREAM.replace("gateway-1", "gateway-9")))
    assert main(["deployments", "import", str(file)]) == 2
    assert "gateway 'gateway-9' is not registered" in capsys.readouterr().err
    assert DeploymentsStore(store.engine).all() == []
    file.write_bytes(csv(RIDGE, STREAM))
    for _ in range(2):  # again changes nothing
        assert main(["deployments", "import", str(file)]) == 0
        assert "2 deployments are entered; 0 pictures" in capsys.readouterr().out
        assert [d.deployment_id for d in DeploymentsStore(store.engine).all()] == ["ridge-1", "stream-1"]
    assert main(["deployments", "import", str(tmp_path / "none.csv")]) == 1


def test_what_was_entered_is_read_back_the_same(store) -> None:
    store.add_gateway("gateway-1", NOW)
    given = read_csv(csv(RIDGE, STREAM), BOX)
    mine = DeploymentsStore(store.engine)
    mine.save(given, by="test")
    assert mine.all() == given
    assert [d.starts_at.isoformat() for d in mine.all()] == [d.starts_at.isoformat() for d in given]
    assert mine.get(given[0].key) == given[0]
    assert mine.get("0" * 16) is None


# --- which pictures belong to it ----------------------------------------------------------------------------------


def keys(store) -> dict[str, str | None]:
    with transaction(store.engine, writing=False) as connection:
        return dict(connection.execute(select(schema.records.c.path, schema.records.c.deployment_key)).all())


def taken_at(day: int, serial: str | None = "P800-1", hour: int = 12) -> Exif:
    local = datetime(2026, 11, day, hour)  # noqa: DTZ001 - a camera's local time
    captured = CaptureTime(
        exif_time=local.strftime("%Y:%m:%d %H:%M:%S"), local=local, utc_offset_min=345, offset_source=OffsetSource.EXIF
    )
    return Exif(captured=captured, camera_serial=serial)


def test_a_picture_finds_its_deployment_by_serial_number_then_by_card(store) -> None:
    by_serial = deployment("serial", ends_at=datetime(2026, 11, 10, tzinfo=NEPAL))
    by_card = deployment("card", camera_id="", card_id="card-1", ends_at=None)
    DeploymentsStore(store.engine).save([by_serial, by_card], by="test")
    exifs = {
        "serial and card": taken_at(5),
        "the first instant": taken_at(1, hour=0),
        "the end is exclusive": taken_at(10, hour=0),
        "card alone": taken_at(5, serial=None),
        "another camera": taken_at(5, serial="P800-2"),
        "before both": Exif(captured=replace(taken_at(1, hour=0).captured, utc_offset_min=840), camera_serial="P800-1"),
        "no time": Exif(camera_serial="P800-1"),
    }
    messages = [
        arrival(n, records_of(n, 1, path=path, exif=exif)) for n, (path, exif) in enumerate(exifs.items(), start=1)
    ]
    alone = records_of(9, 1, path="serial alone", card_id="card-9", exif=taken_at(1, hour=0))
    store.take([*messages, arrival(9, alone)])
    assert keys(store) == {
        "serial and card": None,  # they disagree: people decide
        "the first instant": None,
        "serial alone": by_serial.key,
        "the end is exclusive": by_card.key,
        "card alone": by_card.key,
        "another camera": by_card.key,
        "before both": None,
        "no time": None,
    }


def test_pictures_follow_when_a_deployment_changes(store) -> None:
    mine = DeploymentsStore(store.engine)
    store.take(
        [arrival(1, records_of(0, 3, exif=taken_at(5))), arrival(2, records_of(3, 2, exif=taken_at(5, "other")))]
    )
    assert set(keys(store).values()) == {None}
    first = deployment("first")
    assert mine.save([first], by="test") == 3
    assert mine.save([first], by="test") == 0
    assert mine.save([replace(first, starts_at=datetime(2026, 11, 6, tzinfo=NEPAL))], by="test") == 3
    assert set(keys(store).values()) == {None}
    assert mine.save([replace(first, camera_id="other")], by="test") == 2
    assert mine.remove(first.key) == 2
    assert set(keys(store).values()) == {None}


def test_a_camera_at_two_places_at_once_is_refused_and_nothing_is_saved(store) -> None:
    mine = DeploymentsStore(store.engine)
    mine.save([deployment("first", ends_at=None)], by="test")
    with pytest.raises(ConfigError, match="at the same time: end the first by 2026-11-05"):
        mine.save([deployment("second", starts_at=datetime(2026, 11, 5, tzinfo=NEPAL))], by="test")
    assert [d.deployment_id for d in mine.all()] == ["first"]
    with pytest.raises(ConfigError, match="'first' is taken"):
        mine.save([deployment("first")], by="test", new=True)


def test_one_after_the_other_is_no_overlap(store) -> None:
    end = datetime(2026, 11, 5, tzinfo=NEPAL)
    given = [deployment("first", ends_at=end), deployment("second", starts_at=end)]
    DeploymentsStore(store.engine).save(given, by="test")


def test_on_arrival_and_afterwards_the_same_rule_holds(store) -> None:
    """The rule stands twice, in Python for what arrives and in SQL for what is there: they must agree."""
    rng = random.Random(4)
    mine = DeploymentsStore(store.engine)

    def made(number: int) -> Deployment:
        start = datetime(2026, 11, 1, tzinfo=NEPAL) + timedelta(days=2 * (number // 3))
        serial, card = rng.choice((("S", ""), ("", "C"), ("S", "C")))
        return deployment(
            f"d{number}",
            camera_id=serial and f"S{number % 3}",
            card_id=card and f"C{number % 3}",
            starts_at=start,
            ends_at=start + timedelta(days=rng.choice((1, 2))),
        )

    mine.save([made(n) for n in range(24)], by="test")
    messages = [
        arrival(
            n,
            records_of(
                n,
                1,
                path=f"{n}",
                card_id=f"C{rng.randrange(4)}",
                exif=taken_at(rng.randint(1, 18), rng.choice((None, "", "S0", "S1", "S2", "S9")), rng.randrange(24)),
            ),
        )
        for n in range(1, 301)
    ]
    store.take(messages)
    on_arrival = keys(store)
    assert len(set(on_arrival.values())) > 10
    with transaction(store.engine) as connection:
        connection.execute(schema.records.update().values(deployment_key=None))
    mine.save(mine.all(), by="test")
    assert keys(store) == on_arrival


def test_where_serial_number_and_card_disagree_people_decide_and_their_word_counts(store) -> None:
    mine = DeploymentsStore(store.engine)
    by_serial = deployment("ridge", camera_id="S1")
    by_card = deployment("stream", camera_id="", card_id="C1")
    mine.save([by_serial, by_card], by="test")
    disagreeing = records_of(1, 2, card_id="C1", reading_id="C1.1", exif=taken_at(3, "S1", 6))
    store.take([arrival(1, disagreeing)])
    assert set(keys(store).values()) == {None}
    assert len(keys(store)) == 2

    def said(number: int, key: str | None, source: BelongingSource) -> None:
        belonging = Belonging(deployment_key=key, source=source)
        receipt = receipt_of(card_id="C1", reading_id="C1.1", belonging=belonging).receipt
        store.take([arrival(number, wire.Receipt(receipt=receipt))])

    said(2, by_card.key, BelongingSource.SERIAL)  # the gateway's own finding is no decision
    assert set(keys(store).values()) == {None}
    said(3, by_card.key, BelongingSource.HEADQUARTERS)
    assert set(keys(store).values()) == {by_card.key}
    store.take([arrival(4, records_of(9, 1, card_id="C1", reading_id="C1.1", exif=taken_at(3, "S1", 6)))])
    assert set(keys(store).values()) == {by_card.key}
    assert len(keys(store)) == 3
    mine.remove(by_card.key)
    assert set(keys(store).values()) == {by_serial.key}
    mine.save([by_card], by="test")
    said(5, by_card.key, BelongingSource.HEADQUARTERS)
    said(6, None, BelongingSource.NONE)
    assert set(keys(store).values()) == {None}


# --- what a gateway is told ---------------------------------------------------------------------------------------


def test_a_gateway_is_told_coarse_places_once(store) -> None:
    store.add_gateway("gateway-1", NOW)
    mine = DeploymentsStore(store.engine)
    exact = Position(latitude_deg=27.812345, longitude_deg=88.112345)
    mine.save([deployment("first", gateway_id="gateway-1", position=exact)], by="test")
    told = mine.to_tell()
    assert [(d["latitude_deg"], d["longitude_deg"]) for d in told["gateway-1"]] == [(28.0, 88.0)]
    assert "812345" not in json.dumps(told)
    mine.told("gateway-1", told["gateway-1"])
    assert mine.to_tell() == {}
    mine.remove(deployment("first").key)
    assert mine.to_tell() == {"gateway-1": []}


def test_what_a_gateway_is_told_fits_its_twin() -> None:
    many = [
        deployment(
            f"{n}" * 20,
            camera_id="S" * 40,
            card_id="C" * 40,
            starts_at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(n),
        )
        for n in range(200)
    ]
    told = deployments.for_twin(many)
    assert len(told) == deployments.TOLD_MAX
    assert len(json.dumps(told)) < 20_000
    assert told[-1]["deployment_key"] == many[-1].key


def test_a_record_is_never_changed_by_where_it_was_taken(store) -> None:
    store.take([arrival(1, records_of(0, 1))])
    [before] = [row._asdict() for row in store.observations()]
    DeploymentsStore(store.engine).save([deployment("first", ends_at=None)], by="test")
    [after] = [row._asdict() for row in store.observations()]
    assert after.pop("deployment_key") == deployment("first").key
    before.pop("deployment_key")
    assert after == before
