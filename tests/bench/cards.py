"""Cards to measure on: bursts of drawn forests at the sizes, in bytes and pixels, that camera traps write."""

import os
import time
from datetime import datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from models.draw import Animal, Picture, Shot, burst

SIZES_PX = {"12 MP": (4000, 3000), "5 MP": (2592, 1944)}
BURST_FRAMES = 3
_QUALITY = 88
# Of a sensor. Together with the quality it makes 3-5 MB of 12 megapixels and 1.5-2 MB of 5, as the cameras do.
_NOISE_LEVELS = 10.0
_SCENES = (
    Shot(seed=21, animal=Animal.RED_PANDA, animal_width=0.25),
    Shot(seed=22, leaves=True),
    Shot(seed=23, animal=Animal.DEER, animal_width=0.4),
    Shot(seed=24, animal=Animal.BOAR, animal_width=0.15, night=True),
)
_START = datetime(2026, 3, 14, 5, 20)  # noqa: DTZ001 - a camera's clock knows no zone
_EXIF_IFD, _TIME, _MAKER_NOTE, _MAKE, _MODEL, _SERIAL = 0x8769, 0x9003, 0x927C, 0x010F, 0x0110, 0xA431
_MAKER_NOTE_BYTES = 20_000
_LINKS_MAX = 30_000  # ext4 allows 65,000 names of one file


def write_bursts(folder: Path, size_px: tuple[int, int], bursts: int) -> None:
    """Write a card of `bursts` bursts. No two files have the same bytes."""
    folder.mkdir()
    scenes = [
        [_jpeg_without_exif(picture, size_px, seed) for seed, picture in enumerate(_drawn(scene))]
        for scene in _SCENES[:bursts]
    ]
    for i in range(bursts):
        for j, body in enumerate(scenes[i % len(scenes)]):
            path = folder / f"IMG_{i:04}_{j}.JPG"
            path.write_bytes(_with_exif(body, _START + timedelta(hours=i, seconds=j)))
            _settle(path)


def write_single(folder: Path) -> None:
    """Write a card with one picture of 5 megapixels."""
    folder.mkdir()
    body = _jpeg_without_exif(_drawn(_SCENES[0])[0], SIZES_PX["5 MP"], 0)
    path = folder / "IMG_0000.JPG"
    path.write_bytes(_with_exif(body, _START))
    _settle(path)


def write_many(folder: Path, files: int) -> None:
    """Write a card that lists many files: half of them in one folder, half in folders of a hundred.

    One in a hundred is a picture by its name, and empty; the others are ignored. All are names of a few files.
    """
    sources = folder.parent / f"{folder.name}-sources"
    sources.mkdir()
    folder.mkdir()
    (folder / "ALL").mkdir()
    source = sources / "none"
    for i in range(files):
        if i % _LINKS_MAX == 0:
            source = sources / str(i)
            source.touch()
            _settle(source)
        branch = folder / "ALL" if i % 200 < 100 else folder / f"{i // 200:05}"
        if i % 200 == 100:
            branch.mkdir()
        os.link(source, branch / f"IMG_{i:07}.{'JPG' if i % 100 == 0 else 'DAT'}")


@cache
def _drawn(scene: Shot) -> list[Picture]:
    return burst(scene, BURST_FRAMES)


def _jpeg_without_exif(picture: Picture, size_px: tuple[int, int], seed: int) -> bytes:
    large = cv2.resize(picture, size_px, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal((*large.shape[:2], 1), np.float32)
    image = Image.fromarray(np.clip(large + _NOISE_LEVELS * noise, 0, 255).astype(np.uint8))
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _with_exif(body: bytes, taken: datetime) -> bytes:
    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = "Ponya", "Bench"
    details = {_TIME: f"{taken:%Y:%m:%d %H:%M:%S}", _SERIAL: "BENCH-1", _MAKER_NOTE: bytes(_MAKER_NOTE_BYTES)}
    exif.get_ifd(_EXIF_IFD).update(details)
    segment = exif.tobytes()
    return body[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + body[2:]


def _settle(path: Path) -> None:
    """Make a file old enough that nobody can still be writing to it."""
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
