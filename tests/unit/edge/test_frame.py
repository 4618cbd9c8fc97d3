"""A file's bytes to an upright picture, and what its EXIF says."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_module.domain import Exif, OffsetSource
from edge_module.errors import MediaError
from edge_module.exif import read_exif
from edge_module.frame import INPUT_PX, LONG_EDGE_MIN_PX, decode, upright
from tests import pictures

NEPAL_MIN = 345


def taken(text: str | None, offset: str | None = None) -> Exif:
    return read_exif(pictures.jpeg(1, exif=pictures.exif(taken=text, offset=offset)), utc_offset_min=NEPAL_MIN)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", list(pictures.UPRIGHT_TO_STORED))
def test_a_picture_comes_out_upright_however_the_camera_hung(kind: str, orientation: int) -> None:
    scene, turn = pictures.scene(1), pictures.UPRIGHT_TO_STORED[orientation]
    stored = scene if turn is None else scene.transpose(turn)
    tags = pictures.exif(orientation=orientation)
    frame = decode(pictures.encoded(stored, kind, exif=tags, **({} if kind == "PNG" else {"quality": 95})))
    assert frame.image.size == scene.size
    difference = np.abs(np.asarray(frame.image, np.int16) - np.asarray(scene, np.int16))
    assert difference.mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    assert decode(pictures.jpeg(1, exif=pictures.exif(orientation=orientation))).image.size == (320, 240)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("width_px", "height_px"), [(4000, 3000), (2592, 1944), (1440, 1080), (800, 600), (320, 240)])
def test_large_pictures_come_out_smaller_but_not_too_small(kind: str, width_px: int, height_px: int) -> None:
    scene = pictures.scene(2, width_px=width_px, height_px=height_px)
    image = upright(pictures.encoded(scene, kind), long_edge_min_px=LONG_EDGE_MIN_PX)
    assert min(LONG_EDGE_MIN_PX, width_px) <= image.size[0] < 2 * LONG_EDGE_MIN_PX
    assert image.size[0] / image.size[1] == pytest.approx(width_px / height_px, rel=0.01)
    assert image.mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(64, 0)
    image = decode(pictures.encoded(Image.fromarray(ramp), "PNG")).image
    assert np.asarray(image)[0, :, 0].tolist() == pytest.approx(list(range(256)), abs=1)


def test_the_backbones_input_is_the_whole_frame() -> None:
    frame = decode(pictures.jpeg(3))
    assert frame.whole.shape == (INPUT_PX, INPUT_PX, 3)
    assert frame.whole.dtype == np.uint8


def test_grey_is_night_and_colour_is_day() -> None:
    assert not decode(pictures.jpeg(4)).night
    assert decode(pictures.encoded(pictures.scene(4).convert("L"))).night
    assert decode(pictures.encoded(pictures.scene(4).convert("L").convert("RGB"))).night
    assert decode(pictures.encoded(pictures.drawn(night=True))).night
    assert not decode(pictures.encoded(pictures.drawn())).night


def test_a_capture_time_keeps_the_offset_that_the_camera_wrote() -> None:
    captured = taken("2026:03:14 05:20:00", "+02:00").captured
    assert captured is not None
    assert captured.at.isoformat() == "2026-03-14T05:20:00+02:00"
    assert (captured.exif_time, captured.offset_source) == ("2026:03:14 05:20:00", OffsetSource.EXIF)


@pytest.mark.parametrize("offset", [None, "", "nonsense", "+23:59", "-14:01", "\x1b[31m"])
def test_without_an_offset_that_can_be_the_setting_supplies_it(offset: str | None) -> None:
    captured = taken("2026:03:14 05:20:00", offset).captured
    assert captured is not None
    assert captured.at.isoformat() == "2026-03-14T05:20:00+05:45"
    assert captured.offset_source is OffsetSource.SETTING


@pytest.mark.parametrize(
    "text", [None, "", "0000:00:00 00:00:00", "2026:02:30 00:00:00", "    :  :     :  :  ", "x" * 999]
)
def test_a_time_that_is_none_is_none(text: str | None) -> None:
    assert taken(text).captured is None


def test_the_camera_is_named_without_control_characters_and_at_bounded_length() -> None:
    exif = read_exif(pictures.jpeg(1, exif=pictures.exif(serial="A\x1b[2J\n" + "9" * 500)), utc_offset_min=0)
    assert exif.camera_serial == ("A[2J" + "9" * 500)[:64]
    assert (exif.camera_make, exif.camera_model) == ("Ponya", "Test")


def test_exif_is_read_from_the_head_of_a_file_without_decoding_it() -> None:
    scene = pictures.scene(5, width_px=3000, height_px=2000)
    for kind in ("JPEG", "PNG", "WEBP"):
        head = pictures.encoded(scene, kind, exif=pictures.exif(taken="2026:03:14 05:20:00"))[:4096]
        exif = read_exif(head, utc_offset_min=0)
        assert kind == "WEBP" or exif.captured is not None, "WebP has its EXIF at the end"


def test_exif_of_raw_pictures_is_read_though_they_are_not_scored() -> None:
    """TIFF, whose form DNG, NEF, CR2 and ARW have too: the file belongs to its camera."""
    tags = pictures.exif(
        taken="2026:03:14 05:20:00", serial="S-1"
    ).tobytes()  # Pillow writes an `Exif` without its part
    content = pictures.encoded(pictures.scene(5), "TIFF", exif=tags)
    exif = read_exif(content[:4096], utc_offset_min=NEPAL_MIN)
    assert exif.captured is not None
    assert exif.captured.at.isoformat() == "2026-03-14T05:20:00+05:45"
    assert exif.camera_serial == "S-1"


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", bytes(999)],
)
def test_what_is_no_picture_has_a_reason_and_no_exif(content: bytes) -> None:
    with pytest.raises(MediaError, match=r"^(empty file|not a JPEG, PNG or WebP picture|damaged picture: .*)$"):
        decode(content)
    assert read_exif(content, utc_offset_min=0) == Exif()


_SEEDS = [
    pictures.jpeg(6, exif=pictures.exif(taken="2026:03:14 05:20:00", serial="S", orientation=6)),
    pictures.jpeg(7, progressive=True),
    pictures.encoded(
        pictures.scene(8, width_px=64, height_px=48), "PNG", exif=pictures.exif(taken="2026:03:14 05:20:00")
    ),
    pictures.encoded(pictures.scene(9, width_px=64, height_px=48).quantize(8), "PNG", transparency=0),
    pictures.encoded(pictures.scene(10, width_px=64, height_px=48), "WEBP"),
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.sampled_from(_SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    near_the_start=st.booleans(),
    keep=st.floats(0.01, 1),
)
def test_bytes_changed_at_random_give_a_picture_or_a_reason(
    seed: bytes, changes: list[tuple[float, int]], near_the_start: bool, keep: float
) -> None:
    content = bytearray(seed)
    for place, value in changes:
        content[int(place * (min(400, len(content)) if near_the_start else len(content)))] = value
    content = content[: max(1, int(keep * len(content)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of broken EXIF, and goes on
        read_exif(bytes(content), utc_offset_min=NEPAL_MIN)
        try:
            outcome: object = decode(bytes(content)).whole.shape
        except MediaError as exc:
            outcome = str(exc)
    assert outcome == (INPUT_PX, INPUT_PX, 3) or (isinstance(outcome, str) and outcome.isprintable())


def test_a_jpeg_is_never_decoded_at_full_size_for_nothing() -> None:
    huge = pictures.encoded(Image.new("L", (8000, 8000), 90))
    assert max(upright(huge, long_edge_min_px=LONG_EDGE_MIN_PX).size) == 1000
    with pytest.raises(MediaError, match=r"too large: 64 megapixels need \d+ MB to decode"):
        upright(pictures.encoded(Image.new("L", (8000, 8000), 90), "PNG"), long_edge_min_px=LONG_EDGE_MIN_PX)
