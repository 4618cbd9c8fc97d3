"""Only what headquarters' database holds is forgotten, whatever arrives that looks like its word."""

import shutil

from edge_module import wire
from tests.integration.gateway.conftest import Running
from tests.local_azure import wait_until

OWED = "SELECT count(*) FROM outbox WHERE kind <> 'status'"
SAFE = "SELECT told_safe FROM reading ORDER BY id DESC LIMIT 1"


def ready(running: Running) -> None:
    """Storage in place and a first card in, everything sent."""
    running.service.create_container(f"own-{running.name}")
    running.start(status_interval_s="3600")
    running.insert("first")
    wait_until(lambda: running.sas_requests() >= 1, timeout_s=60, what=running.log)
    assert running.call("setUploadSas", running.credential(f"own-{running.name}"))[0] == 200
    running.wait_messages(wire.MediaStored)
    running.wait_all_sent()


def test_what_is_not_headquarters_word_on_this_ledger_confirms_nothing(running: Running):
    ready(running)
    highest, owed = running.wait_all_sent(), running.value(OWED)
    assert owed > 2
    for number, confirmed in enumerate(
        [
            {"ledger_id": "f" * 32, "through": highest, "highest": highest, "missing": [], "parked": []},
            {"ledger_id": running.ledger_id(), "through": highest, "highest": 1, "missing": [], "parked": []},
            {"ledger_id": running.ledger_id(), "through": -1, "highest": highest, "missing": [], "parked": []},
            {"ledger_id": running.ledger_id(), "through": 0, "highest": highest, "missing": [[9, 2], [1, 1]]},
            {"ledger_id": running.ledger_id(), "through": str(highest), "highest": highest},
            "noise",
        ]
    ):
        running.desire(confirmed=None)
        running.desire(confirmed=confirmed)
        running.wait_heard(poll_s=0.2 + number / 100)
        assert running.value(OWED) == owed, confirmed
    assert running.value(SAFE) == 0
    running.confirm(highest)
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)
    safe = running.wait_messages(wire.Receipt, 2)[-1].payload.receipt
    assert safe.safe_to_wipe
    assert (safe.seen, safe.counts["panda"]) == (4, 1)
    ledger_id = running.ledger_id()
    highest = running.wait_all_sent()
    running.confirm(highest)
    wait_until(lambda: running.value(OWED) == 0, timeout_s=60)
    running.confirm(2, highest, missing=[[3, highest]])  # an older word, replayed
    running.wait_heard(poll_s=0.5)
    assert running.value(OWED) == 0
    assert running.ledger_id() == ledger_id
    sent = len(running.messages())
    running.wait_heard(poll_s=0.6)
    assert len(running.messages()) == sent


def test_a_gateway_restored_from_an_old_backup_takes_another_name_and_sends_everything_it_owes_again(running: Running):
    """The dangerous order: the old ledger gives out numbers that headquarters knows before it hears of them."""
    ready(running)
    running.confirm(running.wait_all_sent())
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)
    running.confirm(running.wait_all_sent())
    wait_until(lambda: running.value(OWED) == 0, timeout_s=60)
    assert running.end() == 0
    shutil.copytree(running.data, running.folder / "backup")

    running.start(status_interval_s="3600")
    running.insert("second")
    running.wait_read(2)
    running.wait_messages(wire.Records, 3)
    running.confirm(running.wait_all_sent())
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)
    highest = running.wait_all_sent()
    running.confirm(highest)
    old = running.ledger_id()
    wait_until(lambda: running.value(OWED) == 0, timeout_s=60)
    assert running.end() == 0

    shutil.rmtree(running.data)
    shutil.move(running.folder / "backup", running.data)
    shutil.rmtree(running.cards / "second")
    running.azure.end(running.name)
    running.start(status_interval_s="3600")
    for name in ("third", "fourth", "fifth"):
        running.insert(name)
    running.wait_read(4)
    assert running.ledger_id() == old
    wait_until(lambda: running.value("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'") > highest, timeout_s=60)
    running.azure.restart(running.name)
    wait_until(lambda: running.ledger_id() != old, timeout_s=60, what=running.log)

    def again() -> set[tuple[str, str]]:
        known = [m.payload for m in running.messages() if m.ledger_id != old and isinstance(m.payload, wire.Records)]
        return {(record.card_id, record.path) for payload in known for record in payload.records}

    wait_until(lambda: len(again()) == 3 * 4, timeout_s=60, what=running.log)
    assert len({card_id for card_id, _ in again()}) == 3
    assert running.value("SELECT count(*) FROM record WHERE confirmed = 0") == 3 * 4


def test_a_new_gateway_under_an_old_name_begins_a_ledger_of_its_own(running: Running):
    ready(running)
    old, highest = running.ledger_id(), running.wait_all_sent()
    running.confirm(highest)
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)
    assert running.end() == 0
    shutil.rmtree(running.data)
    running.start(status_interval_s="3600")
    running.wait_read()
    new = running.ledger_id()
    assert new != old
    again = running.wait_messages(wire.Receipt, ledger_id=new)
    assert not again[0].payload.receipt.safe_to_wipe
    assert running.value(SAFE) == 0
    running.wait_messages(wire.Records, 2, ledger_id=new)
    running.confirm(running.wait_all_sent(), ledger_id=new)
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)


def test_a_message_that_headquarters_could_not_read_keeps_its_files_from_being_safe(running: Running):
    ready(running)
    highest = running.wait_all_sent()
    (of_panda,) = running.ledger("SELECT sequence FROM record WHERE fate = 'panda'")
    running.confirm(highest, parked=list(of_panda))
    running.wait_heard(poll_s=0.3)
    wait_until(lambda: running.value(OWED) == 0, timeout_s=60)
    assert running.value(SAFE) == 0


def test_a_picture_that_headquarters_cannot_see_yet_holds_up_no_verdict(running: Running):
    ready(running)
    highest = running.wait_all_sent()
    (of_picture,) = [m.sequence for m in running.messages() if isinstance(m.payload, wire.MediaStored)]
    running.confirm(of_picture - 1, highest, missing=[[of_picture, of_picture]])
    wait_until(lambda: running.value(SAFE) == 1, timeout_s=60, what=running.log)
    left = "SELECT sequence FROM outbox WHERE sequence <= ?"
    assert running.ledger(left, highest) == [(of_picture,)]
    arrived = len([m for m in running.messages() if m.sequence == of_picture])
    for number in range(30):  # headquarters says it again with every new thing it says
        running.confirm(of_picture - 1, highest, missing=[[of_picture, of_picture]])
        running.wait_heard(poll_s=0.3 + number / 100)
        if len([m for m in running.messages() if m.sequence == of_picture]) > arrived:
            return
    raise AssertionError("what headquarters misses was not sent again")
