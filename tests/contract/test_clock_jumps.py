"""A wall clock that jumps - no battery, a first NTP answer, somebody's hand - moves nothing that is waited for."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edge_module import wire
from edge_module.domain import Fate
from edge_module.ledger import Ledger
from tests.ledgers import TestClock, open_ledger, read_card

JUMPS = [timedelta(days=days) for days in (-20_000, -1, 1, 20_000)]


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: TestClock) -> Iterator[Ledger]:
    with open_ledger(tmp_path, clock) as opened:
        yield opened


def jump(clock: TestClock, by: timedelta) -> None:
    clock.wall += by


def owe(ledger: Ledger, clock: TestClock) -> None:
    ledger.outbox.put(wire.Alert(code="any", text="any", at=clock.now()))


def taken(ledger: Ledger) -> int:
    return len(ledger.outbox.lease(limit=10, lease_s=100))


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_a_lease_lasts_as_long_as_it_was_to_last(ledger: Ledger, clock: TestClock, by: timedelta) -> None:
    owe(ledger, clock)
    assert taken(ledger) == 1
    jump(clock, by)
    clock.pass_s(99)
    assert taken(ledger) == 0
    clock.pass_s(2)
    assert taken(ledger) == 1


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_a_delay_lasts_as_long_as_it_was_to_last(ledger: Ledger, clock: TestClock, by: timedelta) -> None:
    owe(ledger, clock)
    (owed,) = ledger.outbox.lease(limit=1, lease_s=100)
    ledger.outbox.release(owed.sequence, delay_s=50, reason="no link")
    jump(clock, by)
    assert taken(ledger) == 0
    clock.pass_s(51)
    assert taken(ledger) == 1


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_what_was_sent_is_sent_again_when_its_time_is_over_and_not_before(
    ledger: Ledger, clock: TestClock, by: timedelta
) -> None:
    owe(ledger, clock)
    (owed,) = ledger.outbox.lease(limit=1, lease_s=100)
    ledger.outbox.sent(owed.sequence)
    jump(clock, by)
    clock.pass_s(50)
    assert ledger.outbox.resend([(1, 9)], older_than_s=100) == 0
    clock.pass_s(51)
    assert ledger.outbox.resend([(1, 9)], older_than_s=100) == 1


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_after_a_reboot_with_another_time_nothing_is_held_back(ledger: Ledger, clock: TestClock, by: timedelta) -> None:
    ledger.end(read_card(ledger, {"panda.jpg": ("panda", Fate.PANDA)}))
    held = taken(ledger)
    assert held
    jump(clock, by)
    clock.reboot()
    assert taken(ledger) == held
