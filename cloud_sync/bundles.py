"""Recording what gateways without a link wrote into bundles, and the keys for it.

A bundle is read to its end before anything of it is recorded, so one that is forged, altered or cut short leaves no
trace. Recording it is the intake's business, as for the event stream: again changes nothing.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob.aio import ContainerClient
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from cloud_sync import azure
from cloud_sync.intake import Delivery, Intake
from cloud_sync.media import Blobs
from cloud_sync.records import checked_blob_name, container_of
from cloud_sync.settings import Storage
from cloud_sync.store import Store
from edge_module import bundle_format
from edge_module.bundle_format import BlobEntry, BundleError, BundleReader, GatewayKeys, MessageEntry
from edge_module.errors import ConfigError, TransientDelivery, WireError
from edge_module.wire import message_id

_MESSAGES_AT_ONCE: Final = 100
_IN_MEMORY_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class HqKey:
    """Headquarters' keys: X25519 to open bundles, Ed25519 to sign confirmations. A secret."""

    private_key: bytes
    signing_seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import came to."""

    gateway_id: str
    messages: int
    blobs: int
    confirmation: Path


def make_key(path: Path) -> None:
    """Make headquarters' key file, readable by its owner alone.

    Raises:
        ConfigError: there is one already: gateways rely on it.
    """
    keys = {
        "v": 1,
        "private_key": bytes(PrivateKey.generate()).hex(),
        "signing_seed": bytes(SigningKey.generate()).hex(),
    }
    _write_secret(path, json.dumps(keys, indent=1) + "\n")


def read_key(path: Path) -> HqKey:
    """Read headquarters' key file.

    Raises:
        ConfigError: there is none, or it is not one.
    """
    try:
        keys = json.loads(path.read_text(encoding="ascii"))
        key = HqKey(private_key=bytes.fromhex(keys["private_key"]), signing_seed=bytes.fromhex(keys["signing_seed"]))
    except FileNotFoundError as exc:
        raise ConfigError([f"{path}: there is no such key file: `python -m cloud_sync bundle key` makes it"]) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError([f"{path}: is not a key file of headquarters"]) from exc
    if len(key.private_key) != bundle_format.KEY_BYTES or len(key.signing_seed) != bundle_format.KEY_BYTES:
        raise ConfigError([f"{path}: is not a key file of headquarters"])
    return key


def enrol(store: Store, key: HqKey, gateway_id: str, out: Path) -> None:
    """Write the keys that a gateway needs for bundles, and remember its public one; the one before is void.

    Raises:
        ConfigError: no such gateway, or the file exists.
    """
    if gateway_id not in {g.gateway_id for g in store.gateways()}:
        raise ConfigError([f"{gateway_id}: is not a registered gateway: `python -m cloud_sync gateway add`"])
    signing = SigningKey.generate()
    keys = GatewayKeys(
        gateway_id=gateway_id,
        hq_encrypt_key=bytes(PrivateKey(key.private_key).public_key),
        hq_verify_key=bytes(SigningKey(key.signing_seed).verify_key),
        signing_seed=bytes(signing),
    )
    _write_secret(out, keys.to_json())
    store.set_bundle_key(gateway_id, bytes(signing.verify_key).hex())


async def import_bundle(path: Path, store: Store, *, azure_storage: Storage, key: HqKey) -> Imported:
    """Record a bundle and write the confirmation beside it.

    Raises:
        BundleError: the bundle cannot be used; nothing of it was recorded.
        StoreUnavailableError, TransientDelivery: what was recorded stays; import it again.
    """
    verify_key_of = await asyncio.to_thread(_verify_keys, store)
    messages = blobs = 0
    with path.open("rb") as file:
        for entry in BundleReader(file, key.private_key, verify_key_of).entries():
            if isinstance(entry, BlobEntry):
                blobs += 1
                _checked(entry.name)
            else:
                messages += 1
        file.seek(0)
        reader = BundleReader(file, key.private_key, verify_key_of)
        try:
            async with azure.async_storage(azure_storage) as service:
                intake = Intake(store, Blobs(service))
                container = service.get_container_client(container_of(reader.header.gateway_id))
                await _record(reader, intake, container)
        except (AzureError, OSError) as exc:
            raise TransientDelivery(f"Blob Storage did not take it ({type(exc).__name__}): import it again") from exc
    header = reader.header
    confirmed = await asyncio.to_thread(store.confirmed, header.gateway_id, header.ledger_id)
    signed = bundle_format.write_confirmation(header.gateway_id, confirmed, key.signing_seed, datetime.now(UTC))
    confirmation = path.with_suffix(bundle_format.CONFIRMATION_SUFFIX)
    unfinished = confirmation.with_name(f".{confirmation.name}.{os.getpid()}")
    unfinished.write_bytes(signed)
    unfinished.replace(confirmation)
    return Imported(gateway_id=header.gateway_id, messages=messages, blobs=blobs, confirmation=confirmation)


async def _record(reader: BundleReader, intake: Intake, container: ContainerClient) -> None:
    header = reader.header
    deliveries: list[Delivery] = []
    for entry in reader.entries():
        match entry:
            case BlobEntry():
                await _upload(container, entry)
            case MessageEntry(sequence=sequence, body=body):
                deliveries.append(
                    Delivery(
                        gateway_id=header.gateway_id,
                        message_id=message_id(header.ledger_id, sequence),
                        body=body,
                        received_at=datetime.now(UTC),
                    )
                )
        if len(deliveries) == _MESSAGES_AT_ONCE:
            await intake.take(deliveries)
            deliveries = []
    await intake.take(deliveries)
    await intake.look_again()


async def _upload(container: ContainerClient, entry: BlobEntry) -> None:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as picture:
        for piece in entry.pieces:
            picture.write(piece)
        picture.seek(0)
        data: BinaryIO = picture  # type: ignore[assignment] # a binary file in all but name
        try:
            await container.upload_blob(entry.name, data, length=entry.size_bytes, overwrite=False)
        except ResourceExistsError:
            return  # the message that speaks of it is compared with what is there


def _verify_keys(store: Store) -> Callable[[str], bytes]:
    keys = {g.gateway_id: g.bundle_verify_key for g in store.gateways()}

    def verify_key_of(gateway_id: str) -> bytes:
        if not keys.get(gateway_id):
            raise BundleError(f"gateway {gateway_id[:80]!r} is not known, or not enrolled for bundles")
        return bytes.fromhex(keys[gateway_id])

    return verify_key_of


def _checked(name: str) -> None:
    try:
        checked_blob_name(name)
    except WireError as exc:
        raise BundleError(str(exc)) from exc


def _write_secret(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise ConfigError([f"{path}: exists, and is not overwritten"]) from exc
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
