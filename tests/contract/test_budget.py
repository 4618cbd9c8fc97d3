"""The day's budget: kept to the byte, whatever the clocks do (the rules in budget.py)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_module import wire
from edge_module.budget import MESSAGE_HEADER_BYTES, Allowance, Day, at
from edge_module.ledger import Ledger
from tests.ledgers import TestClock, open_ledger

NEPAL = timezone(timedelta(minutes=345))
NOON = datetime(2026, 3, 14, 12, tzinfo=NEPAL)
ALLOWANCE = Allowance(budget_bytes=1000, utc_offset_min=345)
DAY_S = 86_400


@pytest.fixture
def clock() -> TestClock:
    return TestClock(wall=NOON)


@pytest.fixture
def ledger(tmp_path: Path, clock: TestClock) -> Iterator[Ledger]:
    with open_ledger(tmp_path, clock) as ledger:
        yield ledger


def pass_s(clock: TestClock, seconds: float) -> None:
    """Both clocks go on, as clocks should."""
    clock.pass_s(seconds)
    clock.wall += timedelta(seconds=seconds)


# --- how much ---


def test_nine_tenths_are_for_everything_and_the_last_for_alerts_and_receipts(ledger: Ledger) -> None:
    assert ledger.budget.left_bytes(ALLOWANCE) == 900
    assert ledger.budget.reserve(901, ALLOWANCE) is None
    assert ledger.budget.reserve(900, ALLOWANCE) is not None
    assert ledger.budget.reserve(1, ALLOWANCE) is None
    assert ledger.budget.reserve(101, ALLOWANCE, urgent=True) is None
    assert ledger.budget.reserve(100, ALLOWANCE, urgent=True) is not None
    assert ledger.budget.left_bytes(ALLOWANCE, urgent=True) == 0


def test_what_was_taken_stays_taken_when_the_process_ends(tmp_path: Path, clock: TestClock) -> None:
    with open_ledger(tmp_path, clock) as ledger:
        ledger.budget.reserve(600, ALLOWANCE)
    clock.reboot()
    with open_ledger(tmp_path, clock) as ledger:
        assert ledger.budget.left_bytes(ALLOWANCE) == 300


def test_what_never_left_is_given_back_on_its_own_day_only(ledger: Ledger, clock: TestClock) -> None:
    day = ledger.budget.reserve(600, ALLOWANCE)
    assert day is not None
    ledger.budget.give_back(day, 600)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900
    ledger.budget.reserve(600, ALLOWANCE)
    pass_s(clock, DAY_S)
    ledger.budget.reserve(500, ALLOWANCE)
    ledger.budget.give_back(day, 600)
    assert ledger.budget.left_bytes(ALLOWANCE) == 400


def test_a_budget_that_is_raised_or_lowered_counts_what_was_used(ledger: Ledger) -> None:
    ledger.budget.reserve(900, ALLOWANCE)
    assert ledger.budget.left_bytes(Allowance(budget_bytes=2000, utc_offset_min=345)) == 900
    assert ledger.budget.left_bytes(Allowance(budget_bytes=500, utc_offset_min=345)) == 0


# --- whose midnight ---


def test_the_day_ends_at_midnight_where_the_cameras_are(ledger: Ledger, clock: TestClock) -> None:
    ledger.budget.reserve(900, ALLOWANCE)
    pass_s(clock, 12 * 3600 - 1)
    assert ledger.budget.left_bytes(ALLOWANCE) == 0
    pass_s(clock, 1)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900


def test_a_gateway_that_was_off_for_days_has_one_budget(ledger: Ledger, clock: TestClock) -> None:
    ledger.budget.reserve(900, ALLOWANCE)
    clock.reboot()
    clock.wall += timedelta(days=5)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900
    ledger.budget.reserve(900, ALLOWANCE)
    assert ledger.budget.left_bytes(ALLOWANCE) == 0


# --- a clock that jumps ---


@pytest.mark.parametrize("year", [1970, 2025, 2027, 2099])
def test_setting_the_clock_gives_nothing_and_takes_nothing(ledger: Ledger, clock: TestClock, year: int) -> None:
    ledger.budget.reserve(900, ALLOWANCE)
    clock.wall = clock.wall.replace(year=year)
    assert ledger.budget.left_bytes(ALLOWANCE) == 0
    clock.pass_s(12 * 3600)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900


@pytest.mark.parametrize("by", [timedelta(seconds=1), timedelta(days=1), timedelta(days=20_000)])
def test_a_clock_set_back_over_a_reboot_gives_no_second_budget(ledger: Ledger, clock: TestClock, by: timedelta) -> None:
    ledger.budget.reserve(900, ALLOWANCE)
    clock.reboot()
    clock.wall -= by
    ledger.budget.reserve(1, ALLOWANCE)
    clock.pass_s(12 * 3600 - 1)
    assert ledger.budget.left_bytes(ALLOWANCE) == 0
    clock.pass_s(2)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900


def test_a_clock_that_was_years_ahead_and_is_set_right_blocks_nothing(ledger: Ledger, clock: TestClock) -> None:
    right = clock.wall
    clock.reboot()
    clock.wall = datetime(2099, 1, 1, tzinfo=UTC)
    ledger.budget.reserve(900, ALLOWANCE)
    assert ledger.budget.left_bytes(ALLOWANCE) == 0
    clock.reboot()
    clock.wall = right
    assert ledger.budget.left_bytes(ALLOWANCE) == 0
    pass_s(clock, DAY_S)
    assert ledger.budget.left_bytes(ALLOWANCE) == 900


def test_a_host_without_a_battery_that_begins_in_1970_each_morning_has_its_budget(
    ledger: Ledger, clock: TestClock
) -> None:
    budgets = 0
    for _ in range(10):  # ten mornings of twelve hours each
        clock.reboot()
        clock.wall = datetime(1970, 1, 1, tzinfo=UTC)
        for _ in range(12):
            if ledger.budget.reserve(900, ALLOWANCE) is not None:
                budgets += 1
            pass_s(clock, 3600)
    assert 4 <= budgets <= 6, "one for each 24 hours that it ran"


moves = st.lists(
    st.tuples(
        st.floats(0, 40 * 3600),  # how long the host runs on
        st.none() | st.floats(-50 * 365 * DAY_S, 50 * 365 * DAY_S),  # the wall clock is set by this
        st.booleans(),  # and it reboots
        st.sampled_from([-720, 0, 345, 840]),  # and the offset is another
    ),
    max_size=30,
)


@dataclass
class _Host:
    wall_s: float = 1_800_000_000.0
    monotonic_s: float = 50.0
    boots: int = 1
    day: Day | None = None
    offset_min: int = 345
    begun: list[tuple[float, int]] = field(default_factory=list)

    def look(self) -> Day:
        before = self.day
        self.day = at(
            before, boot_id=str(self.boots), monotonic_s=self.monotonic_s, wall_s=self.wall_s,
            utc_offset_min=self.offset_min,
        )  # fmt: skip
        if before is not None and self.day.number != before.number:
            self.begun.append((self.monotonic_s, self.boots))
        return self.day


@settings(deadline=None)
@given(moves=moves)
def test_no_jump_gives_two_budgets_within_a_boot_or_blocks_for_more_than_a_day(moves) -> None:
    host = _Host()
    host.look()
    for runs_s, set_by_s, reboots, offset_min in moves:
        host.monotonic_s += runs_s
        host.wall_s += runs_s
        host.look()
        if set_by_s is not None:
            host.wall_s = max(0.0, host.wall_s + set_by_s)
        if reboots:
            host.boots, host.monotonic_s = host.boots + 1, 1.0
        host.offset_min = offset_min
        day = host.look()
        assert 0 < day.ends_s - day.time_s <= DAY_S + 1e-3, "it always ends within a day of running on"
    for boot in range(1, host.boots + 1):
        begun = [at_s for at_s, in_boot in host.begun if in_boot == boot]
        assert len(begun) <= 2 + max(begun, default=0.0) / DAY_S, "one as it boots, one at midnight, one a day"


@settings(deadline=None)
@given(set_by_s=st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_however_often_the_clock_is_set_a_day_that_has_not_passed_goes_on(set_by_s: list[float]) -> None:
    host = _Host()
    first = host.look()
    for jump_s in set_by_s:
        host.wall_s += jump_s
        assert host.look().number == first.number


@settings(deadline=None)
@given(back_s=st.lists(st.floats(0, 1e9), max_size=20))
def test_reboots_with_a_clock_further_and_further_back_begin_no_day(back_s: list[float]) -> None:
    host = _Host()
    first = host.look()
    for jump_s in back_s:
        host.wall_s -= jump_s
        host.boots += 1
        assert host.look().number == first.number


# --- messages ---


def alert(text: str) -> wire.Alert:
    return wire.Alert(code="test", text=text, at=NOON)


def test_messages_are_counted_with_their_headers_before_they_are_sent(ledger: Ledger) -> None:
    ledger.outbox.put(alert("a"))
    (owed,) = ledger.outbox.lease(limit=10, lease_s=60, allowance=Allowance(budget_bytes=10_000, utc_offset_min=0))
    assert owed.cost_bytes == len(owed.body) + MESSAGE_HEADER_BYTES
    assert ledger.budget.today(ALLOWANCE).used_bytes == owed.cost_bytes


def test_alerts_go_where_the_rest_has_to_wait_for_tomorrow(ledger: Ledger, clock: TestClock) -> None:
    status = ledger.outbox.put(wire.Status(at=NOON, measures={}))
    urgent = ledger.outbox.put(alert("a"))
    allowance = Allowance(budget_bytes=10_000, utc_offset_min=345)
    ledger.budget.reserve(9_000, allowance)
    assert [owed.sequence for owed in ledger.outbox.lease(limit=10, lease_s=60, allowance=allowance)] == [urgent]
    assert ledger.outbox.lease(limit=10, lease_s=60, allowance=allowance) == []
    pass_s(clock, DAY_S)
    ledger.outbox.sent(urgent)
    assert [owed.sequence for owed in ledger.outbox.lease(limit=10, lease_s=60, allowance=allowance)] == [status]
