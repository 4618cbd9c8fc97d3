"""The adapter to Blob Storage: puts pictures into the gateway's own container with a write-only credential.

Retries live in the courier: the SDK's own are switched off.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import requests
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
)
from azure.storage.blob import BlobBlock, ContainerClient, ContentSettings, StorageErrorCode
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from edge_module.errors import (
    BlocksForgotten,
    CredentialRefused,
    NotSent,
    PermanentDelivery,
    TransientDelivery,
    WireError,
)
from edge_module.fields import Fields

_TIMEOUT_S: Final = 60
PLAIN_HTTP_HOSTS: Final = ("127.0.0.1", "localhost", "azurite")
"""Of a local Azure: there the credential does not leave the machine."""
_PROBE_S: Final = 10
_FORBIDDEN: Final = 403
_BAD_REQUEST: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSas:
    """A credential for one container: the payload of the direct method ``setUploadSas``."""

    container_url: str
    sas: str = field(repr=False)
    expires_at: str

    @classmethod
    def from_json(cls, value: object) -> "UploadSas":
        """Check the method's payload.

        Raises:
            WireError: a field is missing or wrong.
        """
        fields = Fields.of(value, "setUploadSas")
        url = fields.text("container_url")
        try:
            parts = urlsplit(url)
            known = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in PLAIN_HTTP_HOSTS)
            if not known or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
                raise WireError("setUploadSas.container_url: must be a plain https address of a container")
            ContainerClient.from_container_url(url)
        except ValueError as exc:
            raise WireError(f"setUploadSas.container_url: {exc}") from exc
        fields.instant("expires_at")
        return cls(container_url=url, sas=fields.text("sas").lstrip("?"), expires_at=fields.text("expires_at"))


class Blobs:
    """The gateway's container. Starts without a credential."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._container: ContainerClient | None = None

    def set_credential(self, sas: UploadSas) -> None:
        """Use this credential from now on. It is held in memory only."""
        container = ContainerClient.from_container_url(
            f"{sas.container_url}?{sas.sas}",
            retry_total=0,
            connection_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
        )
        with self._lock:
            self._container = container

    @property
    def has_credential(self) -> bool:
        """Whether there is a credential to try."""
        return self._container is not None

    def put(self, name: str, content: bytes, *, content_type: str) -> None:
        """Store a blob. That it is there already is success: its name says what is in it.

        Raises:
            CredentialRefused: the credential is missing, has expired or lacks the right.
            TransientDelivery: storage is not reached, busy or failing.
            PermanentDelivery: storage will never accept this blob.
        """
        with self._talking_of(name) as container:
            container.upload_blob(
                name, content, overwrite=False, content_settings=ContentSettings(content_type=content_type)
            )

    def put_block(self, name: str, block_id: str, content: bytes) -> None:
        """Store a block of a blob that `commit` will put together. Again changes nothing.

        Raises:
            as `put`.
        """
        with self._talking_of(name) as container:
            container.get_blob_client(name).stage_block(block_id, content)

    def commit(self, name: str, block_ids: Sequence[str], *, content_type: str) -> None:
        """Put a blob together from its blocks. That it is there already is success.

        Raises:
            BlocksForgotten: storage does not have all of them any more.
            CredentialRefused, TransientDelivery, PermanentDelivery: as `put`.
        """
        with self._talking_of(name) as container:
            container.get_blob_client(name).commit_block_list(
                [BlobBlock(block_id) for block_id in block_ids],
                content_settings=ContentSettings(content_type=content_type),
                match_condition=MatchConditions.IfMissing,
            )

    @contextlib.contextmanager
    def _talking_of(self, name: str) -> Iterator[ContainerClient]:
        """Say of storage's exceptions what to do about them."""
        with self._lock:
            container = self._container
        if container is None:
            raise CredentialRefused("no upload credential yet")
        try:
            yield container
        except ResourceExistsError as exc:
            if _code(exc) != StorageErrorCode.BLOB_ALREADY_EXISTS:  # a container being deleted answers 409 too
                raise TransientDelivery(f"blob {name}: {_code(exc)}") from exc
        except ClientAuthenticationError as exc:
            raise CredentialRefused(f"blob {name}: {_code(exc)}") from exc
        except HttpResponseError as exc:
            if exc.status_code == _FORBIDDEN:
                raise CredentialRefused(f"blob {name}: {_code(exc)}") from exc
            if exc.status_code == _BAD_REQUEST:
                if _code(exc) == StorageErrorCode.INVALID_BLOCK_LIST:
                    raise BlocksForgotten(f"blob {name}: {_code(exc)}") from exc
                raise PermanentDelivery(f"blob {name}: {_code(exc)}") from exc
            raise TransientDelivery(f"blob {name}: {exc.status_code} {_code(exc)}") from exc
        except AzureError as exc:
            if _never_connected(exc.inner_exception):
                raise NotSent(f"blob {name}: {type(exc).__name__}") from exc
            if refusal := _refusal(container, name):
                raise CredentialRefused(f"blob {name}: {refusal}") from exc
            raise TransientDelivery(f"blob {name}: {type(exc).__name__}") from exc


def _never_connected(exc: BaseException | None) -> bool:
    """Whether there was no connection on which anything could have been sent. The SDK unpacks what requests packs."""
    inner = getattr(exc.args[0], "reason", None) if isinstance(exc, requests.RequestException) and exc.args else exc
    return isinstance(inner, NewConnectionError | ConnectTimeoutError)


def _refusal(container: ContainerClient, name: str) -> str:
    """Why storage refuses the credential, asked without a body; empty where it does not, or cannot be asked.

    Storage may refuse a picture before it has read it and close: the connection then breaks off in the middle of the
    body, the answer is lost, and the refusal looks like a bad link, for ever.
    """
    try:
        # Needs the right to write, and cannot: no blob has this ETag.
        container.get_blob_client(name).commit_block_list(
            [], etag='"0"', match_condition=MatchConditions.IfNotModified,
            connection_timeout=_PROBE_S, read_timeout=_PROBE_S,
        )  # fmt: skip
    except HttpResponseError as exc:
        if isinstance(exc, ClientAuthenticationError) or exc.status_code == _FORBIDDEN:
            return _code(exc)
    except AzureError:
        pass  # the link it is
    return ""


def _code(exc: HttpResponseError) -> str:
    """Storage's own name for what went wrong."""
    code = getattr(exc, "error_code", None) or exc.status_code
    return str(code.value if isinstance(code, StorageErrorCode) else code)
