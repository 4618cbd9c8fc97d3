"""What is recorded stays, and again changes nothing; on SQLite and on PostgreSQL."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from cloud_sync import gaps, schema
from cloud_sync.database import StoreRefusedError, StoreUnavailableError, connect, transaction
from cloud_sync.migrate import migrate, require_current
from cloud_sync.schema import MessageState
from cloud_sync.store import Position, Store
from edge_module import wire
from edge_module.domain import Exif, Fate
from edge_module.errors import ConfigError
from tests.cloud_messages import GATEWAY, LEDGER, NOW, arrival, media_id, receipt, record, records


def rows(store, table):
    with transaction(store.engine, writing=False) as connection:
        return [r._asdict() for r in connection.execute(select(table).order_by(*table.primary_key))]


def everything(store):
    return {table.name: rows(store, table) for table in schema.metadata.sorted_tables}


def codes(store):
    return [alert["code"] for alert in rows(store, schema.alerts)]


def test_a_batch_is_recorded_with_who_sent_it(store):
    store.take([arrival(1, records(0, 500))])
    found = list(store.observations())
    assert len(found) == 500
    first = found[0]
    assert (first.gateway_id, first.ledger_id, first.sequence) == (GATEWAY, LEDGER, 1)
    assert (first.path, first.media_id, first.fate) == ("DCIM/100RECNX/IMG_00000.JPG", media_id(0), "blank")
    assert first.captured_at == record(0).exif.captured.at
    assert (first.exif_time, first.utc_offset_min, first.offset_source) == ("2026:11:01 00:00:07", 345, "setting")
    assert first.probabilities == {"red_panda": 0.01, "other": 0.09, "blank": 0.898, "human": 0.002}


def test_the_same_again_changes_nothing(store):
    arrivals = [
        arrival(1, records(0, 20)),
        arrival(2, records(20, 1, fate=Fate.PANDA)),
        arrival(3, receipt()),
        arrival(4, wire.Status(at=NOW, measures={"queue": 3, "free_bytes": 1.5e9, "version": "0.1"})),
        arrival(5, wire.Alert(code="card_error", text="the card went away", at=NOW)),
        arrival(6, wire.Tombstone(buried_kind="media_stored", reason="too large", media_ids=(media_id(1),))),
        arrival(7, b"{}"),
    ]
    store.take(arrivals)
    before = everything(store)
    store.take(arrivals)
    store.take(arrivals[::-1] + arrivals)
    assert everything(store) == before
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=7, highest=7, parked=(7,))


def test_another_body_under_a_known_number_is_an_alert_and_no_update(store):
    store.take([arrival(1, records(0, 2))])
    before = list(store.observations())
    store.take([arrival(1, records(0, 3))])
    assert list(store.observations()) == before
    assert codes(store) == ["another_body"]
    assert [h["code"] for h in rows(store, schema.held_bodies)] == ["another_body"]
    assert store.confirmed(GATEWAY, LEDGER).parked == ()


def test_two_bodies_under_one_number_in_one_batch_are_told_apart(store):
    store.take([arrival(1, records(0, 1)), arrival(1, records(5, 1))])
    assert [r.path for r in store.observations()] == [record(0).path]
    assert codes(store) == ["another_body"]


def test_another_judgement_of_a_known_record_is_an_alert_and_no_update(store):
    store.take([arrival(1, records(0, 3))])
    before = list(store.observations())
    store.take([arrival(2, records(0, 4, fate=Fate.OTHER))])
    after = list(store.observations())
    assert after[:3] == before
    assert len(after) == 4
    assert codes(store) == ["another_records_body"]
    assert "3 known records" in rows(store, schema.alerts)[0]["text"]


def test_a_rebuilt_ledger_sends_the_same_judgements_without_an_alert(store):
    store.take([arrival(1, records(0, 3))])
    store.take([arrival(1, records(0, 3, reading_id="reading-2", event_id="x"), ledger_id="ledger-2")])
    assert len(list(store.observations())) == 3
    assert codes(store) == []
    assert store.current_ledger(GATEWAY) == "ledger-2"


def test_another_model_adds_a_record(store):
    store.take([arrival(1, records(0, 2)), arrival(2, records(0, 2, model_id="model-2"))])
    assert len(list(store.observations())) == 4


def test_the_later_receipt_stands_whatever_the_order(store):
    late = arrival(9, receipt(unconfirmed=0, blockers=()))
    for order in ([arrival(3, receipt()), late], [late, arrival(3, receipt())]):
        store.take(order)
        [found] = rows(store, schema.receipts)
        assert (found["sequence"], found["safe_to_wipe"], found["seen"]) == (9, True, 3)


def test_gaps_are_told_lowest_first(store):
    store.take([arrival(n, records(n, 1)) for n in (1, 2, 5, 9)])
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(
        ledger_id=LEDGER, through=2, highest=9, missing=((3, 4), (6, 8))
    )
    store.take([arrival(n, records(n, 1)) for n in (3, 4, 6, 7, 8)])
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=9, highest=9)


def test_a_message_that_waits_for_its_blob_is_not_confirmed_until_it_is_there(store):
    stored = wire.MediaStored(
        media_id=media_id(1), variant="frame", blob_name="frame/1.jpg", blob_sha256=media_id(2), size_bytes=7
    )
    there = arrival(1, stored)
    waiting = replace(there, state=MessageState.WAITING, rows=[], held=("blob_absent", "there is no blob"))
    store.take([waiting])
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=0, highest=1, missing=((1, 1),))
    assert [bytes(h.body) for h in store.held(MessageState.WAITING)] == [there.body]
    assert rows(store, schema.media) == []
    store.take([waiting])
    store.take([there])
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=1, highest=1)
    assert store.held(MessageState.WAITING) == []
    [media] = rows(store, schema.media)
    assert (media["container"], media["blob_name"]) == (f"gw-{GATEWAY}", "frame/1.jpg")
    store.take([waiting])
    assert store.confirmed(GATEWAY, LEDGER).through == 1


def test_a_parked_message_is_recorded_once_it_is_understood(store):
    good = arrival(1, records(0, 1))
    parked = replace(good, state=MessageState.PARKED, rows=[], held=("malformed", "version 2 is not known"))
    store.take([parked])
    assert store.confirmed(GATEWAY, LEDGER).parked == (1,)
    store.take([good])
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=1, highest=1)
    assert len(list(store.observations())) == 1


def test_a_refused_value_leaves_nothing_half_recorded(store):
    good, bad = arrival(1, records(0, 5)), arrival(2, records(5, 1))
    bad = replace(bad, kind=None)
    with pytest.raises(StoreRefusedError):
        store.take([good, bad])
    assert list(store.observations()) == []
    assert store.current_ledger(GATEWAY) is None


def test_a_record_behind_its_confirmation_is_told_loudly(store):
    store.take([arrival(n, records(n, 1)) for n in (1, 2)])
    told = wire.Confirmed(ledger_id=LEDGER, through=5, highest=5)
    assert store.compare_with_told(GATEWAY, told, NOW)
    assert codes(store) == ["record_behind_confirmation"]
    assert store.confirmed(GATEWAY, LEDGER).through == 2
    assert not store.compare_with_told(GATEWAY, store.confirmed(GATEWAY, LEDGER), NOW)
    unknown = wire.Confirmed(ledger_id="after-the-backup", through=3, highest=3)
    assert store.compare_with_told(GATEWAY, unknown, NOW + timedelta(hours=1))
    assert store.current_ledger(GATEWAY) == "after-the-backup"
    assert store.confirmed(GATEWAY, "after-the-backup") == wire.Confirmed(
        ledger_id="after-the-backup", through=0, highest=0
    )


def test_positions_are_kept_with_what_they_cover(store):
    at = Position(consumer_group="hq", partition_id="0", offset="123", sequence_number=7)
    store.take([arrival(1, records(0, 1))], at)
    store.take([], replace(at, offset="456", sequence_number=9))
    assert store.positions("hq") == {"0": replace(at, offset="456", sequence_number=9)}
    assert store.positions("other") == {}


def test_gateways_are_known_until_replaced_by_nothing(store):
    store.add_gateway(GATEWAY, NOW)
    store.add_gateway(GATEWAY, NOW + timedelta(days=1))
    [found] = store.gateways()
    assert (found.gateway_id, found.registered_at, found.last_message_at) == (GATEWAY, NOW, None)
    store.take([arrival(1, records(0, 1))])
    assert store.gateways()[0].last_message_at == NOW
    assert store.set_bundle_key(GATEWAY, "ab" * 32)
    assert not store.set_bundle_key("nobody", "ab" * 32)


def test_a_clock_that_no_calendar_has_costs_only_the_instant(store):
    time = record(0).exif.captured
    first_year = replace(
        time, exif_time="0001:01:01 00:00:00", local=time.local.replace(year=1, month=1, day=1, hour=0)
    )
    store.take([arrival(1, records(0, 1, exif=Exif(captured=first_year)))])
    [found] = store.observations()
    assert (found.captured_at, found.exif_time) == (None, "0001:01:01 00:00:00")


def test_long_paths_and_serials_are_recorded(store):
    path, serial = "日" * 4000 + "/" + "x" * 12_000, "s" * 9_000
    store.take([arrival(1, records(0, 1, path=path, exif=Exif(camera_serial=serial)))])
    [found] = store.observations()
    assert found.path == path
    assert found.camera_serial == serial[: schema.ID_MAX]


def test_the_migrations_lead_to_the_schema(store):
    with transaction(store.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrating_again_changes_nothing(store):
    assert migrate(store.engine) == migrate(store.engine)
    require_current(store.engine)


def test_a_database_that_was_never_migrated_is_refused_with_what_to_do(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(ConfigError, match="cloud_sync migrate"):
        require_current(engine)
    engine.dispose()


def test_a_database_that_is_away_says_so(tmp_path):
    store = Store(f"postgresql+psycopg://ponya@/x?host={tmp_path}")
    with pytest.raises(StoreUnavailableError, match="the database is away"):
        store.take([arrival(1, records(0, 1))])
    store.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", "postgresql+nothing://x/y"])
def test_a_url_that_is_none_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError, match="PONYA_DATABASE_URL"):
        Store(url)


def test_two_writers_at_once_both_succeed(store):
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda n: store.take([arrival(n, records(10 * n, 10)), arrival(99, records(0, 1))]), range(1, 21))
        )
    with transaction(store.engine, writing=False) as connection:
        assert connection.execute(select(func.count()).select_from(schema.messages)).scalar() == 21
    assert store.confirmed(GATEWAY, LEDGER).through == 20
    assert codes(store) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([n for n in range(1, 9) for _ in range(2)]), data=st.data())
def test_any_order_and_any_doubling_end_in_the_same_record(tmp_path_factory, order, data):
    url = f"sqlite:///{tmp_path_factory.mktemp('db')}/hq.db"
    store = Store(url)
    migrate(store.engine)
    while order:
        size = data.draw(st.integers(1, len(order)))
        store.take([arrival(n, records(3 * n, 3)) for n in order[:size]])
        order = order[size:]
    assert [r.path for r in store.observations()] == [record(n).path for n in range(3, 27)]
    assert store.confirmed(GATEWAY, LEDGER) == wire.Confirmed(ledger_id=LEDGER, through=8, highest=8)
    assert codes(store) == []
    store.close()


held_sets = st.sets(st.integers(1, 300), max_size=150)


@given(held=held_sets, parked=st.sets(st.integers(1, 300)), more=st.integers(0, 50))
def test_a_confirmation_never_claims_more_than_is_held(held, parked, more):
    parked &= held
    highest = max(held, default=0) + more
    value, complete = gaps.confirmed("L", through=0, held=sorted(held), highest=highest, parked=sorted(parked))
    assert set(range(1, complete + 1)) <= held
    assert value.through <= complete
    assert {n for first, last in value.missing for n in range(first, last + 1)} & held == set()
    assert len(value.missing) <= gaps.MISSING_MAX
    assert set(value.parked) == set(sorted(parked)[: gaps.PARKED_MAX])
    said_to_be_held = set(range(1, value.through + 1))
    for (_, before_last), (first, _) in pairwise([(0, value.through), *value.missing, (value.highest + 1, 0)]):
        said_to_be_held |= set(range(before_last + 1, first))
    assert said_to_be_held <= held
    assert said_to_be_held & parked <= set(value.parked)
    assert wire.Confirmed.from_twin(value.to_twin()) == value
    if len(value.missing) < gaps.MISSING_MAX and len(parked) <= gaps.PARKED_MAX:
        assert value.highest == highest
        assert said_to_be_held == held
        claimed = set(range(1, complete + 1)) | {n for a, b in value.missing for n in range(a, b + 1)}
        assert claimed | held == set(range(1, highest + 1))


def test_a_confirmation_fits_a_twin():
    far = 10**15
    value, _ = gaps.confirmed(
        "L" * schema.ID_MAX,
        through=far,
        held=range(far + 2, far + 2000, 2),
        highest=far + 9999,
        parked=range(far + 2, far + 2000, 2),
    )
    assert len(json.dumps({"confirmed": value.to_twin()})) < 8 * 1024
    assert value.through == far


def test_the_hash_of_a_body_is_what_is_compared(store):
    store.take([arrival(1, records(0, 1))])
    [message] = rows(store, schema.messages)
    assert bytes(message["body_sha256"]) == hashlib.sha256(arrival(1, records(0, 1)).body).digest()
