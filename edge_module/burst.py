"""Frames of one event, and what moved between them.

A camera trap fires when something warm moves, three frames or so at a time. What differs between those frames is where
the animal is; a crop of it shows the backbone an animal instead of a forest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from edge_module.domain import Box, Exif, Media

BURST_FRAMES_MAX: Final = 4
"""Decoded frames held at once by a worker: bounds memory. A longer event is scored in parts of nearly equal length."""

# The 224 px input in cells of 4 px: fine enough for an animal of 5 % of the width, coarse enough to ignore noise.
_CELL_PX: Final = 4
# A cell moved if it changed by this many times the frame's median change, and by this many grey levels at least: wind
# and sensor gain raise the median, an animal stands out of it.
_MOVED_RATIO: Final = 3.0
_MOVED_LEVELS_MIN: Final = 6.0
# Half the crop's side, in standard deviations of where change lies: an even patch ends at 1.7 of them.
_SPREADS: Final = 1.8
_MARGIN: Final = 0.1
_SIDE_MIN: Final = 0.15
_SIDE_MAX: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A media file with its EXIF, before it is decoded."""

    media: Media
    exif: Exif


def events(shots: Iterable[Shot], *, gap_s: float) -> Iterator[list[Shot]]:
    """Group shots, in the order of the listing, into events.

    A shot joins the event before it when it lies in the same folder, comes from the same camera and was taken at most
    `gap_s` after. A shot without a capture time stands alone. A camera that never stops fires events of
    `_EVENT_FRAMES_MAX` shots, so that nothing grows without bound.
    """
    event: list[Shot] = []
    for shot in shots:
        if event and (len(event) >= _EVENT_FRAMES_MAX or not _continues(event[-1], shot, gap_s)):
            yield event
            event = []
        event.append(shot)
    if event:
        yield event


_EVENT_FRAMES_MAX: Final = 64


def _continues(before: Shot, shot: Shot, gap_s: float) -> bool:
    earlier, later = before.exif.captured, shot.exif.captured
    if earlier is None or later is None or before.media.folder != shot.media.folder:
        return False
    if before.exif.camera_serial != shot.exif.camera_serial:
        return False
    return timedelta(0) <= later.at - earlier.at <= timedelta(seconds=gap_s)


_T = TypeVar("_T")


def bursts(event: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Split an event into bursts of at most `BURST_FRAMES_MAX`, as equal as can be, the longer ones first."""
    count = -(-len(event) // BURST_FRAMES_MAX)
    start = 0
    for i in range(count):
        end = start + len(event) // count + (i < len(event) % count)
        yield event[start:end]
        start = end


def motion(wholes: Sequence[npt.NDArray[np.uint8]]) -> list[Box | None]:
    """Find where each frame of a burst differs from the others.

    Args:
        wholes: backbone inputs of the frames, each uint8 (224, 224, 3); all from one camera that did not move.

    Returns:
        For each frame the box around what stands out most, or None where nothing does.
    """
    if len(wholes) < 2:  # noqa: PLR2004 - one frame has nothing to differ from
        return [None] * len(wholes)
    grays = np.stack([_cells(whole) for whole in wholes])
    # Gain flickers between frames: compare patterns, not brightness.
    grays -= grays.mean(axis=(1, 2), keepdims=True)
    boxes: list[Box | None] = []
    for i, gray in enumerate(grays):
        # The least change against any other frame: where this frame's animal is it differs from all of them, where
        # another frame's animal is it differs from that one only.
        change = np.abs(np.delete(grays, i, axis=0) - gray).min(axis=0)
        boxes.append(_stands_out(change))
    return boxes


def _cells(whole: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean green level of each cell. By slices: numpy's sums over short inner axes take three times as long."""
    green = whole[..., 1].astype(np.float32)  # sums of 16 small whole numbers: exact
    rows = np.add.reduce([green[i::_CELL_PX] for i in range(_CELL_PX)])
    cells: npt.NDArray[np.float32] = np.add.reduce([rows[:, i::_CELL_PX] for i in range(_CELL_PX)])
    return cells / np.float32(_CELL_PX**2)


def _stands_out(change: npt.NDArray[np.float32]) -> Box | None:
    level = max(_MOVED_LEVELS_MIN, _MOVED_RATIO * float(np.median(change)))
    moved = change > level
    if not moved.any():
        return None
    # The strongest 3 x 3 neighbourhood starts the region; single cells are sparkle.
    side = change.shape[0]
    padded = np.zeros((side + 2, side + 2), change.dtype)
    padded[1:-1, 1:-1] = np.where(moved, change, 0)
    strength = sum(padded[y : y + side, x : x + side] for y in range(3) for x in range(3))
    start = np.unravel_index(int(np.argmax(strength)), change.shape)
    cells = _region(moved, (int(start[0]), int(start[1])))
    return _box_around(cells, change[cells[:, 0], cells[:, 1]], side)


def _region(moved: npt.NDArray[np.bool_], start: tuple[int, int]) -> npt.NDArray[np.intp]:
    """Cells connected to `start`, bridging gaps of one cell: (n, 2) of row and column."""
    side = moved.shape[0]
    framed = np.zeros((side + 4, side + 4), np.bool_)
    region = framed[2:-2, 2:-2]
    region[start] = True
    size, grown = 0, 1
    while grown > size:
        size = grown
        tall = np.logical_or.reduce([framed[i : i + side] for i in range(5)])
        region[...] = np.logical_or.reduce([tall[:, i : i + side] for i in range(5)]) & moved
        region[start] = True
        grown = int(np.count_nonzero(region))
    return np.argwhere(region)


def _box_around(cells: npt.NDArray[np.intp], change: npt.NDArray[np.float32], side: int) -> Box:
    """Around the mass of what changed, not its outermost cell: a leaf that joins the region must not halve the zoom."""
    weight = change / change.sum()
    y, x = weight @ cells + 0.5  # the middles of cells
    spread = np.sqrt(weight @ (cells + 0.5 - (y, x)) ** 2)
    extent = (2 * _SPREADS * float(spread.max()) + 1) / side * (1 + 2 * _MARGIN)
    # The crop keeps the frame's aspect, which is what the backbone sees in full frames.
    return Box.square(float(x) / side, float(y) / side, min(max(extent, _SIDE_MIN), _SIDE_MAX))
