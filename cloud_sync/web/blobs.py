"""Pictures out of Blob Storage, as a browser may have them: what was recorded, a JPEG, and without metadata."""

import hashlib
import io
from typing import Any, Final

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from PIL import Image
from sqlalchemy import Row

from edge_module.errors import MediaError, TransientDelivery

THUMBNAIL_PX: Final = 360
SHOWN_MAX_BYTES: Final = 8_000_000
_PIXELS_MAX: Final = 50_000_000
_AT_ONCE: Final[dict[str, Any]] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 20}
"""Somebody waits for the page, and can ask again."""

_PLAIN: Final = "APP0"
"""JFIF's own segment; every other application segment may say where the picture was taken."""


class Blobs:
    """Blob Storage, for reading; safe to share between threads."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service

    def is_there(self, media: Row[Any]) -> bool:
        """Whether a recorded picture still lies in storage.

        Raises:
            TransientDelivery: the storage is away.
        """
        try:
            return bool(self._service.get_blob_client(media.container, media.blob_name).exists(**_AT_ONCE))
        except (AzureError, OSError) as exc:
            raise TransientDelivery(f"Blob Storage is away ({type(exc).__name__})") from exc

    def read(self, media: Row[Any], *, bytes_max: int = SHOWN_MAX_BYTES) -> bytes:
        """A recorded picture, byte for byte as headquarters confirmed it.

        Raises:
            MediaError: it has been deleted, or changed since, or is larger than `bytes_max`.
            TransientDelivery: the storage is away.
        """
        try:
            blob = self._service.get_blob_client(media.container, media.blob_name)
            stream = blob.download_blob(max_concurrency=1, **_AT_ONCE)
            if stream.size > bytes_max:
                raise MediaError("This picture is too large to be shown.")
            content = bytes(stream.readall())
        except ResourceNotFoundError as exc:
            raise MediaError("This picture has been deleted from storage.") from exc
        except (AzureError, OSError) as exc:
            raise TransientDelivery(f"Blob Storage is away ({type(exc).__name__})") from exc
        if hashlib.sha256(content).hexdigest() != media.blob_sha256:
            raise MediaError("This picture has been changed since it was recorded; it is not shown.")
        return content


def without_metadata(jpeg: bytes) -> bytes:
    """The same picture with nothing beside it; byte for byte where nothing was.

    Raises:
        MediaError: not a JPEG that can be shown.
    """
    image = _open(jpeg)
    if all(name == _PLAIN for name, _ in image.applist) and "comment" not in image.info:  # type: ignore[attr-defined]
        return jpeg
    return _jpeg(image, quality=92)


def thumbnail(jpeg: bytes) -> bytes:
    """A small version: long edge `THUMBNAIL_PX`.

    Raises:
        MediaError: not a JPEG that can be shown.
    """
    image = _open(jpeg)
    try:
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except (OSError, ValueError) as exc:
        raise MediaError("This picture cannot be decoded.") from exc
    return _jpeg(image, quality=72)


def _open(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=("JPEG",))
    except (OSError, ValueError, Image.DecompressionBombError) as exc:
        raise MediaError("What lies in storage is not a JPEG picture.") from exc
    if image.width * image.height > _PIXELS_MAX:
        raise MediaError("This picture is too large to be shown.")
    return image


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    out = io.BytesIO()
    try:
        plain = image.convert("RGB")
        plain.info.clear()  # Pillow would write a comment again
        plain.save(out, "JPEG", quality=quality)
    except (OSError, ValueError) as exc:
        raise MediaError("This picture cannot be decoded.") from exc
    return out.getvalue()
