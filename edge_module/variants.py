"""The pictures that travel, made of an original: smaller, upright, and without anything of the original's metadata.

The same bytes give the same picture.
"""

import io
from typing import Final

from PIL import Image

from edge_module.domain import Box
from edge_module.frame import upright

FRAME_LONG_EDGE_PX: Final = 1600
FRAME_MAX_BYTES: Final = 400_000
CROP_LONG_EDGE_PX: Final = 480
CROP_MAX_BYTES: Final = 20_000
AUDIT_LONG_EDGE_PX: Final = 160
WITHHELD_LONG_EDGE_PX: Final = 48
"""A person 50 px high in the 1,600 px of a frame has a pixel and a half here: nobody can be known."""

_THUMBNAIL_MAX_BYTES: Final = 8_000
_QUALITIES: Final = (82, 70, 58, 45, 30)


def frame_jpeg(original: bytes) -> bytes:
    """Make the ``frame`` variant: long edge at most 1,600 px, at most 400 KB.

    Raises:
        MediaError: the original cannot be decoded.
    """
    return _fitting(upright(original, long_edge_min_px=FRAME_LONG_EDGE_PX), FRAME_LONG_EDGE_PX, FRAME_MAX_BYTES)


def crop_jpeg(original: bytes, box: Box | None) -> bytes:
    """Make the ``crop`` variant: what the box shows, long edge at most 480 px, at most 20 KB.

    Args:
        original: the file.
        box: what of the upright frame; all of it unless given.

    Raises:
        MediaError: the original cannot be decoded.
    """
    if box is None:
        return _fitting(upright(original, long_edge_min_px=CROP_LONG_EDGE_PX), CROP_LONG_EDGE_PX, CROP_MAX_BYTES)
    share = max(box.right - box.left, box.bottom - box.top)
    image = upright(original, long_edge_min_px=round(CROP_LONG_EDGE_PX / share))
    left, top, right, bottom = (round(edge) for edge in box.pixels(*image.size))
    cut = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    return _fitting(cut, CROP_LONG_EDGE_PX, CROP_MAX_BYTES)


def thumbnail_jpeg(image: Image.Image, *, long_edge_px: int) -> bytes:
    """Make the ``audit`` or the ``withheld`` variant of a frame that has been decoded for scoring."""
    return _fitting(image.copy(), long_edge_px, _THUMBNAIL_MAX_BYTES)


def _fitting(image: Image.Image, long_edge_px: int, bytes_max: int) -> bytes:
    image.thumbnail((long_edge_px, long_edge_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    while True:
        for quality in _QUALITIES:
            jpeg = _jpeg(image, quality)
            if len(jpeg) <= bytes_max:
                return jpeg
        image = image.reduce(2)  # noise that no quality makes small


def _jpeg(image: Image.Image, quality: int) -> bytes:
    image.info.clear()  # Pillow would write a comment, and in some versions XMP, again
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
