"""Which pictures belong together, and what moved between them."""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from edge_module.burst import BURST_FRAMES_MAX, Shot, bursts, events, motion
from edge_module.domain import Box, CaptureTime, Exif, Media, OffsetSource

NOON = datetime(2026, 3, 14, 12)  # noqa: DTZ001 - a camera's clock knows no zone
Whole = npt.NDArray[np.uint8]


def shot(path: str, after_s: float | None, *, serial: str = "CAM-1", offset_min: int = 345) -> Shot:
    captured = None
    if after_s is not None:
        local = NOON + timedelta(seconds=after_s)
        captured = CaptureTime(
            exif_time=f"{local:%Y:%m:%d %H:%M:%S}",
            local=local,
            utc_offset_min=offset_min,
            offset_source=OffsetSource.SETTING,
        )
    media = Media(path=path.encode(), size_bytes=1, mtime_ns=1)
    return Shot(media=media, exif=Exif(captured=captured, camera_serial=serial))


def grouped(*shots: Shot, gap_s: float = 60) -> list[list[str]]:
    return [[s.media.name for s in event] for event in events(shots, gap_s=gap_s)]


def test_pictures_that_follow_each_other_are_one_event() -> None:
    assert grouped(shot("1", 0), shot("2", 60), shot("3", 121), shot("4", 122)) == [["1", "2"], ["3", "4"]]


def test_the_gap_counts_from_the_last_picture_not_from_the_first() -> None:
    assert grouped(*(shot(str(n), 50 * n) for n in range(5))) == [["0", "1", "2", "3", "4"]]


def test_a_picture_without_a_time_stands_alone() -> None:
    assert grouped(shot("1", 0), shot("2", None), shot("3", 1)) == [["1"], ["2"], ["3"]]


def test_folders_and_cameras_are_kept_apart() -> None:
    assert grouped(shot("a/1", 0), shot("b/2", 1), shot("b/3", 2, serial="CAM-2")) == [["a/1"], ["b/2"], ["b/3"]]


def test_a_clock_that_runs_backwards_begins_another_event() -> None:
    assert grouped(shot("1", 10), shot("2", 9)) == [["1"], ["2"]]


def test_times_are_compared_as_instants() -> None:
    assert grouped(shot("1", 0, offset_min=345), shot("2", 900, offset_min=360)) == [["1", "2"]]


def test_a_camera_that_never_stops_fires_bounded_events() -> None:
    assert [len(event) for event in grouped(*(shot(f"{n:04}", n) for n in range(150)))] == [64, 64, 22]


@pytest.mark.parametrize(
    ("frames", "lengths"), [(0, []), (1, [1]), (3, [3]), (4, [4]), (5, [3, 2]), (9, [3, 3, 3]), (64, [4] * 16)]
)
def test_an_event_is_scored_in_nearly_equal_bursts(frames: int, lengths: list[int]) -> None:
    event = [shot(str(n), n) for n in range(frames)]
    parts = list(bursts(event))
    assert [len(part) for part in parts] == lengths
    assert [s for part in parts for s in part] == event
    assert all(len(part) <= BURST_FRAMES_MAX for part in parts)


def forest(seed: int = 0, *, noise: float = 0) -> Whole:
    """A still background of 224 px, with fresh sensor noise."""
    background = np.random.default_rng(1).integers(60, 180, (28, 28, 3)).repeat(8, 0).repeat(8, 1)
    grain = np.random.default_rng(seed).normal(0, noise, background.shape) if noise else 0
    return np.clip(background + grain, 0, 255).astype(np.uint8)


def with_animal(frame: Whole, x: int, y: int, size: int = 28) -> Whole:
    frame = frame.copy()
    frame[y : y + size, x : x + size] = (240, 240, 240)
    return frame


def covers(box: Box | None, x: int, y: int, size: int = 28) -> bool:
    assert box is not None
    left, top, right, bottom = box.pixels(224, 224)
    return left <= x and top <= y and right >= x + size and bottom >= y + size


def test_one_frame_has_nothing_to_differ_from() -> None:
    assert motion([forest()]) == [None]


def test_where_nothing_moves_nothing_is_found() -> None:
    assert motion([forest(n, noise=4) for n in range(3)]) == [None] * 3


def test_each_frame_shows_its_own_animal() -> None:
    places = [(20, 100), (90, 110), (160, 100)]
    frames = [with_animal(forest(n, noise=4), x, y) for n, (x, y) in enumerate(places)]
    for box, (x, y) in zip(motion(frames), places, strict=True):
        assert covers(box, x, y)


def test_a_crop_is_hardly_wider_than_the_animal_wherever_it_was_before() -> None:
    """Zoom is what the crop is for; half of it is lost where the animal's other places are in it as well."""
    places = [(60, 100), (96, 100), (132, 100)]
    frames = [with_animal(forest(n, noise=4), x, y, 44) for n, (x, y) in enumerate(places)]
    for box, (x, y) in zip(motion(frames), places, strict=True):
        assert covers(box, x, y, 44)
        assert box is not None
        assert (box.right - box.left) * 224 < 2 * 44


def test_a_leaf_that_joins_the_animal_does_not_halve_the_zoom() -> None:
    animal = with_animal(forest(), 100, 100, 40)
    animal[112:116, 136:200] = 230  # a twig of one cell's thickness
    box = motion([forest(1), animal, forest(2)])[1]
    assert covers(box, 100, 100, 40)
    assert box is not None
    assert (box.right - box.left) * 224 < 2.5 * 40


def test_an_animal_that_comes_late_is_found_where_it_is() -> None:
    boxes = motion([forest(0), forest(1), with_animal(forest(2), 100, 60)])
    assert covers(boxes[2], 100, 60)


def test_gain_that_flickers_is_no_motion() -> None:
    frames = [np.clip(forest(n, noise=2).astype(int) + 12 * n, 0, 255).astype(np.uint8) for n in range(3)]
    assert motion(frames) == [None] * 3
    animal = with_animal(frames[1], 60, 60)
    assert covers(motion([frames[0], animal, frames[2]])[1], 60, 60)


@pytest.mark.parametrize(("x", "y", "size"), [(0, 0, 8), (216, 216, 8), (4, 200, 20), (0, 0, 100)])
def test_a_box_stays_within_the_frame_and_is_neither_tiny_nor_all_of_it(x: int, y: int, size: int) -> None:
    (box, _) = motion([with_animal(forest(), x, y, size), forest()])
    assert box is not None
    assert 0 <= box.left < box.right <= 1
    assert 0 <= box.top < box.bottom <= 1
    assert 0.15 <= box.right - box.left + 1e-9 <= 0.8 + 1e-6
    assert box.right - box.left == pytest.approx(box.bottom - box.top)
