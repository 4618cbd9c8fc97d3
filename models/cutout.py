"""Animals cut out of photographs by GrabCut, the bad ones discarded.

https://docs.opencv.org/4.x/d8/d83/tutorial_py_grabcut.html
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_module.files import write_durably
from models.pictures import Labelled

Picture = npt.NDArray[Any]  # uint8; OpenCV's stubs do not say which

LONG_EDGE_PX = 560
_MASK_PX = 320
_AREA_MIN, _AREA_MAX = 0.07, 0.9
_SOLIDITY_MIN = 0.6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutout:
    """An animal without its surroundings.

    Args:
        rgba: uint8, shape (height, width, 4), trimmed to the animal.
        label: red_panda or other_animal.
        group: of the photograph.
        cut: which sides of the photograph cut the animal off: left, top, right, bottom.
    """

    rgba: Picture
    label: str
    group: str
    cut: tuple[bool, bool, bool, bool]


def cut_out(source: Labelled) -> Cutout | None:
    """Cut the animal out of a photograph, or discard the photograph if that does not go well."""
    bgr = cv2.imread(str(source.path), cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    bgr = _fit(bgr, LONG_EDGE_PX)
    alpha = _segment(bgr)
    if alpha is None:
        return None
    ys, xs = np.nonzero(alpha > 127)  # noqa: PLR2004 - half
    height, width = alpha.shape
    near = 3  # px; the mask is smoothed
    sides = (xs.min() < near, ys.min() < near, xs.max() >= width - near, ys.max() >= height - near)
    part = np.dstack([cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), alpha])
    part = part[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return Cutout(rgba=np.ascontiguousarray(part), label=source.label, group=source.group, cut=_sides(sides))


def cut_outs(sources: list[Labelled], cache: Path) -> list[Cutout]:
    """Cut out all photographs that can be; kept in `cache` (build/, never committed) between runs."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for source in sources:
        kept = cache / f"{source.group}.npz"
        if not kept.exists():
            fresh = cut_out(source)
            rgba = fresh.rgba if fresh else np.zeros((0, 0, 4), np.uint8)
            content = io.BytesIO()
            np.savez_compressed(content, rgba=rgba, cut=np.array(fresh.cut if fresh else (False,) * 4))
            write_durably(kept, content.getvalue())  # another process may want it at the same time
        with np.load(kept) as stored:
            rgba, sides = stored["rgba"], stored["cut"]
        if rgba.size:
            found.append(Cutout(rgba=rgba, label=source.label, group=source.group, cut=_sides(sides)))
    return found


def _sides(cut: Iterable[Any]) -> tuple[bool, bool, bool, bool]:
    left, top, right, bottom = (bool(side) for side in cut)
    return left, top, right, bottom


def _fit(image: Picture, long_edge_px: int) -> Picture:
    share = long_edge_px / max(image.shape[:2])
    return cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC)


def _segment(bgr: Picture) -> Picture | None:
    small = _fit(bgr, _MASK_PX)
    height, width = small.shape[:2]
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    centre = (width // 2, height // 2)
    cv2.ellipse(mask, centre, (int(width * 0.40), int(height * 0.42)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, centre, (int(width * 0.10), int(height * 0.12)), 0, 0, 360, cv2.GC_FGD, -1)
    edge = max(2, width // 50)
    # The foot of a photograph often cuts an animal off; its other edges seldom show one.
    mask[:edge] = mask[: height * 4 // 5, :edge] = mask[: height * 4 // 5, -edge:] = cv2.GC_BGD
    try:
        cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None  # one of the two colour models has no pixels: nothing to cut out
    inside: Picture = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    inside = _largest(inside)
    if not _AREA_MIN < inside.mean() < _AREA_MAX or _solidity(inside) < _SOLIDITY_MIN:
        return None
    soft = cv2.erode(inside * 255, np.ones((3, 3), np.uint8))
    soft = cv2.resize(soft, bgr.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(soft, (0, 0), 1.2)


def _largest(inside: Picture) -> Picture:
    """The largest connected part, its holes filled."""
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = np.zeros_like(inside)
    if contours:
        cv2.drawContours(kept, [max(contours, key=cv2.contourArea)], -1, 1, -1)
    return kept


def _solidity(inside: Picture) -> float:
    """Area over that of the convex hull: a ragged cut-out has caught pieces of the background."""
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0.0
    outline = max(contours, key=cv2.contourArea)
    return float(cv2.contourArea(outline) / max(1.0, cv2.contourArea(cv2.convexHull(outline))))
