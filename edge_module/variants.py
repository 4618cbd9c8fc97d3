"""The pictures that travel, made of an original: smaller, upright, and without the original's metadata."""

import io
from typing import Final

from PIL import Image

from edge_module.frame import upright

FRAME_LONG_EDGE_PX: Final = 1600
FRAME_MAX_BYTES: Final = 400_000
_QUALITIES: Final = (82, 70, 58, 45, 30)


def frame_jpeg(original: bytes) -> bytes:
    """Make the ``frame`` variant: long edge at most 1,600 px, at most 400 KB. The same bytes give the same picture.

    Raises:
        MediaError: the original cannot be decoded.
    """
    image = upright(original, long_edge_min_px=FRAME_LONG_EDGE_PX)
    image.thumbnail((FRAME_LONG_EDGE_PX, FRAME_LONG_EDGE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    while True:
        for quality in _QUALITIES:
            jpeg = _jpeg(image, quality)
            if len(jpeg) <= FRAME_MAX_BYTES:
                return jpeg
        image = image.reduce(2)  # noise that no quality makes small


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
