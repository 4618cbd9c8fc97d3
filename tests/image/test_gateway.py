"""The module out of the image against the local hubs: a card in, verdicts and pictures out, confirmed, safe to wipe."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure.iot.hub import IoTHubRegistryManager

from edge_module import wire
from tests.image.inside import Container
from tests.integration.gateway.conftest import Running
from tests.local_azure import EventStream, Gateway, LocalAzure, wait_until

SLOW_S = 600
"""Emulated, on a busy machine."""

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning"),
]


class InImage(Running):
    """A gateway whose process comes out of the image."""

    container: Container

    def wait(self, true: Callable[[], object]) -> None:
        """Wait for something that only a running gateway brings about."""

        def holds() -> object:
            assert self.up, f"the gateway ended: {self.log()[-3000:]}"
            return true()

        wait_until(holds, timeout_s=SLOW_S, what=lambda: self.log()[-3000:])

    def start(self, **settings: str) -> None:
        """Start what the image runs by itself, as IoT Edge would."""
        socket = Path(self.edge.module_env["IOTEDGE_WORKLOADURI"].removeprefix("unix://"))
        socket.chmod(0o666)  # as IoT Edge makes it
        env = {
            "PONYA_PAGE_PORT": "0",
            "PONYA_POLL_S": "0.5",
            "PONYA_SETTLE_S": "0",
            "PONYA_CONFIRM_INTERVAL_S": "1",
            "PONYA_RETRY_LONGEST_S": "1",
            "PONYA_RECONNECT_S": "1",
            "PONYA_LOG_LEVEL": "info",
        }
        container = replace(self.container, socket=socket, environment={**self.edge.module_env, **env})
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = container.start(log)


@pytest.fixture
def running(  # noqa: PLR0917
    container: Container,
    local_azure: LocalAzure,
    gateway: Gateway,
    stream: EventStream,
    registry: IoTHubRegistryManager,
    tmp_path: Path,
) -> Iterator[InImage]:
    made = InImage(azure=local_azure, edge=gateway, folder=tmp_path, stream=stream, registry=registry)
    made.container = container
    made.data, made.cards = container.folder("/data"), container.folder("/media/cards")
    yield made
    if made.process is not None:
        died = made.process.poll()
        if died is None:
            container.tell(made.process, signal.SIGKILL)
            made.process.wait()
        assert died is None, f"the gateway ended with status {died}:\n{made.log()[-3000:]}"


def test_a_card_becomes_safe_to_wipe(running: InImage) -> None:
    own = f"own-{running.name}"
    running.service.create_container(own)
    running.start()
    running.wait(lambda: running.edge.status()["modules_connected"])
    running.wait(lambda: running.call("setUploadSas", running.credential(own))[0] == 200)
    running.insert("card")

    def got(kind: type) -> list[object]:
        return [message.payload for message in running.messages() if isinstance(message.payload, kind)]

    running.wait(lambda: got(wire.MediaStored))
    assert list(running.service.get_container_client(own).list_blobs())

    def safe() -> bool:
        highest = running.value("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        running.confirm(int(highest))
        return any(isinstance(one, wire.Receipt) and one.receipt.safe_to_wipe for one in got(wire.Receipt))

    running.wait(safe)
    owner = {path.stat().st_uid for path in running.data.rglob("*")}
    assert owner == {10001}


def test_it_ends_when_asked(running: InImage) -> None:
    running.start()
    running.wait(lambda: running.edge.status()["modules_connected"])
    assert running.process
    running.container.tell(running.process, signal.SIGTERM)
    assert running.process.wait(120) == 0, running.log()
    running.process = None
