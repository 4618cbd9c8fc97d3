"""The host's clock jumps under a running gateway, as when NTP first answers after a week on a wrong clock."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_module import wire
from tests.integration.gateway.conftest import Running
from tests.local_azure import wait_until
from tests.preloaded import preloaded

SAFE = "SELECT count(*) FROM reading WHERE told_safe"
OWED = "SELECT count(*) FROM outbox WHERE kind <> 'status'"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return preloaded("shifted_clock.c", tmp_path_factory.mktemp("clock"))


class Clock:
    """What the gateway takes for the host's clock; the monotonic one goes on as it does."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "clock"
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}
        self._file.write_bytes(struct.pack("l", 0))

    def set(self, shift: timedelta) -> None:
        with self._file.open("r+b") as file:
            file.write(struct.pack("l", round(shift.total_seconds())))


def test_a_clock_that_jumps_loses_and_doubles_nothing(running: Running, tmp_path: Path, library: Path) -> None:
    clock = Clock(tmp_path, library)
    running.env |= clock.environment
    running.service.create_container(f"own-{running.name}")
    running.start(status_interval_s="2")

    def arrives(readings: int) -> None:
        """A card is read, sent and confirmed as ever, and its picture is stored."""
        running.wait_read(readings)
        running.wait_messages(wire.MediaStored, readings)
        running.confirm(running.wait_all_sent())
        wait_until(lambda: running.value(SAFE) == readings, timeout_s=60, what=running.log)

    def says(shift: timedelta) -> None:
        """It tells of itself, at the hour that it now takes it to be."""
        clock.set(shift)

        def told() -> bool:
            said = [m.payload.at for m in running.messages() if isinstance(m.payload, wire.Status)]
            return any(abs(at - datetime.now(UTC) - shift) < timedelta(hours=1) for at in said)

        wait_until(told, timeout_s=60, what=running.log)

    running.insert("before")
    wait_until(lambda: running.sas_requests() >= 1, timeout_s=60, what=running.log)
    assert running.call("setUploadSas", running.credential(f"own-{running.name}", ends=timedelta(days=6)))[0] == 200
    arrives(1)
    says(timedelta(days=3))
    running.insert("three days on")
    arrives(2)
    says(timedelta(days=9))  # past the end of the credential, by a clock that nobody believes (decision 0008)
    running.insert("nine days on")
    arrives(3)
    says(timedelta(0))
    running.insert("back")
    arrives(4)
    seen = [
        (record.card_id, record.path)
        for message in running.messages()
        if isinstance(message.payload, wire.Records)
        for record in message.payload.records
    ]
    assert len(seen) == len(set(seen)) == 4 * 4
    running.confirm(running.wait_all_sent())
    wait_until(lambda: running.value(OWED) == 0, timeout_s=60, what=running.log)
    assert running.end() == 0
