import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubModuleClient
from azure.iot.hub import IoTHubRegistryManager

from tests.local_azure import EventStream, Gateway, LocalAzure, gateway, local_azure, wait_until  # noqa: F401 - fixtures

HERE = Path(__file__).parent
LEFT_OPEN = "<(socket|function _Selector|function Stream):pytest.PytestUnraisableExceptionWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            # azure-iot-device 2.14 makes its TLS contexts with a constant that Python has deprecated.
            item.add_marker(pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning"))
            # paho-mqtt 1.6 leaves a pair of sockets open at each reconnect, azure-eventhub a stream at each cut.
            item.add_marker(pytest.mark.filterwarnings(f"ignore:Exception ignored in. {LEFT_OPEN}"))


@pytest.fixture(scope="session")
def events(local_azure: LocalAzure) -> Iterator[EventStream]:  # noqa: F811
    with EventStream.of(local_azure) as stream:
        yield stream


@pytest.fixture(scope="session")
def registry(local_azure: LocalAzure) -> Iterator[IoTHubRegistryManager]:  # noqa: F811
    with local_azure.environment():
        yield IoTHubRegistryManager.from_connection_string(local_azure.service_env["IOTHUB_CONNECTION_STRING"])


@contextlib.asynccontextmanager
async def module_client(of: Gateway, **options: object) -> AsyncIterator[IoTHubModuleClient]:
    with of.environment():
        client = IoTHubModuleClient.create_from_edge_environment(connection_retry_interval=1, **options)
    try:
        await client.connect()
        yield client
    finally:
        await client.shutdown()


async def eventually(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    await asyncio.to_thread(wait_until, true, timeout_s=timeout_s)


def heard(client: IoTHubModuleClient) -> list[dict[str, object]]:
    """Desired patches as they come. The SDK calls handlers in a thread of its own."""
    patches: list[dict[str, object]] = []

    async def on_patch(patch: dict[str, object]) -> None:
        patches.append(patch)

    client.on_twin_desired_properties_patch_received = on_patch
    return patches


def message(text: str, *, attempt: int = 1) -> Message:
    made = Message(text)
    made.custom_properties["attempt"] = str(attempt)
    made.message_id = text
    made.content_type = "application/json"
    made.content_encoding = "utf-8"
    return made
