"""The judge of a round notices what a round is there to find."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from cloud_sync import schema
from cloud_sync.database import transaction
from cloud_sync.migrate import migrate
from cloud_sync.store import Store
from edge_module.clock import SystemClock
from edge_module.domain import Card, Fate, Media
from edge_module.ledger import Ledger
from edge_module.listing import Listed
from tests.cloud_messages import arrival, receipt, records
from tests.torture.judge import Complaints, Expected, Witness, differences, recorded

CARD = "card-1"


@pytest.fixture
def hq(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'hq.db'}")
    migrate(store.engine)
    store.take([arrival(1, records(0, 3)), arrival(2, receipt(unconfirmed=0, blockers=()))])
    yield store
    store.close()


@pytest.fixture
def expected(hq: Store, tmp_path: Path) -> Expected:
    return recorded(tmp_path / "hq.db", CARD)


def test_the_same_record_has_no_differences(expected: Expected, tmp_path: Path) -> None:
    assert len(expected.rows) == 3
    assert differences(expected, recorded(tmp_path / "hq.db", CARD)) == []


def test_a_row_that_is_lost_or_too_many_or_other_is_named(hq: Store, expected: Expected, tmp_path: Path) -> None:
    database = tmp_path / "hq.db"
    first = schema.records.c.path == "DCIM/100RECNX/IMG_00000.JPG"
    with transaction(hq.engine) as connection:
        connection.execute(update(schema.records).where(first).values(night=True))
    assert "row differs: DCIM/100RECNX/IMG_00000.JPG: {'night': (0, 1)}" in differences(
        expected, recorded(database, CARD)
    )
    with transaction(hq.engine) as connection:
        connection.execute(delete(schema.records).where(first))
    found = recorded(database, CARD)
    assert "row lost: DCIM/100RECNX/IMG_00000.JPG" in differences(expected, found)
    assert any(fault.startswith("row too many") for fault in differences(found, expected))
    assert any("does not balance" in fault for fault in differences(found, found))


def test_a_message_that_was_parked_is_complained_of_once(hq: Store, tmp_path: Path) -> None:
    complaints = Complaints(tmp_path / "hq.db")
    assert complaints.new() == []
    hq.take([arrival(3, b"noise")])
    assert any("malformed" in one for one in complaints.new())
    assert complaints.new() == []


def test_safe_to_wipe_is_a_lie_while_headquarters_lacks_a_row(hq: Store, expected: Expected, tmp_path: Path) -> None:
    data = tmp_path / "data"
    ledger, _ = Ledger.open(data / "ledger.sqlite", SystemClock())
    with ledger:
        reading = ledger.begin(Card(card_id=CARD, source="marker"))
        media = Media(path=b"notes.txt", size_bytes=1, mtime_ns=1)
        ledger.list_files(reading, [Listed(media=media, fate=Fate.IGNORED, reason="no picture")])
        ledger.end(reading)
        with transaction(hq.engine) as connection:
            connection.execute(delete(schema.receipts))
        one_more = {**expected.rows, b"k": {"media_id": "", "fate": "ignored", "path": "notes.txt"}}
        with Witness(tmp_path / "hq.db", data, CARD, replace(expected, rows=one_more)) as witness:
            _wait_for_samples(witness)
            assert (witness.safe_after_s, witness.faults) == (None, [])
            _say_safe(ledger)
            _wait_for_samples(witness)
        assert witness.held_after_s is None
        assert any("lacked 1 rows" in fault for fault in witness.faults)
    shutil.rmtree(data)


def _say_safe(ledger: Ledger) -> None:
    """What a gateway would do that took PUBACK for headquarters' word."""
    while ledger.outbox.pack(flush=True):
        pass
    ledger.outbox.ack([(1, ledger.outbox.highest())])


def _wait_for_samples(witness: Witness) -> None:
    wanted, deadline = witness.samples + 3, time.monotonic() + 30
    while witness.samples < wanted:
        assert time.monotonic() < deadline, witness.faults
        time.sleep(0.02)
