"""Pictures for tests, made on the spot: seeded, small, and written the ways cameras, editors and accidents write them.

`scene` costs a millisecond and shows nothing in particular; `drawn` costs a second and shows what the model knows.
"""

import io
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from models.draw import Animal, Shot, draw

EXIF_IFD, ORIENTATION, MAKE, MODEL = 0x8769, 0x0112, 0x010F, 0x0110
TIME, OFFSET, SERIAL = 0x9003, 0x9011, 0xA431

UPRIGHT_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera held that way stores an upright scene, by EXIF orientation."""


def scene(seed: int, *, width_px: int = 320, height_px: int = 240) -> Image.Image:
    """A smooth coloured picture unlike any other seed's, and unlike its own mirror images."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC)


@cache
def drawn(animal: Animal | None = Animal.RED_PANDA, seed: int = 0, *, night: bool = False) -> Image.Image:
    """A camera-trap frame; with seed 0 a red panda that the shipped model is sure of."""
    width = 0.55 if animal is Animal.RED_PANDA else 0.45
    return Image.fromarray(draw(Shot(seed=seed, animal=animal, night=night, animal_width=width)))


def exif(
    *,
    taken: datetime | str | None = None,
    offset: str | None = None,
    orientation: int | None = None,
    serial: str | None = None,
) -> Image.Exif:
    """EXIF as a camera writes it. `taken` may be text, for clocks that write nonsense."""
    tags = Image.Exif()
    tags[MAKE], tags[MODEL] = "Ponya", "Test"
    if orientation is not None:
        tags[ORIENTATION] = orientation
    inner = tags.get_ifd(EXIF_IFD)
    if taken is not None:
        inner[TIME] = taken if isinstance(taken, str) else f"{taken:%Y:%m:%d %H:%M:%S}"
    if offset is not None:
        inner[OFFSET] = offset
    if serial is not None:
        inner[SERIAL] = serial
    return tags


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture file; `options` are Pillow's."""
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 82} | options if kind == "JPEG" else options))
    return out.getvalue()


def jpeg(seed: int, **options: Any) -> bytes:
    """A small JPEG of `scene`."""
    return encoded(scene(seed), **options)
