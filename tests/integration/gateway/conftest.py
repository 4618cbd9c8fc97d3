import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from msrest.exceptions import HttpOperationError

from edge_module import wire
from tests.ledgers import asked
from tests.local_azure import EventStream, Gateway, LocalAzure, gateway, local_azure, wait_until  # noqa: F401 - fixtures
from tests.pictures import drawn, encoded, exif, jpeg

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULE = "camtrap"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            # azure-iot-device 2.14 makes its TLS contexts with a constant that Python has deprecated.
            item.add_marker(pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning"))


@dataclass
class Running:
    """A gateway's process, its folders, and headquarters' side of it, played by the test."""

    azure: LocalAzure
    edge: Gateway
    folder: Path
    stream: EventStream
    registry: IoTHubRegistryManager
    env: dict[str, str] = field(default_factory=dict)
    data: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.cards = self.folder / "cards"
        self.cards.mkdir()

    @property
    def name(self) -> str:
        return self.edge.gateway_id

    # --- the process ----------------------------------------------------------------------------------------------

    def start(self, **settings: str) -> None:
        env = {
            **os.environ,
            **self.edge.module_env,
            "PONYA_DATA_DIR": str(self.data),
            "PONYA_CARDS_DIR": str(self.cards),
            "PONYA_POLL_S": "0.2",
            "PONYA_SETTLE_S": "0",
            "PONYA_CONFIRM_INTERVAL_S": "1",
            "PONYA_RETRY_LONGEST_S": "1",
            "PONYA_RECONNECT_S": "1",
            "PONYA_LOG_LEVEL": "info",
            "PONYA_FRAME_OF": "none",  # one picture a panda, and none of what happens to be drawn
            "PONYA_AUDIT_PER_MILLE": "0",
            **self.env,
            **{f"PONYA_{name.upper()}": value for name, value in settings.items()},
        }
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_module", "run"], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def end(self, *, within_s: float = 10, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its status."""
        assert self.process
        process, self.process = self.process, None
        process.send_signal(with_signal)
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    # --- cards ----------------------------------------------------------------------------------------------------

    def insert(self, name: str, files: dict[str, bytes] | None = None) -> Path:
        """Put a card in: one panda and two blanks, unless told what is on it."""
        beside = self.folder / name
        beside.mkdir()
        (beside / "ponya.yml").write_text(f"card: {name}")
        for path, content in (files or ordinary(name)).items():
            (beside / path).write_bytes(content)
        card = self.cards / name
        shutil.move(beside, card)
        return card

    # --- what the ledger says -------------------------------------------------------------------------------------

    def ledger(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the ledger; nothing while there is none."""
        return asked(self.data, sql, *parameters)

    def value(self, sql: str, *parameters: object) -> Any:
        rows = self.ledger(sql, *parameters)
        return rows[0][0] if rows else None

    def ledger_id(self) -> str:
        return str(self.value("SELECT value FROM meta WHERE key = 'ledger_id'"))

    def wait_read(self, readings: int = 1) -> None:
        count = "SELECT count(*) FROM reading WHERE state = 'complete'"
        wait_until(
            lambda: self.value(count) == readings, timeout_s=60, what=lambda: f"{readings} readings: {self.log()}"
        )

    # --- headquarters ---------------------------------------------------------------------------------------------

    def messages(self) -> list[wire.Message]:
        """What headquarters got, without requests for a credential."""
        bodies = [(e.properties, b"".join(e.body)) for e in self.stream.of_gateway(self.edge)]
        return [wire.decode(body) for properties, body in bodies if properties[b"kind"] != b"sas_request"]

    def sas_requests(self) -> int:
        return sum(e.properties[b"kind"] == b"sas_request" for e in self.stream.of_gateway(self.edge))

    def wait_messages(self, kind: type, count: int = 1, *, ledger_id: str | None = None) -> list[wire.Message]:
        def found() -> list[wire.Message]:
            return [
                m for m in self.messages()
                if isinstance(m.payload, kind) and ledger_id in (None, m.ledger_id)
            ]  # fmt: skip

        wait_until(lambda: len(found()) >= count, timeout_s=60, what=lambda: f"{count} {kind.__name__}: {self.log()}")
        return found()

    def wait_all_sent(self) -> int:
        """Wait until everything owed has reached headquarters. Returns the highest number."""
        known = "SELECT sequence FROM outbox"

        def arrived() -> bool:
            got = {m.sequence for m in self.messages() if m.ledger_id == self.ledger_id()}
            return {row[0] for row in self.ledger(known)} <= got

        wait_until(arrived, timeout_s=60, what=lambda: f"all messages: {self.log()}")
        return int(self.value("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"))

    def desire(self, **desired: Any) -> None:
        """Write desired properties."""
        self.registry.update_module_twin(self.name, MODULE, Twin(properties=TwinProperties(desired=desired)))

    def confirm(self, through: int, highest: int | None = None, *, ledger_id: str = "", **rest: Any) -> None:
        confirmed = {
            "ledger_id": ledger_id or self.ledger_id(),
            "through": through,
            "highest": through if highest is None else highest,
            "missing": [],
            "parked": [],
        }
        self.desire(confirmed={**confirmed, **rest})

    def reported(self) -> dict[str, Any]:
        return dict(self.registry.get_module_twin(self.name, MODULE).properties.reported)

    def wait_heard(self, **settings: Any) -> None:
        """Write settings and wait until they are reported: by then everything desired before has been acted on."""
        self.desire(settings=settings)

        def heard() -> bool:
            said = self.reported().get("settings", {})
            return all(said.get(name, {}).get("value") == value for name, value in settings.items())

        wait_until(heard, timeout_s=60, what=lambda: f"{settings}: {self.log()}")

    def call(self, method: str, payload: Any = None) -> tuple[int, Any]:
        """Call a direct method; a module that is not there, or does not listen for methods yet, is waited for."""
        request = CloudToDeviceMethod(
            method_name=method, payload=payload, response_timeout_in_seconds=20, connect_timeout_in_seconds=20
        )
        answers: list[Any] = []

        def answered() -> bool:
            try:
                answers.append(self.registry.invoke_device_module_method(self.name, MODULE, request))
            except HttpOperationError:
                return False
            return True

        wait_until(answered, timeout_s=90, what=f"no answer to {method}")
        (answer,) = answers
        return answer.status, answer.payload

    # --- storage --------------------------------------------------------------------------------------------------

    @property
    def service(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.azure.service_env["STORAGE_CONNECTION_STRING"])

    def credential(
        self,
        container: str,
        *,
        of_container: str = "",
        rights: str = "cw",
        starts: timedelta = timedelta(minutes=-15),
        ends: timedelta = timedelta(hours=1),
    ) -> dict[str, str]:
        """A payload of ``setUploadSas``; `of_container` is what the SAS is really for."""
        service, now = self.service, datetime.now(UTC)
        sas = generate_container_sas(
            account_name=str(service.account_name),
            container_name=of_container or container,
            account_key=service.credential.account_key,
            permission=ContainerSasPermissions.from_string(rights),
            start=now + starts,
            expiry=now + ends,
        )
        return {
            "container_url": service.get_container_client(container).url,
            "sas": sas,
            "expires_at": (now + ends).isoformat(),
        }


def ordinary(name: str) -> dict[str, bytes]:
    """A panda and two blanks, with bytes that no card of another name has."""
    return {
        "IMG_1.JPG": panda(name),
        "IMG_2.JPG": jpeg(2, exif=exif(serial=name)),
        "IMG_3.JPG": jpeg(3, exif=exif(serial=name)),
    }


def panda(serial: str) -> bytes:
    return encoded(drawn(), exif=exif(serial=serial))


@pytest.fixture(scope="session")
def stream(local_azure: LocalAzure) -> Iterator[EventStream]:  # noqa: F811
    with EventStream.of(local_azure) as reading:
        yield reading


@pytest.fixture(scope="session")
def registry(local_azure: LocalAzure) -> Iterator[IoTHubRegistryManager]:  # noqa: F811
    with local_azure.environment():
        yield IoTHubRegistryManager.from_connection_string(local_azure.service_env["IOTHUB_CONNECTION_STRING"])


@pytest.fixture
def running(
    local_azure: LocalAzure,  # noqa: F811
    gateway: Gateway,  # noqa: F811
    stream: EventStream,
    registry: IoTHubRegistryManager,
    tmp_path: Path,
) -> Iterator[Running]:
    """A gateway that is to be started."""
    made = Running(azure=local_azure, edge=gateway, folder=tmp_path, stream=stream, registry=registry)
    yield made
    local_azure.restore("blob-proxy")
    if made.process is not None:
        died = made.process.poll()
        made.process.kill()
        made.process.wait()
        assert died is None, f"the gateway ended with status {died}:\n{made.log()[-3000:]}"
