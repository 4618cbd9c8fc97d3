"""A backbone by link: a download that goes on where it was, and is believed by its SHA-256 only."""

import hashlib
import logging
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests

from edge_module.blobs import PLAIN_HTTP_HOSTS
from edge_module.errors import ModelError, TransientDelivery

_log = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 64 * 1024
_CONNECT_S: Final = 20
_READ_S: Final = 20
_PARTIAL: Final = 206
_OK: Final = 200
_RANGE_WRONG: Final = 416


def fetch(url: str, *, sha256: str, size_bytes: int, part: Path, stop: threading.Event) -> bytes:
    """Download a file, from where an earlier try ended.

    Args:
        url: https, or http to a local Azure; with its credential. Never logged.
        sha256: of the whole, lower-case hexadecimal.
        size_bytes: of the whole; more is not taken.
        part: where it is put together.
        stop: set it to give up for now.

    Raises:
        TransientDelivery: not yet; what came is kept for the next try.
        ModelError: what lies there is something else.
        OSError: the disk is full, read-only or failing.
    """
    where = check_link(url)
    had = part.stat().st_size if part.exists() else 0
    if had > size_bytes:
        had = 0
    try:
        if had < size_bytes:
            _download(url, had=had, size_bytes=size_bytes, part=part, stop=stop)
    except ModelError:
        part.unlink()
        raise
    except requests.RequestException as exc:
        raise TransientDelivery(f"the backbone at {where}: {type(exc).__name__}; going on later") from exc
    content = part.read_bytes()
    if len(content) < size_bytes:
        raise TransientDelivery(f"the backbone at {where}: {len(content)} of {size_bytes} bytes; going on later")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        part.unlink()
        raise ModelError(
            f"the backbone at {where} has SHA-256 {found[:12]}..., backbone_sha256 says {sha256[:12]}...; send it again"
        )
    return content


def check_link(url: str) -> str:
    """Where a link leads, for people: without its credential.

    Raises:
        ModelError: it is none that a gateway follows.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in PLAIN_HTTP_HOSTS)
        if not known or not parts.hostname or "@" in parts.netloc:
            raise ModelError("model.backbone_url: must be an https link")
    except ValueError as exc:
        raise ModelError(f"model.backbone_url: {exc}") from exc
    return f"{parts.hostname}{parts.path[:100]}"


def _download(url: str, *, had: int, size_bytes: int, part: Path, stop: threading.Event) -> None:
    where = check_link(url)
    headers = {"Range": f"bytes={had}-"} if had else {}
    with requests.get(
        url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S), allow_redirects=False
    ) as answer:
        if answer.status_code == _RANGE_WRONG:
            part.unlink()
        if answer.status_code not in (_OK, _PARTIAL):
            raise TransientDelivery(f"the backbone at {where}: storage answered {answer.status_code}")
        with part.open("ab" if answer.status_code == _PARTIAL else "wb") as file:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                if stop.is_set():
                    raise TransientDelivery("the gateway ends")
                if file.tell() + len(chunk) > size_bytes:
                    raise ModelError(f"the backbone at {where} is longer than the {size_bytes} bytes it should have")
                file.write(chunk)
