"""No link at all: the outbox goes to headquarters as an encrypted file, and the confirmation comes back as one.

What is in a bundle stays owed until headquarters confirms it, by file or by link: a lost stick loses nothing.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_module.bundle_format import (
    BUNDLE_SUFFIX,
    CONFIRMATION_MAX_BYTES,
    BundleError,
    BundleWriter,
    GatewayKeys,
    read_confirmation,
)
from edge_module.domain import Variant
from edge_module.errors import MediaError, NotReadNow
from edge_module.files import rename_durably
from edge_module.ledger import Ledger
from edge_module.originals import Originals
from edge_module.pictures import make_picture

_log = logging.getLogger(__name__)
_PIECE_BYTES: Final = 1 << 20
Progress = Callable[[int, int], None]


def _unwatched(_done: int, _total: int) -> None:
    return


def read_keys(path: Path) -> GatewayKeys:
    """Read the keys that headquarters made for this gateway (`python -m cloud_sync bundle enrol`).

    Raises:
        BundleError: there are none, or the file is not one.
    """
    try:
        return GatewayKeys.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as exc:
        raise BundleError(f"{path}: {exc}; headquarters makes it: python -m cloud_sync bundle enrol") from exc


def write(
    ledger: Ledger, originals: Originals, keys: GatewayKeys, folder: Path, *, on_progress: Progress = _unwatched
) -> tuple[Path, int, int]:
    """Write everything that is owed into a bundle in `folder`.

    Args:
        ledger: what is owed.
        originals: the kept pictures.
        keys: to encrypt for headquarters, and to sign.
        folder: of the stick.
        on_progress: called with how many pictures and messages are written, and how many there are.

    Returns:
        The file, how many messages and how many pictures it holds.

    Raises:
        BundleError: the folder cannot be written.
    """
    while ledger.outbox.pack(flush=True):
        pass
    now = datetime.now(UTC)
    path = folder / f"{keys.gateway_id}-{now:%Y%m%dT%H%M%SZ}{BUNDLE_SUFFIX}"
    beside = path.with_name(f".{path.name}.part")
    messages = pictures = 0
    try:
        with beside.open("wb") as file:
            bundle = BundleWriter(file, keys, ledger_id=ledger.ledger_id, created_at=now)
            uploads = ledger.uploads.owed()
            total = len(uploads) + ledger.outbox.backlog().messages
            for upload in uploads:
                on_progress(pictures, total)
                try:
                    picture = make_picture(upload, originals)
                    if upload.variant is Variant.ORIGINAL:  # once to the end: half of one in a bundle spoils it
                        for _piece in picture.pieces(_PIECE_BYTES):
                            pass
                except NotReadNow as exc:
                    _log.warning("picture %s is left out: %s", upload.media_id, exc)
                    continue
                except MediaError as exc:
                    ledger.uploads.fail(upload, reason=str(exc))
                    continue
                words = picture.words
                bundle.add_blob(words.blob_name, words.size_bytes, picture.pieces(_PIECE_BYTES))
                pictures += 1
                if not upload.bundled:
                    ledger.uploads.bundled(upload, words)
            ledger.outbox.handed_out()
            for sequence, body in ledger.outbox.unconfirmed():
                bundle.add_message(sequence, body)
                messages += 1
                on_progress(pictures + messages, max(total, pictures + messages))
            bundle.finish()
            file.flush()
            os.fsync(file.fileno())
        rename_durably(beside, path)
    except BaseException as exc:
        with contextlib.suppress(OSError):  # the stick may be gone
            beside.unlink()
        if isinstance(exc, OSError):
            raise BundleError(f"{path}: {exc.strerror}; nothing is lost, try another stick") from exc
        raise
    return path, messages, pictures


def confirm(ledger: Ledger, keys: GatewayKeys, path: Path) -> int:
    """Take a confirmation that was carried back. An older one than was seen already changes nothing.

    Returns:
        How many messages are owed still.

    Raises:
        BundleError: it cannot be read, or is not for this gateway.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe on a stick would be waited for without end
            raise BundleError(f"{path}: not a file")
        with path.open("rb") as file:
            content = file.read(CONFIRMATION_MAX_BYTES + 1)
        confirmed, _ = read_confirmation(content, keys)
    except OSError as exc:
        raise BundleError(f"{path}: {exc.strerror}") from exc
    ledger.confirm(confirmed, resend_older_than_s=0)
    return ledger.outbox.backlog().messages
