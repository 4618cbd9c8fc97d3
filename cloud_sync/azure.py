"""Making the Azure SDKs' clients from settings."""

from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as AsyncCredential
from azure.iot.hub import IoTHubRegistryManager
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient

from cloud_sync.settings import Storage
from edge_module.errors import ConfigError

_TIMEOUTS: Final[dict[str, Any]] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    # The SDK's own first pause is 15 s: longer than a consumer may be silent.
    "retry_total": 2,
    "initial_backoff": 0.5,
    "increment_base": 2,
    "random_jitter_range": 0.25,
}


def registry(connection_string: str) -> IoTHubRegistryManager:
    """IoT Hub's registry; connects at the first request.

    Raises:
        ConfigError: the connection string cannot be used.
    """
    try:
        return IoTHubRegistryManager.from_connection_string(connection_string)
    except (ValueError, KeyError) as exc:
        raise ConfigError(["IOTHUB_CONNECTION_STRING: cannot be used"]) from exc


def storage(settings: Storage) -> BlobServiceClient:
    """Blob Storage for threads; connects at the first request.

    Raises:
        ConfigError: the settings cannot be used.
    """
    try:
        if settings.account_url:
            return BlobServiceClient(settings.account_url, DefaultAzureCredential(), **_TIMEOUTS)
        return BlobServiceClient.from_connection_string(settings.connection_string, **_TIMEOUTS)
    except (ValueError, AzureError) as exc:
        raise ConfigError(["STORAGE_CONNECTION_STRING or STORAGE_ACCOUNT_URL: cannot be used"]) from exc


def async_storage(settings: Storage) -> AsyncBlobServiceClient:
    """Blob Storage for an event loop; connects at the first request.

    Raises:
        ConfigError: the settings cannot be used.
    """
    try:
        if settings.account_url:
            return AsyncBlobServiceClient(settings.account_url, AsyncCredential(), **_TIMEOUTS)
        return AsyncBlobServiceClient.from_connection_string(settings.connection_string, **_TIMEOUTS)
    except (ValueError, AzureError) as exc:
        raise ConfigError(["STORAGE_CONNECTION_STRING or STORAGE_ACCOUNT_URL: cannot be used"]) from exc
