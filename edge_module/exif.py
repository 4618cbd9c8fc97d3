"""What the project uses of a picture's EXIF: when, and by which camera. Broken EXIF makes no broken picture."""

import io
from datetime import datetime, timedelta
from typing import Final

from PIL import Image

from edge_module.domain import UTC_OFFSET_MAX_MIN, CaptureTime, Exif, OffsetSource
from edge_module.frame import FORMATS, PILLOW_ERRORS

EXIF_HEAD_BYTES: Final = 80 * 1024
"""EXIF is one JPEG segment of at most 64 KB at the start of the file, behind a JFIF header at most."""

_MAKE, _MODEL = 0x010F, 0x0110
_EXIF_IFD, _TIME, _OFFSET, _SERIAL = 0x8769, 0x9003, 0x9011, 0xA431
_JPEG, _APP1, _NAME = b"\xff\xd8", 0xE1, b"Exif\0\0"
_TIFF: Final = (b"II*\0", b"MM\0*")


def read_exif(head: bytes, *, utc_offset_min: int) -> Exif:
    """Read what the project uses of EXIF. Broken or absent EXIF gives an empty answer, never an error.

    Args:
        head: the first `EXIF_HEAD_BYTES` of the file, or all of it.
        utc_offset_min: minutes east of UTC to assume where the camera wrote no offset, as most do.
    """
    try:
        exif = _of_jpeg(head) if head.startswith(_JPEG) else _of_tiff(head) if head[:4] in _TIFF else _of_other(head)
        tags = {**exif, **exif.get_ifd(_EXIF_IFD)}
    except PILLOW_ERRORS:
        return Exif()
    return Exif(
        captured=_capture_time(tags, utc_offset_min),
        camera_make=_text(tags.get(_MAKE)),
        camera_model=_text(tags.get(_MODEL)),
        camera_serial=_text(tags.get(_SERIAL)),
    )


def _of_jpeg(head: bytes) -> Image.Exif:
    """The EXIF of a JPEG, found by its segments: opening the picture for it takes twice as long."""
    exif = Image.Exif()
    start = len(_JPEG)
    while head[start] == 0xFF:  # noqa: PLR2004 - ISO 10918-1, B.1.1.2: every marker begins so
        length = int.from_bytes(head[start + 2 : start + 4])
        body = head[start + 4 : start + 2 + length]
        if head[start + 1] == _APP1 and body.startswith(_NAME):
            exif.load(body)
            break
        start += 2 + length
    return exif


def _of_tiff(head: bytes) -> Image.Exif:
    """Of what EXIF was made from: TIFF, and the raw pictures of most cameras (DNG, NEF, CR2, ARW)."""
    exif = Image.Exif()
    exif.load(head)
    return exif


def _of_other(head: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(head), formats=FORMATS) as image:
        return Image.Image.getexif(image)  # a PNG's own would decode all of it first


def _text(value: object) -> str | None:
    """EXIF text, bounded and printable: it comes from a card that anyone may have written."""
    if not isinstance(value, str):
        return None
    return "".join(c for c in value.strip("\0 ") if c.isprintable())[:64] or None


def _capture_time(tags: dict[int, object], utc_offset_min: int) -> CaptureTime | None:
    raw = _text(tags.get(_TIME))
    if raw is None:
        return None
    try:
        local = datetime.strptime(raw, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - the zone is a tag of its own
    except ValueError:
        return None
    offset = _text(tags.get(_OFFSET))
    try:
        zone = datetime.strptime(offset or "", "%z").utcoffset()
    except ValueError:
        zone = None
    if zone is None or abs(zone) > timedelta(minutes=UTC_OFFSET_MAX_MIN):
        return CaptureTime(
            exif_time=raw, local=local, utc_offset_min=utc_offset_min, offset_source=OffsetSource.SETTING
        )
    minutes = int(zone.total_seconds() // 60)
    return CaptureTime(exif_time=raw, local=local, utc_offset_min=minutes, offset_source=OffsetSource.EXIF)
