"""The pictures that travel: as small as promised, showing what they should, and saying nothing beside that."""

import io

import numpy as np
import pytest
from PIL import Image

from edge_module.domain import Box
from edge_module.errors import MediaError
from edge_module.frame import decode
from edge_module.variants import crop_jpeg, frame_jpeg, thumbnail_jpeg
from tests.pictures import ORIENTATION, encoded, exif, scene

GPS = 0x8825
WHERE = {1: "N", 2: (27.0, 41.0, 58.3), 3: "E", 4: (87.0, 59.0, 11.9)}
SECRETS = (b"27.6995", b"87.9866", b"CAM-0042", b"Exif", b"ns.adobe.com", b"where it was taken")


def noise(width_px: int, height_px: int) -> bytes:
    rng = np.random.default_rng(1)
    return encoded(Image.fromarray(rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)), quality=95)


def telling(width_px: int = 2400, height_px: int = 1800) -> bytes:
    """A picture that says where it was taken in every way that a JPEG can."""
    tags = exif(serial="CAM-0042")
    tags.get_ifd(GPS).update(WHERE)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>27.6995</exif:GPSLatitude></x:xmpmeta>'
    return encoded(
        scene(3, width_px=width_px, height_px=height_px), exif=tags, xmp=xmp, comment=b"where it was taken 87.9866"
    )


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


PICTURES = {"a landscape": telling(), "noise": noise(4000, 3000), "small": telling(320, 240), "tall": noise(600, 4000)}


@pytest.mark.parametrize("name", PICTURES)
def test_each_variant_is_as_small_as_promised(name: str) -> None:
    original = PICTURES[name]
    box = Box(left=0.4, top=0.4, right=0.6, bottom=0.6)
    for jpeg, long_edge_px, bytes_max in (
        (frame_jpeg(original), 1600, 400_000),
        (crop_jpeg(original, box), 480, 20_000),
        (crop_jpeg(original, None), 480, 20_000),
        (thumbnail_jpeg(decode(original).image, long_edge_px=160), 160, 8_000),
        (thumbnail_jpeg(decode(original).image, long_edge_px=48), 48, 3_000),
    ):
        assert len(jpeg) <= bytes_max
        assert max(opened(jpeg).size) <= long_edge_px


def test_no_variant_says_where_or_by_which_camera() -> None:
    original = telling()
    assert all(secret in original for secret in (b"CAM-0042", b"27.6995", b"87.9866")), "or the test proves nothing"
    decoded = decode(original).image
    for jpeg in (
        frame_jpeg(original),
        crop_jpeg(original, Box(left=0, top=0, right=0.5, bottom=0.5)),
        thumbnail_jpeg(decoded, long_edge_px=160),
        thumbnail_jpeg(decoded, long_edge_px=48),
    ):
        assert not opened(jpeg).getexif()
        assert [name for name, _ in opened(jpeg).applist] == ["APP0"]
        assert not any(secret in jpeg for secret in SECRETS)


def test_the_same_bytes_give_the_same_pictures() -> None:
    original, box = telling(), Box(left=0.1, top=0.2, right=0.5, bottom=0.7)
    assert crop_jpeg(original, box) == crop_jpeg(original, box)
    assert frame_jpeg(original) == frame_jpeg(original)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_crop_shows_what_the_box_shows_of_the_upright_frame(orientation: int) -> None:
    upright = Image.new("RGB", (3000, 2000), (20, 120, 20))
    upright.paste((250, 0, 0), (1500, 500, 2100, 900))
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose.ROTATE_90)
    tags = exif()
    tags[ORIENTATION] = orientation
    crop = opened(crop_jpeg(encoded(stored, exif=tags), Box(left=0.5, top=0.25, right=0.7, bottom=0.45)))
    red, green, _ = np.asarray(crop.convert("RGB")).astype(int).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 15
    assert crop.size == (480, 320), "in the frame's own aspect, with all the detail there is"


def test_a_box_smaller_than_a_pixel_still_shows_one() -> None:
    tiny = encoded(scene(1, width_px=40, height_px=30))
    assert opened(crop_jpeg(tiny, Box(left=0.999, top=0.999, right=1.0, bottom=1.0))).size >= (1, 1)


def test_what_is_no_picture_makes_none() -> None:
    with pytest.raises(MediaError):
        crop_jpeg(b"no picture", None)
