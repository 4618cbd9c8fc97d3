"""What cannot travel, and what may be on its way at once."""

from datetime import UTC, datetime

from edge_module import wire
from edge_module.clock import SystemClock
from edge_module.ledger import Ledger
from tests.integration.gateway.conftest import Running
from tests.local_azure import wait_until

AT = datetime(2026, 11, 22, tzinfo=UTC)


def owe(running: Running, *payloads: wire.Payload) -> None:
    """Put messages into the ledger before the gateway starts."""
    ledger, _ = Ledger.open(running.data / "ledger.sqlite", SystemClock())
    with ledger:
        for payload in payloads:
            ledger.outbox.put(payload)


def test_a_message_too_large_to_travel_is_buried_told_of_and_holds_up_nothing(running: Running):
    owe(
        running,
        wire.Alert(code="one", text="before", at=AT),
        wire.Alert(code="large", text="x" * 300_000, at=AT),
        wire.Alert(code="two", text="after", at=AT),
    )
    running.start(status_interval_s="3600")
    (tombstone,) = running.wait_messages(wire.Tombstone)
    assert (tombstone.sequence, tombstone.payload.buried_kind) == (2, "alert")
    assert {m.payload.code for m in running.wait_messages(wire.Alert, 2)} == {"one", "two"}
    assert running.value("SELECT length(body) FROM buried") > 300_000
    assert running.call("getStatus")[1]["messages_buried"] == 1


def test_no_more_is_on_its_way_unconfirmed_than_is_allowed(running: Running):
    allowed, each, count = 300_000, 15_000, 50
    owe(running, *(wire.Alert(code=f"n{n}", text="x" * each, at=AT) for n in range(count)))
    running.start(unconfirmed_max_bytes=str(allowed), status_interval_s="3600")
    sent = "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE state = 'sent'"
    wait_until(lambda: running.value(sent) > allowed - 2 * each, timeout_s=60, what=running.log)
    running.wait_heard(poll_s=0.3)
    assert running.value(sent) <= allowed
    while running.value("SELECT count(*) FROM outbox WHERE kind = 'alert'"):
        got = sorted(m.sequence for m in running.messages())
        through = next((n for n in range(1, count + 3) if n not in got), count + 2) - 1
        running.confirm(through)
        before = len(got)
        wait_until(
            lambda before=before: (
                len(running.messages()) > before
                or not running.value("SELECT count(*) FROM outbox WHERE kind = 'alert'")
            ),
            timeout_s=60, what=running.log,
        )  # fmt: skip
        assert running.value(sent) <= allowed
    assert {m.payload.code for m in running.wait_messages(wire.Alert, count)} == {f"n{n}" for n in range(count)}
