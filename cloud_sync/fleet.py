"""The fleet as IoT Hub and Blob Storage know it: identities, twins, direct methods, containers. Blocking.

Their SDKs' exceptions end here: `TransientDelivery` is worth another try, `PermanentDelivery` needs a person.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)
from msrest.exceptions import ClientException, HttpOperationError

from cloud_sync.records import container_of
from edge_module.errors import ConfigError, PermanentDelivery, TransientDelivery, WireError
from edge_module.model_wire import WantedModel
from edge_module.wire import Confirmed

MODULE_ID: Final = "camtrap"
MODELS_CONTAINER: Final = "ponya-models"
_METHOD_TIMEOUT_S: Final = 30
_METHOD_OK: Final = 200
_CLOCK_SKEW: Final = timedelta(minutes=15)
_GATEWAY_ID: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,49}")
"""What may also stand in a container's name and a host name."""


class Fleet:
    """Gateways and their containers."""

    def __init__(self, registry: IoTHubRegistryManager, storage: BlobServiceClient, *, upload_sas: timedelta) -> None:
        """`upload_sas`: how long an upload credential lasts, at most `settings.UPLOAD_SAS_DAYS_MAX` days."""
        self._registry = registry
        self._storage = storage
        self._upload_sas = upload_sas

    def register(self, gateway_id: str, *, replace: bool = False) -> str:
        """Make a gateway's identity, module and container; those that exist stay.

        Args:
            gateway_id: becomes the device's id and part of the container's name.
            replace: give it new keys, for new hardware under the old name; the old hardware is shut out.

        Returns:
            The device's connection string without the host, for IoT Edge's configuration. A secret.

        Raises:
            ConfigError: the name cannot be used.
            TransientDelivery, PermanentDelivery: IoT Hub or Blob Storage did not do it.
        """
        if not _GATEWAY_ID.fullmatch(gateway_id):
            raise ConfigError(
                [f"gateway id {gateway_id!r}: 3 to 50 lower-case letters and digits, single hyphens between them"]
            )
        with _reported(f"registering {gateway_id}"):
            if replace:
                _unless(HTTPStatus.NOT_FOUND, self._registry.delete_device, gateway_id)
            _unless(
                HTTPStatus.CONFLICT, self._registry.create_device_with_sas, gateway_id, "", "", "enabled", iot_edge=True
            )
            device = self._registry.get_device(gateway_id)
            if not (device.capabilities and device.capabilities.iot_edge):
                raise PermanentDelivery(f"{gateway_id} exists in IoT Hub and is not an IoT Edge device")
            _unless(
                HTTPStatus.CONFLICT, self._registry.create_module_with_sas, gateway_id, MODULE_ID, "iotEdge", "", ""
            )
            with suppress(ResourceExistsError):
                self._storage.create_container(container_of(gateway_id))
        return f"DeviceId={gateway_id};SharedAccessKey={device.authentication.symmetric_key.primary_key}"

    def told(self, gateway_id: str) -> Confirmed | None:
        """What a gateway has been told is confirmed; None if nothing, or nothing readable.

        Raises:
            TransientDelivery, PermanentDelivery: IoT Hub did not answer.
        """
        with _reported(f"reading the twin of {gateway_id}"):
            twin = self._registry.get_module_twin(gateway_id, MODULE_ID)
        try:
            return Confirmed.from_twin((twin.properties.desired or {}).get("confirmed"))
        except WireError:
            return None

    def tell(self, gateway_id: str, confirmed: Confirmed) -> None:
        """Write the desired property ``confirmed``.

        Raises:
            TransientDelivery, PermanentDelivery: it was not written.
        """
        patch = Twin(properties=TwinProperties(desired={"confirmed": confirmed.to_twin()}))
        with _reported(f"confirming to {gateway_id}"):
            self._registry.update_module_twin(gateway_id, MODULE_ID, patch)

    def tell_deployments(self, gateway_id: str, told: Sequence[Mapping[str, Any]]) -> None:
        """Write the desired property ``deployments``, as `deployments.for_twin` makes it.

        Raises:
            TransientDelivery, PermanentDelivery: it was not written.
        """
        patch = Twin(properties=TwinProperties(desired={"deployments": [dict(one) for one in told]}))
        with _reported(f"telling {gateway_id} its deployments"):
            self._registry.update_module_twin(gateway_id, MODULE_ID, patch)

    def want_model(self, gateway_id: str, wanted: WantedModel | None) -> None:
        """Write the desired property ``model``; None for the one that comes with the gateway's software.

        Raises:
            TransientDelivery, PermanentDelivery: it was not written.
        """
        patch = Twin(properties=TwinProperties(desired={"model": None if wanted is None else wanted.to_twin()}))
        with _reported(f"telling {gateway_id} which model to use"):
            self._registry.update_module_twin(gateway_id, MODULE_ID, patch)

    def reported(self, gateway_id: str) -> dict[str, Any]:
        """What a gateway reports of itself.

        Raises:
            TransientDelivery, PermanentDelivery: IoT Hub did not answer.
        """
        with _reported(f"reading the twin of {gateway_id}"):
            return dict(self._registry.get_module_twin(gateway_id, MODULE_ID).properties.reported or {})

    def publish_backbone(self, content: bytes) -> str:
        """Put a backbone into Blob Storage, once, and make a link to it that lasts as long as an upload credential.

        Returns:
            The link: a secret.

        Raises:
            TransientDelivery: Blob Storage did not do it.
        """
        name = f"{hashlib.sha256(content).hexdigest()}.tflite"
        blob = self._storage.get_blob_client(MODELS_CONTAINER, name)
        with _reported(f"publishing backbone {name[:12]}"):
            with suppress(ResourceExistsError):
                self._storage.create_container(MODELS_CONTAINER)
            with suppress(ResourceExistsError):
                blob.upload_blob(content, overwrite=False)
            start, expires_at = datetime.now(UTC) - _CLOCK_SKEW, datetime.now(UTC) + self._upload_sas
            sas = generate_blob_sas(
                account_name=str(self._storage.account_name),
                container_name=MODELS_CONTAINER,
                blob_name=name,
                permission=BlobSasPermissions(read=True),
                start=start,
                expiry=expires_at,
                **self._signed_by(start, expires_at),
            )
        return f"{blob.url}?{sas}"

    def call(self, gateway_id: str, method: str, payload: object) -> tuple[int, Any]:
        """Call a direct method.

        Returns:
            The gateway's status and answer (docs/methods.md).

        Raises:
            TransientDelivery: the gateway is not connected, or IoT Hub did not answer.
        """
        request = CloudToDeviceMethod(
            method_name=method, payload=payload, response_timeout_in_seconds=_METHOD_TIMEOUT_S
        )
        with _reported(f"calling {method} of {gateway_id}"):
            answer = self._invoke(gateway_id, request)
        return int(answer.status), answer.payload

    def send_upload_sas(self, gateway_id: str) -> datetime:
        """Give a gateway a new credential for its own container, by the direct method ``setUploadSas``.

        Returns:
            When it expires.

        Raises:
            TransientDelivery: the gateway is away, or did not take it.
            PermanentDelivery: there is no such gateway, or the credential cannot be made.
        """
        container = container_of(gateway_id)
        expires_at = (datetime.now(UTC) + self._upload_sas).replace(microsecond=0)
        with _reported(f"sending an upload credential to {gateway_id}"):
            payload = {
                "container_url": self._storage.get_container_client(container).url,
                "sas": self._container_sas(container, expires_at),
                "expires_at": expires_at.isoformat(),
            }
            method = CloudToDeviceMethod(
                method_name="setUploadSas", payload=payload, response_timeout_in_seconds=_METHOD_TIMEOUT_S
            )
            answer = self._invoke(gateway_id, method)
        if answer.status != _METHOD_OK:
            raise TransientDelivery(f"{gateway_id} answered {answer.status} to setUploadSas")
        return expires_at

    def _invoke(self, gateway_id: str, method: CloudToDeviceMethod) -> Any:
        try:
            return self._registry.invoke_device_module_method(gateway_id, MODULE_ID, method)
        except HttpOperationError as exc:
            if exc.response.status_code == HTTPStatus.NOT_FOUND:  # also says that it is merely not connected
                raise TransientDelivery(f"{gateway_id} is not connected") from exc
            raise

    def _container_sas(self, container: str, expires_at: datetime) -> str:
        start = datetime.now(UTC) - _CLOCK_SKEW
        return generate_container_sas(
            account_name=str(self._storage.account_name),
            container_name=container,
            permission=ContainerSasPermissions.from_string("cw"),
            start=start,
            expiry=expires_at,
            **self._signed_by(start, expires_at),
        )

    def _signed_by(self, start: datetime, expires_at: datetime) -> dict[str, Any]:
        """With what a link is signed: the account's key where headquarters has it, else one of its own identity."""
        if key := getattr(self._storage.credential, "account_key", None):
            return {"account_key": key}
        return {"user_delegation_key": self._storage.get_user_delegation_key(start, expires_at)}


def _unless(status: HTTPStatus, call: Any, *args: Any, **kwargs: Any) -> None:
    """Do it, and take `status` as a sign that it is done."""
    try:
        call(*args, **kwargs)
    except HttpOperationError as exc:
        if exc.response.status_code != status:
            raise


@contextmanager
def _reported(doing: str) -> Iterator[None]:
    try:
        yield
    except HttpOperationError as exc:
        status = exc.response.status_code
        later = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = TransientDelivery if later else PermanentDelivery
        raise kind(f"{doing}: IoT Hub answered {status}") from exc
    except (ClientException, OSError) as exc:
        raise TransientDelivery(f"{doing}: IoT Hub cannot be reached ({type(exc).__name__})") from exc
    except AzureError as exc:
        raise TransientDelivery(f"{doing}: Blob Storage did not do it ({type(exc).__name__})") from exc
