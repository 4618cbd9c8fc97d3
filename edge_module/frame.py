"""A file's bytes to an upright picture, and what its EXIF says. Pillow only: see docs/decisions/0003.

JPEGs are decoded at 1/2, 1/4 or 1/8 of their size by libjpeg itself: half the time, little of the memory.
"""

import io
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edge_module.domain import UTC_OFFSET_MAX_MIN, CaptureTime, Exif, OffsetSource
from edge_module.errors import MediaError

INPUT_PX: Final = 224
"""Edge of the backbone's square input (EfficientNet-Lite0)."""

LONG_EDGE_MIN_PX: Final = 720
"""Scaled decoding keeps at least this, so that a crop around a small animal still has detail. The next coarser step of
libjpeg saves 10 % of the decoding time (evidence: 46 against 40 ms of a 12 MP picture)."""

DECODE_MAX_BYTES: Final = 200 * 2**20
"""A picture whose decoding is predicted to need more is refused: the gateway has 1 GB."""

EXIF_HEAD_BYTES: Final = 128 * 1024
"""EXIF is one JPEG segment of at most 64 KB near the start of the file."""

# Mean difference between a pixel's strongest and weakest channel, below which a frame counts as infrared: cameras write
# grey at night, JPEG chroma noise adds 1 or 2.
_NIGHT_COLOUR_MAX: Final = 5.0

_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_EXIF_IFD, _TIME, _OFFSET, _SERIAL = 0x8769, 0x9003, 0x9011, 0xA431
_TURN: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on broken pictures and broken EXIF, by its source and by fuzzing.
_PILLOW_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error, EOFError, OverflowError,
    ZeroDivisionError, AttributeError,
)  # fmt: skip

# The limit is ours, by predicted memory, not Pillow's by pixels: a 100 MP JPEG decoded at 1/8 is small.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A picture ready to be looked at: upright RGB, and the backbone's input made of it."""

    image: Image.Image
    whole: npt.NDArray[np.uint8]

    @property
    def night(self) -> bool:
        """Whether the picture has hardly any colour, as under infrared light."""
        red, green, blue = np.moveaxis(self.whole[::3, ::3], 2, 0)
        strongest = np.maximum(np.maximum(red, green), blue)
        weakest = np.minimum(np.minimum(red, green), blue)
        return float((strongest - weakest).mean()) < _NIGHT_COLOUR_MAX


def to_input(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Resize a picture, or the part in `box`, to the backbone's input.

    The one preprocessing step there is, for the gateway, headquarters and training alike. The aspect is not kept: trap
    frames are all alike in it, and cutting edges off would lose animals.

    Args:
        image: RGB.
        box: left, top, right, bottom in pixels.

    Returns:
        uint8, shape (224, 224, 3).
    """
    small = image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.asarray(small)


def frame_of(image: Image.Image) -> Frame:
    """Make a frame of an upright RGB picture that is already in memory."""
    return Frame(image=image, whole=to_input(image))


def decode(data: bytes) -> Frame:
    """Decode a picture for scoring.

    Raises:
        MediaError: as `upright`.
    """
    return frame_of(upright(data, long_edge_min_px=LONG_EDGE_MIN_PX))


def upright(data: bytes, *, long_edge_min_px: int) -> Image.Image:
    """Decode a JPEG, PNG or WebP, whatever its name says, scaled down by powers of two, turned upright, to RGB.

    Args:
        data: the whole file.
        long_edge_min_px: the long edge keeps at least this, where the picture has it.

    Raises:
        MediaError: not a picture, cut short, damaged, or too large to decode in `DECODE_MAX_BYTES`.
    """
    if not data:
        raise MediaError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            share = min(1.0, long_edge_min_px / max(width, height))
            image.draft("RGB", (max(1, int(width * share)), max(1, int(height * share))))
            _refuse_if_too_large(image, full_px=width * height)
            image.load()
            turn = _TURN.get(_orientation(image))
            picture = _reduce(_to_rgb(image), long_edge_min_px)
    except UnidentifiedImageError as exc:
        raise MediaError("not a JPEG, PNG or WebP picture") from exc
    except _PILLOW_ERRORS as exc:
        raise MediaError(f"damaged picture: {exc}") from exc
    return picture if turn is None else picture.transpose(turn)


def _refuse_if_too_large(image: Image.Image, *, full_px: int) -> None:
    decoded_px = image.size[0] * image.size[1]
    # Pillow keeps 4 bytes a pixel, once more while it converts; a progressive JPEG needs all its 16-bit coefficients in
    # memory.
    predicted_bytes = 4 * decoded_px * (1 if image.mode == "RGB" else 2)
    if image.info.get("progressive"):
        predicted_bytes += 2 * max(3, len(image.getbands())) * full_px
    if predicted_bytes > DECODE_MAX_BYTES:
        raise MediaError(f"too large: {full_px / 1e6:.0f} megapixels need {predicted_bytes / 2**20:.0f} MB to decode")


def _reduce(image: Image.Image, long_edge_min_px: int) -> Image.Image:
    """What `draft` does for JPEGs, for the others: a worker holds a whole burst."""
    steps = (max(image.size) // long_edge_min_px).bit_length() - 1
    return image.reduce(2**steps) if steps > 0 else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion clips instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")  # a palette with transparency warns otherwise
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> object:
    try:
        return Image.Image.getexif(image).get(_ORIENTATION)
    except _PILLOW_ERRORS:
        return None  # broken EXIF makes no broken picture


def _read_exif_tags(image: Image.Image) -> dict[int, object]:
    try:
        exif = Image.Image.getexif(image)  # a PNG's own would decode all of it first
        return {**exif, **exif.get_ifd(_EXIF_IFD)}
    except _PILLOW_ERRORS:
        return {}  # broken EXIF makes no broken picture


def read_exif(head: bytes, *, utc_offset_min: int) -> Exif:
    """Read what the project uses of EXIF. Broken or absent EXIF gives an empty answer, never an error.

    Args:
        head: the first `EXIF_HEAD_BYTES` of the file, or all of it.
        utc_offset_min: minutes east of UTC to assume where the camera wrote no offset, as most do.
    """
    try:
        with Image.open(io.BytesIO(head), formats=_FORMATS) as image:
            tags = _read_exif_tags(image)
    except _PILLOW_ERRORS:
        return Exif()
    return Exif(
        captured=_capture_time(tags, utc_offset_min),
        camera_make=_text(tags.get(_MAKE)),
        camera_model=_text(tags.get(_MODEL)),
        camera_serial=_text(tags.get(_SERIAL)),
    )


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
