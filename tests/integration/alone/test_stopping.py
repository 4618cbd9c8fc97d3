"""The process ends when asked, whatever it is at, and by itself when a part of it is stuck."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.alone import Alone, FaultyDisk, alone
from tests.local_azure import wait_until

_FILES = 20_000


def starting(gateway: Alone) -> None:
    gateway.start()
    wait_until((gateway.data / "ledger.sqlite").exists, timeout_s=60)


def without_a_card(gateway: Alone) -> None:
    gateway.start()
    gateway.wait_log("edge hub not reached")


def listing(gateway: Alone) -> None:
    card = gateway.insert("card")
    for number in range(_FILES):
        (card / f"{number}.jpg").touch()
    gateway.start()
    wait_until(lambda: (gateway.ledger("SELECT count(*) FROM file") or [(0,)])[0][0], timeout_s=60, what=gateway.log)


def one_long_event(gateway: Alone) -> None:
    gateway.insert("card", pictures=400)  # no times in EXIF: one burst after another, without a gap
    gateway.start(workers=1)
    wait_until(lambda: (gateway.ledger("SELECT count(*) FROM media") or [(0,)])[0][0], timeout_s=60, what=gateway.log)


MOMENTS = (starting, without_a_card, listing, one_long_event)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_asked_to_end_it_ends_in_order(tmp_path: Path, moment: Callable[[Alone], None]) -> None:
    with alone(tmp_path) as gateway:
        moment(gateway)
        assert gateway.end() == 0, gateway.log()
        gateway.assert_ledger_sound()
        assert "Traceback" not in gateway.log()


def test_asked_to_end_while_a_card_does_not_answer_it_ends_all_the_same(
    tmp_path: Path, faulty_disk: FaultyDisk
) -> None:
    with alone(tmp_path) as gateway:
        gateway.more_environment = faulty_disk.environment
        card = gateway.insert("card", pictures=5)
        faulty_disk.set("HANG", card / "IMG_00003.JPG")
        gateway.start()
        gateway.wait_ledger("SELECT count(*) FROM reading WHERE state = 'reading'", 1)
        gateway.wait_ledger("SELECT count(*) FROM file", 7)
        assert gateway.end() == 0, gateway.log()
        gateway.assert_ledger_sound()
        faulty_disk.heal()
        gateway.start()
        gateway.wait_ledger("SELECT count(*) FROM reading WHERE state = 'complete'", 1)


def test_a_part_that_does_not_move_any_more_ends_the_process_and_headquarters_is_told(
    tmp_path: Path, faulty_disk: FaultyDisk
) -> None:
    with alone(tmp_path, stall_s=10) as gateway:
        gateway.more_environment = faulty_disk.environment
        gateway.insert("card", pictures=5)
        faulty_disk.set("STUCK", gateway.data / "originals")
        gateway.start()
        assert gateway.wait_end() == 70
        gateway.wait_log("the worker 'cards' has not moved")
        words = json.loads((gateway.data / "last-words.json").read_text())
        assert words["code"] == "worker_stalled"
        faulty_disk.heal()
        gateway.start(stall_s=600)
        gateway.wait_ledger("SELECT count(*) FROM reading WHERE state = 'complete'", 1)
        assert gateway.alerts() == ["worker_stalled"]
        assert not (gateway.data / "last-words.json").exists()


def test_a_card_that_does_not_answer_is_no_part_that_does_not_move(tmp_path: Path, faulty_disk: FaultyDisk) -> None:
    with alone(tmp_path, stall_s=10) as gateway:
        gateway.more_environment = faulty_disk.environment
        card = gateway.insert("card", pictures=5)
        faulty_disk.set("HANG", card / "IMG_00003.JPG")
        gateway.start()
        wait_until(lambda: gateway.alerts() == ["card_hangs"], timeout_s=120, what=gateway.log)
        gateway.insert("other", pictures=3)
        gateway.wait_ledger("SELECT count(*) FROM reading WHERE state = 'complete'", 1)
        assert gateway.up
        assert gateway.end() == 0, gateway.log()


def test_what_is_slow_and_moves_is_left_alone(tmp_path: Path) -> None:
    with alone(tmp_path, stall_s=10, poll_s=30) as gateway:
        gateway.start()  # waits much longer for a card than a stall may last
        gateway.wait_log("trying again in 8 s")
        assert gateway.up
        assert gateway.end() == 0
