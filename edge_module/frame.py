"""A file's bytes to an upright picture. Pillow only: see docs/decisions/0003.

JPEGs are decoded at 1/2, 1/4 or 1/8 of their size by libjpeg itself: half the time, little of the memory.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edge_module.errors import MediaError

INPUT_PX: Final = 224
"""Edge of the backbone's square input (EfficientNet-Lite0)."""

LONG_EDGE_MIN_PX: Final = 720
"""Scaled decoding keeps at least this, so that a crop around a small animal still has detail. The next coarser step of
libjpeg saves 10 % of the decoding time (evidence: 46 against 40 ms of a 12 MP picture)."""

DECODE_MAX_BYTES: Final = 200 * 2**20
"""A picture whose decoding is predicted to need more is refused: the gateway has 1 GB."""

# Mean difference between a pixel's strongest and weakest channel, below which a frame counts as infrared: cameras write
# grey at night, JPEG chroma noise adds 1 or 2.
_NIGHT_COLOUR_MAX: Final = 5.0

FORMATS: Final = ("JPEG", "PNG", "WEBP")
_ORIENTATION: Final = 0x0112
_TURN: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PILLOW_ERRORS: Final = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error, EOFError, OverflowError,
    ZeroDivisionError, AttributeError,
)  # fmt: skip
"""What Pillow raises on broken pictures and broken EXIF, by its source and by fuzzing."""

# The limit is ours, by predicted memory, not Pillow's by pixels: a 100 MP JPEG decoded at 1/8 is small.
Image.MAX_IMAGE_PIXELS = None
# Of broken EXIF, mostly: they name no file, and the picture is judged all the same.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


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
    small = image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR, box=box, reducing_gap=1.1)
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
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            share = min(1.0, long_edge_min_px / max(width, height))
            image.draft("RGB", (max(1, int(width * share)), max(1, int(height * share))))
            _refuse_if_too_large(image, full_px=width * height)
            image.load()
            turn = _TURN.get(_orientation(image))
            picture = _reduce(_to_rgb(image), long_edge_min_px)
    except UnidentifiedImageError as exc:
        raise MediaError("not a JPEG, PNG or WebP picture") from exc
    except PILLOW_ERRORS as exc:
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
    except PILLOW_ERRORS:
        return None  # broken EXIF makes no broken picture
