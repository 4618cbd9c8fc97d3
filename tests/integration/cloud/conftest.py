import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubModuleClient
from azure.storage.blob import BlobServiceClient, ContainerClient
from sqlalchemy import Table, select

from cloud_sync import schema
from cloud_sync.database import connect, transaction
from cloud_sync.migrate import migrate
from cloud_sync.store import Store
from edge_module import wire
from tests.local_azure import Gateway, LocalAzure, local_azure, wait_until  # noqa: F401 - fixtures

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            # azure-iot-device 2.14 makes its TLS contexts with a constant that Python has deprecated.
            item.add_marker(pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning"))


@dataclass
class Headquarters:
    """Headquarters as it is run: its command line, in processes of its own, on a database of its own."""

    azure: LocalAzure
    folder: Path
    env: dict[str, str]
    store: Store

    def run(self, *arguments: str, status: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cloud_sync", *arguments],
            cwd=ROOT,
            env=self.env | changes,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    @contextlib.contextmanager
    def ingest(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """An ingest process, ended in order at the end unless it has been killed."""
        log = (self.folder / "ingest.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "cloud_sync", "ingest"], cwd=ROOT, env=self.env | changes, stderr=log
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                log.close()
        assert status in (0, -signal.SIGKILL), self.log()

    def log(self) -> str:
        return (self.folder / "ingest.log").read_text()

    def rows(self, table: Table, of: Gateway) -> list[dict]:
        """What is recorded of one gateway: all tests of a run share the event stream."""
        query = select(table).where(table.c.gateway_id == of.gateway_id).order_by(*table.primary_key)
        with transaction(self.store.engine, writing=False) as connection:
            return [r._asdict() for r in connection.execute(query)]

    def alerts(self, of: Gateway) -> list[str]:
        return [a["code"] for a in self.rows(schema.alerts, of)]

    def add_gateway(self) -> Gateway:
        name = f"gw{os.urandom(4).hex()}"
        self.run("gateway", "add", name)
        return self.azure.add_gateway(name, register=False)

    def container(self, gateway: Gateway) -> ContainerClient:
        service = BlobServiceClient.from_connection_string(self.env["STORAGE_CONNECTION_STRING"])
        return service.get_container_client(f"gw-{gateway.gateway_id}")


@pytest.fixture
def hq(local_azure: LocalAzure, tmp_path: Path) -> Iterator[Headquarters]:  # noqa: F811
    url = f"sqlite:///{tmp_path}/hq.db"
    env = os.environ | local_azure.service_env
    env |= {
        "PONYA_DATABASE_URL": url,
        "PONYA_CONFIRM_INTERVAL_S": "0.2",
        "PONYA_BALANCE_INTERVAL_S": "1",
        "PONYA_CHECKPOINT_CONTAINER": f"checkpoints-{os.urandom(4).hex()}",
        "PONYA_BUNDLE_KEY_FILE": str(tmp_path / "hq.ponya-key"),
    }
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    store = Store(url)
    yield Headquarters(local_azure, tmp_path, env, store)
    store.close()


@pytest.fixture
def gateway(hq: Headquarters) -> Iterator[Gateway]:
    added = hq.add_gateway()
    yield added
    hq.azure.end(added.gateway_id)


class Module:
    """A gateway's module, as far as headquarters can see it: Azure's own client."""

    def __init__(self, client: IoTHubModuleClient) -> None:
        self.client = client
        self.upload_sas: asyncio.Queue[dict] = asyncio.Queue()
        self.refuse = 0

    async def send(self, sequence: int, payload: wire.Payload | bytes, ledger_id: str = "ledger-1") -> None:
        encoded = payload if isinstance(payload, bytes) else wire.encode(ledger_id, sequence, payload).body
        await self.send_raw(encoded, wire.message_id(ledger_id, sequence))

    async def send_raw(self, body: bytes, message_id: str, **properties: str) -> None:
        message = Message(body)
        message.message_id = message_id
        for name, value in properties.items():
            message.custom_properties[name] = value
        await self.client.send_message_to_output(message, "hq")

    async def ask_for_sas(self) -> None:
        await self.send_raw(b'{"v":1,"kind":"sas_request"}', "", kind="sas_request")

    async def confirmed(self, *, timeout_s: float = 120.0, **expected: object) -> wire.Confirmed:
        """Wait until the twin's `confirmed` is as expected."""
        found = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    value = (await self.client.get_twin())["desired"].get("confirmed")
                    found = wire.Confirmed.from_twin(value) if value else None
                    if found and all(getattr(found, name) == want for name, want in expected.items()):
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expected} wanted, confirmed is {found}") from None

    async def _on_method(self, request) -> None:
        status = 503 if self.refuse > 0 else 200
        self.refuse -= 1
        if status == 200:
            self.upload_sas.put_nowait(request.payload)
        await self.client.send_method_response(MethodResponse(request.request_id, status, {}))


@contextlib.asynccontextmanager
async def connected(gateway: Gateway) -> AsyncIterator[Module]:
    with gateway.environment():
        client = IoTHubModuleClient.create_from_edge_environment(connection_retry_interval=1)
    module = Module(client)
    client.on_method_request_received = module._on_method
    try:
        await client.connect()
        yield module
    finally:
        await client.shutdown()


def upload(container: ContainerClient, name: str, data: bytes) -> wire.MediaStored:
    """Put a picture where the gateway puts it; returns what it says of it."""
    container.upload_blob(name, data)
    return stored(name, data)


def stored(name: str, data: bytes) -> wire.MediaStored:
    sha256 = hashlib.sha256(data).hexdigest()
    return wire.MediaStored(
        media_id=hashlib.sha256(b"original " + data).hexdigest(),
        variant="frame",
        blob_name=name,
        blob_sha256=sha256,
        size_bytes=len(data),
    )
