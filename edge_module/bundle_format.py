"""The file that carries an outbox where there is no link, and the one that carries the confirmation back.

docs/decisions/0010-bundles.md says why it is as it is. A bundle is

    magic, u32 length, header (JSON), the gateway's Ed25519 signature of all that,
    then chunks of a libsodium secretstream, each behind its u32 length, the last one tagged final.

The header holds the stream's key, sealed to headquarters. Only the gateway that signed it and headquarters know that
key, so the signature vouches for every chunk. Inside the stream, entries stand one after another: u32 length, head
(JSON), then as many bytes as the head says. Integers are big-endian. Everything streams; nothing is held whole.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from edge_module.errors import PonyaError, WireError
from edge_module.fields import Fields
from edge_module.wire import MESSAGE_MAX_BYTES, Confirmed

BUNDLE_SUFFIX: Final = ".ponya-bundle"
CONFIRMATION_SUFFIX: Final = ".ponya-confirmation"
KEY_BYTES: Final = 32

_MAGIC: Final = b"ponya-bundle\x01"
_CONFIRMATION_MAGIC: Final = b"ponya-confirmation\x01"
_LENGTH: Final = struct.Struct(">I")
_SIGNATURE_BYTES: Final = 64
_HEADER_MAX_BYTES: Final = 4096
_HEAD_MAX_BYTES: Final = 8192
_CHUNK_BYTES: Final = 64 * 1024
CONFIRMATION_MAX_BYTES: Final = 64 * 1024
_FINAL: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_ABYTES: Final = bindings.crypto_secretstream_xchacha20poly1305_ABYTES


class BundleError(PonyaError):
    """This file cannot be used, and nothing of it was. Says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKeys:
    """What headquarters gives a gateway once, so that it can write bundles and read confirmations. Holds a secret.

    Args:
        signing_seed: the gateway's own Ed25519 key; headquarters keeps only its public half.
    """

    gateway_id: str
    hq_encrypt_key: bytes
    hq_verify_key: bytes
    signing_seed: bytes

    @property
    def hq_key_id(self) -> str:
        """Which headquarters its bundles are for."""
        return key_id(self.hq_encrypt_key)

    def to_json(self) -> str:
        """The file's text."""
        keys = {name: getattr(self, name).hex() for name in ("hq_encrypt_key", "hq_verify_key", "signing_seed")}
        return json.dumps({"v": 1, "gateway_id": self.gateway_id, **keys}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "GatewayKeys":
        """Read the file's text.

        Raises:
            BundleError: it is not such a file.
        """
        try:
            fields = Fields.of(json.loads(text), "bundle keys")
            keys = {name: _key(fields, name) for name in ("hq_encrypt_key", "hq_verify_key", "signing_seed")}
            return cls(gateway_id=fields.text("gateway_id"), **keys)
        except (ValueError, RecursionError, WireError) as exc:
            raise BundleError(f"not a file of bundle keys: {exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the encrypted part, readable by anyone, signed by the gateway."""

    gateway_id: str
    ledger_id: str
    hq_key_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEntry:
    """A message of the outbox, as it would have been sent."""

    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobEntry:
    """A picture. `pieces` must be read before the next entry is asked for; what is left of it is skipped."""

    name: str
    size_bytes: int
    pieces: Iterator[bytes]


def key_id(hq_encrypt_key: bytes) -> str:
    """A short name of headquarters' public key."""
    return hashlib.sha256(hq_encrypt_key).hexdigest()[:16]


class BundleWriter:
    """Writes a bundle. Only `finish` makes it whole: a file that lacks it is recognised as cut short."""

    def __init__(self, file: BinaryIO, keys: GatewayKeys, *, ledger_id: str, created_at: datetime) -> None:
        """Begin a bundle of one ledger's messages in `file`."""
        key = bindings.crypto_secretstream_xchacha20poly1305_keygen()
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        start = bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        header = {
            "v": 1,
            "gateway_id": keys.gateway_id,
            "ledger_id": ledger_id,
            "hq_key_id": keys.hq_key_id,
            "created_at": created_at.isoformat(),
            "sealed_key": _b64(SealedBox(PublicKey(keys.hq_encrypt_key)).encrypt(key)),
            "stream_header": _b64(start),
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        signed = _MAGIC + _LENGTH.pack(len(text)) + text
        self._file = file
        self._file.write(signed + SigningKey(keys.signing_seed).sign(signed).signature)
        self._pending = bytearray()

    def add_message(self, sequence: int, body: bytes) -> None:
        """Add a message of the outbox."""
        self._add({"type": "message", "sequence": sequence, "size_bytes": len(body)}, (body,))

    def add_blob(self, name: str, size_bytes: int, pieces: Iterable[bytes]) -> None:
        """Add a picture; best before the message that speaks of it.

        Raises:
            ValueError: the pieces do not come to `size_bytes`. The bundle is to be thrown away.
        """
        self._add({"type": "blob", "name": name, "size_bytes": size_bytes}, pieces)

    def finish(self) -> None:
        """Write the end. The file is still to be flushed, synced and closed by its owner."""
        self._push(bytes(self._pending), _FINAL)

    def _add(self, head: dict[str, Any], pieces: Iterable[bytes]) -> None:
        text = json.dumps(head, separators=(",", ":")).encode()
        self._write(_LENGTH.pack(len(text)) + text)
        size = 0
        for piece in pieces:
            size += len(piece)
            self._write(piece)
        if size != head["size_bytes"]:
            raise ValueError(f"{size} bytes came of the {head['size_bytes']} that were announced")

    def _write(self, plain: bytes) -> None:
        self._pending += plain
        while len(self._pending) > _CHUNK_BYTES:
            self._push(bytes(self._pending[:_CHUNK_BYTES]), 0)
            del self._pending[:_CHUNK_BYTES]

    def _push(self, plain: bytes, tag: int) -> None:
        chunk = bindings.crypto_secretstream_xchacha20poly1305_push(self._state, plain, None, tag)
        self._file.write(_LENGTH.pack(len(chunk)) + chunk)


class BundleReader:
    """Reads a bundle. Reading it to its end is what verifies it."""

    def __init__(self, file: BinaryIO, hq_private_key: bytes, verify_key_of: Callable[[str], bytes]) -> None:
        """Read and verify the header.

        Args:
            file: at its beginning.
            hq_private_key: headquarters' X25519 key.
            verify_key_of: a gateway's public key; raises `BundleError` for one that has none.

        Raises:
            BundleError: no bundle, for another headquarters, or not signed by the gateway that it names.
        """
        self._file = file
        key = PrivateKey(hq_private_key)
        signed, fields = self._read_header()
        try:
            self.header = Header(
                gateway_id=fields.text("gateway_id"),
                ledger_id=fields.text("ledger_id"),
                hq_key_id=fields.text("hq_key_id"),
                created_at=fields.instant("created_at"),
            )
            sealed = base64.b64decode(fields.text("sealed_key"), validate=True)
            start = base64.b64decode(fields.text("stream_header"), validate=True)
        except (ValueError, WireError) as exc:
            raise BundleError(f"its header cannot be read: {exc}") from exc
        if self.header.hq_key_id != (ours := key_id(bytes(key.public_key))):
            raise BundleError(f"it is for another headquarters (key {self.header.hq_key_id[:32]}, ours is {ours})")
        try:
            VerifyKey(verify_key_of(self.header.gateway_id)).verify(signed, self._exactly(_SIGNATURE_BYTES))
        except CryptoError as exc:
            raise BundleError(f"it is not signed by {self.header.gateway_id}: forged, or altered") from exc
        try:
            self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
            stream_key = SealedBox(key).decrypt(sealed)
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, start, stream_key)
        except (CryptoError, ValueError, TypeError) as exc:
            raise BundleError("its key cannot be opened") from exc
        self._plain = bytearray()
        self._ended = False

    def entries(self) -> Iterator[MessageEntry | BlobEntry]:
        """Every entry in its order.

        Raises:
            BundleError: altered, cut short, or with bytes after its end.
        """
        while self._fill(1):
            (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
            if length > _HEAD_MAX_BYTES:
                raise BundleError("an entry's head is too long")
            text = self._take(length)
            try:
                head = Fields.of(json.loads(text), "entry")
                kind, size_bytes = head.text("type"), head.integer("size_bytes")
                if kind == "message":
                    if size_bytes > MESSAGE_MAX_BYTES:
                        raise BundleError(f"a message of {size_bytes} bytes, {MESSAGE_MAX_BYTES} allowed")
                    yield MessageEntry(sequence=head.integer("sequence"), body=self._take(size_bytes))
                    continue
                name = head.text("name") if kind == "blob" else ""
            except (ValueError, RecursionError, WireError) as exc:
                raise BundleError(f"an entry cannot be read: {exc}") from exc
            pieces = self._pieces(size_bytes)
            if name:
                yield BlobEntry(name=name, size_bytes=size_bytes, pieces=pieces)
            for _ in pieces:  # what was not read of it, or an entry of a kind from the future
                pass
        if self._file.read(1):
            raise BundleError("there are bytes after its end: altered")

    def _read_header(self) -> tuple[bytes, Fields]:
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise BundleError("this is not a bundle, or one of another version")
        prefix = self._exactly(_LENGTH.size)
        (length,) = _LENGTH.unpack(prefix)
        if length > _HEADER_MAX_BYTES:
            raise BundleError("its header is too long: altered")
        text = self._exactly(length)
        try:
            return _MAGIC + prefix + text, Fields.of(json.loads(text), "header")
        except (ValueError, RecursionError, WireError) as exc:
            raise BundleError(f"its header cannot be read: {exc}") from exc

    def _pieces(self, size_bytes: int) -> Iterator[bytes]:
        while size_bytes:
            piece = self._take(min(size_bytes, _CHUNK_BYTES))
            size_bytes -= len(piece)
            yield piece

    def _take(self, size: int) -> bytes:
        if not self._fill(size):
            raise BundleError("it ends within an entry: cut short, or altered")
        taken = bytes(self._plain[:size])
        del self._plain[:size]
        return taken

    def _fill(self, size: int) -> bool:
        """Decrypt until `size` bytes are at hand; False where the end comes first."""
        while len(self._plain) < size and not self._ended:
            (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if not _ABYTES <= length <= _CHUNK_BYTES + _ABYTES:
                raise BundleError("a chunk has an impossible length: altered")
            try:
                plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(self._state, self._exactly(length))
            except CryptoError as exc:
                raise BundleError("a chunk does not verify: altered") from exc
            self._plain += plain
            self._ended = tag == _FINAL
        return len(self._plain) >= size

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise BundleError("it is cut short")
        return data


def write_confirmation(gateway_id: str, confirmed: Confirmed, signing_seed: bytes, created_at: datetime) -> bytes:
    """The file that is carried back: what headquarters holds, signed by it."""
    value = {"v": 1, "gateway_id": gateway_id, "created_at": created_at.isoformat(), "confirmed": confirmed.to_twin()}
    text = json.dumps(value, separators=(",", ":")).encode()
    return _CONFIRMATION_MAGIC + SigningKey(signing_seed).sign(_CONFIRMATION_MAGIC + text).signature + text


def read_confirmation(data: bytes, keys: GatewayKeys) -> tuple[Confirmed, datetime]:
    """Read and verify a confirmation; the time tells which of two is the later one.

    Raises:
        BundleError: no confirmation, for another gateway, forged, altered or cut short.
    """
    if not data.startswith(_CONFIRMATION_MAGIC) or len(data) > CONFIRMATION_MAX_BYTES:
        raise BundleError("this is not a confirmation, or one of another version")
    at = len(_CONFIRMATION_MAGIC)
    signature, text = data[at : at + _SIGNATURE_BYTES], data[at + _SIGNATURE_BYTES :]
    try:
        VerifyKey(keys.hq_verify_key).verify(_CONFIRMATION_MAGIC + text, signature)
    except (CryptoError, ValueError) as exc:
        raise BundleError("it is not signed by our headquarters: forged, altered or cut short") from exc
    try:
        fields = Fields.of(json.loads(text), "confirmation")
        gateway_id = fields.text("gateway_id")
        confirmed = Confirmed.from_twin(fields.inner("confirmed").values)
        created_at = fields.instant("created_at")
    except (ValueError, RecursionError, WireError) as exc:
        raise BundleError(f"it cannot be read: {exc}") from exc
    if gateway_id != keys.gateway_id:
        raise BundleError(f"it is for gateway {gateway_id[:80]}, this is {keys.gateway_id}")
    return confirmed, created_at


def _key(fields: Fields, name: str) -> bytes:
    value = bytes.fromhex(fields.text(name))
    if len(value) != KEY_BYTES:
        raise ValueError(f"{name}: must be {KEY_BYTES} bytes in hexadecimal")
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
