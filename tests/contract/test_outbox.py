"""The table in outbox.py, row by row; and a machine that compares the outbox with a simple model of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_module import wire
from edge_module.domain import Fate
from edge_module.ledger import Ledger
from tests.ledgers import TestClock, open_ledger, read_card

NOW = datetime(2026, 3, 14, tzinfo=UTC)
ALERT = wire.Alert(code="test", text="a message", at=NOW)
STATUS = wire.Status(at=NOW, measures={"cpu": 1.0})


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: TestClock) -> Iterator[Ledger]:
    with open_ledger(tmp_path, clock) as ledger:
        yield ledger


def lease(ledger: Ledger, *, limit: int = 10, lease_s: float = 60, bytes_max: int | None = None) -> list[int]:
    return [owed.sequence for owed in ledger.outbox.lease(limit=limit, lease_s=lease_s, bytes_max=bytes_max)]


def state_of(ledger: Ledger, sequence: int) -> str | None:
    return {row[0]: row[2] for row in ledger.outbox.rows()}.get(sequence)


# --- the table, row by row ---


def test_put_is_ready_under_a_number_of_its_own(ledger: Ledger) -> None:
    first, second = ledger.outbox.put(ALERT), ledger.outbox.put(ALERT)
    assert (state_of(ledger, first), state_of(ledger, second)) == ("ready", "ready")
    assert second == first + 1
    (owed, _) = ledger.outbox.lease(limit=10, lease_s=60)
    message = wire.decode(owed.body)
    assert (message.ledger_id, message.sequence, message.payload) == (ledger.ledger_id, first, ALERT)


def test_a_number_is_never_used_again(tmp_path: Path, clock: TestClock) -> None:
    with open_ledger(tmp_path, clock) as ledger:
        last = [ledger.outbox.put(ALERT) for _ in range(3)][-1]
        ledger.outbox.ack([(1, last)])
        assert ledger.outbox.backlog().messages == 0
    with open_ledger(tmp_path, clock) as ledger:
        assert ledger.outbox.put(ALERT) == last + 1


def test_a_leased_message_is_with_one_sender_only(ledger: Ledger) -> None:
    sequence = ledger.outbox.put(ALERT)
    assert lease(ledger) == [sequence]
    assert state_of(ledger, sequence) == "leased"
    assert lease(ledger) == []


def test_sent_is_not_gone(ledger: Ledger, clock: TestClock) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger)
    ledger.outbox.sent(sequence)
    clock.pass_s(10_000)
    assert state_of(ledger, sequence) == "sent"
    assert lease(ledger) == []
    assert ledger.outbox.backlog().messages == 1


def test_a_released_message_waits_its_delay_and_says_why(ledger: Ledger, clock: TestClock) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger)
    ledger.outbox.release(sequence, delay_s=30, reason="no link")
    assert state_of(ledger, sequence) == "ready"
    assert ledger.outbox.rows()[0][-1] == "no link"
    clock.pass_s(29)
    assert lease(ledger) == []
    clock.pass_s(1)
    (owed,) = ledger.outbox.lease(limit=10, lease_s=60)
    assert owed.attempts == 2


def test_retry_forgets_the_delay(ledger: Ledger) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger)
    ledger.outbox.release(sequence, delay_s=3600, reason="no link")
    assert ledger.outbox.retry() == 1
    assert lease(ledger) == [sequence]


def test_a_lease_that_ran_out_may_be_taken_again(ledger: Ledger, clock: TestClock) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger, lease_s=60)
    clock.pass_s(59)
    assert lease(ledger) == []
    clock.pass_s(1)
    assert lease(ledger) == [sequence]


@pytest.mark.parametrize("uptime_s", [0.5, 5_000.0], ids=["less than before", "more than before"])
def test_a_reboot_ends_every_lease_and_delay(tmp_path: Path, clock: TestClock, uptime_s: float) -> None:
    with open_ledger(tmp_path, clock) as ledger:
        first, second = ledger.outbox.put(ALERT), ledger.outbox.put(ALERT)
        lease(ledger, lease_s=10_000)
        ledger.outbox.release(second, delay_s=10_000, reason="no link")
    clock.reboot()
    clock.uptime_s = uptime_s
    with open_ledger(tmp_path, clock) as ledger:
        assert lease(ledger) == [first, second]


def test_a_wall_clock_that_jumps_changes_nothing(ledger: Ledger, clock: TestClock) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger, lease_s=60)
    for year in (1970, 2099):
        clock.wall = datetime(year, 1, 1, tzinfo=UTC)
        assert lease(ledger) == []
    clock.pass_s(60)
    assert lease(ledger) == [sequence]


def test_what_headquarters_confirms_is_gone(ledger: Ledger) -> None:
    sequences = [ledger.outbox.put(ALERT) for _ in range(5)]
    for sequence in lease(ledger):
        ledger.outbox.sent(sequence)
    assert ledger.outbox.ack([(1, 2), (4, 4)]) == 3
    assert [row[0] for row in ledger.outbox.rows()] == [sequences[2], sequences[4]]
    assert ledger.outbox.ack([(1, 2)]) == 0, "told twice, done once"


def test_what_headquarters_misses_is_ready_again_once_it_had_time_to_arrive(ledger: Ledger, clock: TestClock) -> None:
    sequences = [ledger.outbox.put(ALERT) for _ in range(3)]
    lease(ledger, lease_s=1000)
    ledger.outbox.sent(sequences[0])
    clock.pass_s(100)
    ledger.outbox.sent(sequences[1])
    assert ledger.outbox.resend([(1, 3)], older_than_s=50) == 1, "the second was sent just now, the third never"
    assert [state_of(ledger, sequence) for sequence in sequences] == ["ready", "sent", "leased"]
    assert lease(ledger) == [sequences[0]]


def test_what_was_sent_before_a_reboot_had_time_to_arrive(ledger: Ledger, clock: TestClock) -> None:
    sequence = ledger.outbox.put(ALERT)
    lease(ledger)
    ledger.outbox.sent(sequence)
    clock.reboot()
    assert ledger.outbox.resend([(1, 1)], older_than_s=3600) == 1
    assert lease(ledger) == [sequence]


@pytest.mark.parametrize("state", ["ready", "leased", "sent"])
def test_what_can_never_be_delivered_leaves_a_tombstone_and_its_body(ledger: Ledger, state: str) -> None:
    sequence = ledger.outbox.put(ALERT)
    if state != "ready":
        lease(ledger)
    if state == "sent":
        ledger.outbox.sent(sequence)
    ledger.outbox.bury(sequence, reason="too large")
    ledger.outbox.bury(sequence, reason="told twice")
    assert ledger.outbox.backlog().buried == 1
    (owed,) = ledger.outbox.lease(limit=10, lease_s=60)
    message = wire.decode(owed.body)
    assert (owed.sequence, message.sequence) == (sequence, sequence)
    assert message.payload == wire.Tombstone(buried_kind="alert", reason="too large", media_ids=())


# --- what is urgent, and how much is on its way ---


def test_alerts_go_before_verdicts_and_verdicts_before_status(ledger: Ledger) -> None:
    status = ledger.outbox.put(STATUS)
    stored = ledger.outbox.put(
        wire.MediaStored(media_id="0" * 64, variant="crop", blob_name="x", blob_sha256="0" * 64, size_bytes=1)
    )
    alert = ledger.outbox.put(ALERT)
    assert lease(ledger) == [alert, stored, status]


def test_unconfirmed_bytes_are_bounded_but_one_message_always_goes(ledger: Ledger) -> None:
    sequences = [ledger.outbox.put(ALERT) for _ in range(3)]
    (size, *_) = [row[3] for row in ledger.outbox.rows()]
    assert lease(ledger, bytes_max=1) == sequences[:1], "a large one cannot block for ever"
    ledger.outbox.sent(sequences[0])
    assert lease(ledger, bytes_max=2 * size - 1) == []
    assert lease(ledger, bytes_max=2 * size) == sequences[1:2]


def test_pandas_go_one_by_one_and_the_rest_together(ledger: Ledger) -> None:
    files = {f"{n:04}.jpg": (f"picture {n}", Fate.OTHER) for n in range(700)}
    files |= {"a.jpg": ("panda", Fate.PANDA), "b.jpg": ("review", Fate.REVIEW)}
    read_card(ledger, files)
    assert ledger.outbox.pack(flush=False) == 3, "two of their own and a full batch"
    assert ledger.outbox.pack(flush=False) == 0, "200 wait for the rest of the card"
    assert ledger.outbox.pack(flush=True) == 1
    assert ledger.outbox.pack(flush=True) == 0
    bodies = [wire.decode(owed.body).payload for owed in ledger.outbox.lease(limit=10, lease_s=60)]
    packed = [payload.records for payload in bodies if isinstance(payload, wire.Records)]
    assert [len(records) for records in packed] == [1, 1, 500, 200]
    assert sorted(record.path for records in packed for record in records) == sorted(files)


def test_names_of_any_length_fit_into_messages(ledger: Ledger) -> None:
    files = {f"{chr(0x300 + n % 1000) * 1900}{n}.jpg": (str(n), Fate.OTHER) for n in range(500)}
    read_card(ledger, files)
    while ledger.outbox.pack(flush=True):
        pass
    owed = ledger.outbox.lease(limit=1000, lease_s=60)
    assert max(len(message.body) for message in owed) <= wire.MESSAGE_MAX_BYTES
    payloads = [wire.decode(message.body).payload for message in owed]
    assert sorted(r.path for p in payloads if isinstance(p, wire.Records) for r in p.records) == sorted(files)


# --- against a model ---


@dataclass
class Message:
    state: str = "ready"
    boot_id: str = ""
    until_s: float = 0.0
    tombstone: bool = False


class OutboxMachine(RuleBasedStateMachine):
    """Everything that can happen to an outbox, in any order, reboots and reopening included."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self._clock = TestClock()
        self._ledger = open_ledger(Path(self._folder.name), self._clock)
        self._model: dict[int, Message] = {}
        self._highest = 0

    def teardown(self) -> None:
        self._ledger.close()
        self._folder.cleanup()

    def _due(self, message: Message) -> bool:
        return message.boot_id != self._clock.boot_id or message.until_s <= self._clock.uptime_s

    @rule()
    def put(self) -> None:
        sequence = self._ledger.outbox.put(STATUS)
        assert sequence == self._highest + 1
        self._highest = sequence
        self._model[sequence] = Message()

    @rule(limit=st.integers(1, 4), lease_s=st.integers(1, 20))
    def lease(self, limit: int, lease_s: int) -> None:
        due = [n for n, m in self._model.items() if m.state in ("ready", "leased") and self._due(m)]
        due.sort(key=lambda n: (not self._model[n].tombstone, n))
        leased = self._ledger.outbox.lease(limit=limit, lease_s=lease_s)
        assert [owed.sequence for owed in leased] == due[:limit]
        for owed in leased:
            message = self._model[owed.sequence]
            assert isinstance(wire.decode(owed.body).payload, wire.Tombstone) == message.tombstone
            message.state, message.boot_id = "leased", self._clock.boot_id
            message.until_s = self._clock.uptime_s + lease_s

    @rule(sequence=st.integers(1, 12))
    def sent(self, sequence: int) -> None:
        self._ledger.outbox.sent(sequence)
        if (message := self._model.get(sequence)) and message.state == "leased":
            message.state, message.boot_id, message.until_s = "sent", self._clock.boot_id, self._clock.uptime_s

    @rule(sequence=st.integers(1, 12), delay_s=st.integers(0, 20))
    def release(self, sequence: int, delay_s: int) -> None:
        self._ledger.outbox.release(sequence, delay_s=delay_s, reason="no link")
        if (message := self._model.get(sequence)) and message.state == "leased":
            message.state, message.boot_id = "ready", self._clock.boot_id
            message.until_s = self._clock.uptime_s + delay_s

    @rule(first=st.integers(1, 12), length=st.integers(0, 4))
    def ack(self, first: int, length: int) -> None:
        gone = [n for n in range(first, first + length + 1) if self._model.pop(n, None)]
        assert self._ledger.outbox.ack([(first, first + length)]) == len(gone)

    @rule(first=st.integers(1, 12), length=st.integers(0, 4), older_than_s=st.integers(0, 20))
    def resend(self, first: int, length: int, older_than_s: int) -> None:
        self._ledger.outbox.resend([(first, first + length)], older_than_s=older_than_s)
        for sequence in range(first, first + length + 1):
            message = self._model.get(sequence)
            if message is None or message.state != "sent":
                continue
            if message.boot_id != self._clock.boot_id or message.until_s <= self._clock.uptime_s - older_than_s:
                message.state, message.until_s = "ready", 0

    @rule(sequence=st.integers(1, 12))
    def bury(self, sequence: int) -> None:
        self._ledger.outbox.bury(sequence, reason="never")
        if (message := self._model.get(sequence)) and not message.tombstone:
            message.state, message.until_s, message.tombstone = "ready", 0, True

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self._clock.pass_s(seconds)

    @rule()
    def reboot(self) -> None:
        self._clock.reboot()

    @rule()
    def reopen(self) -> None:
        self._ledger.close()
        self._ledger = open_ledger(Path(self._folder.name), self._clock)

    @invariant()
    def states_agree(self) -> None:
        assert {row[0]: row[2] for row in self._ledger.outbox.rows()} == {n: m.state for n, m in self._model.items()}
        assert self._ledger.outbox.backlog().messages == len(self._model)


TestOutboxAgainstAModel = OutboxMachine.TestCase
TestOutboxAgainstAModel.settings = hypothesis.settings(
    max_examples=30, stateful_step_count=30, deadline=None, derandomize=True
)
