"""Animals cut out of photographs by `models.matte`, the bad ones discarded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from models import BUILD_DIR, build
from models.pictures import Labelled

Picture = npt.NDArray[Any]  # uint8; OpenCV's stubs do not say which

_MATTES = BUILD_DIR / "mattes"
_LONG_EDGE_PX = 560
_AREA_MIN, _AREA_MAX = 0.03, 0.97
_DOUBTFUL, _CERTAIN = 0.35, 0.7
"""What a matte says less of than the one is left out, more of than the other is solid: a branch in front is neither."""

_NEAR_SHARE = 0.006


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


def cut_out(source: Labelled, rgb: Picture, matte: Picture) -> Cutout | None:
    """Cut the animal out of a photograph, or discard the photograph if that does not go well.

    Args:
        source: the photograph.
        rgb: its pixels, uint8 (height, width, 3).
        matte: how much of each is the animal, uint8 (height, width).
    """
    firm = np.clip((matte.astype(np.float32) / 255 - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL), 0, 1)
    inside = _largest((firm > 0.5).astype(np.uint8))  # noqa: PLR2004 - half
    if not _AREA_MIN < inside.mean() < _AREA_MAX:
        return None
    ys, xs = np.nonzero(inside)
    height, width = inside.shape
    near = max(1, round(_NEAR_SHARE * max(width, height)))
    cut = bool(xs.min() < near), bool(ys.min() < near), bool(xs.max() >= width - near), bool(ys.max() >= height - near)
    # Hairs around the largest part belong to it, other parts do not.
    alpha = firm * cv2.dilate(inside, np.ones((5, 5), np.uint8))
    part = np.dstack([rgb, (alpha * 255).astype(np.uint8)])[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    share = _LONG_EDGE_PX / max(part.shape[:2])
    size = max(1, round(part.shape[1] * share)), max(1, round(part.shape[0] * share))
    fit = cv2.resize(part, size, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC)
    return Cutout(rgba=np.ascontiguousarray(fit), label=source.label, group=source.group, cut=cut)


def cut_outs(sources: Sequence[Labelled]) -> list[Cutout]:
    """Cut out all photographs that can be; their mattes are kept under build/, never committed.

    Raises:
        BuildError: there is no environment for the network that makes mattes, or it failed.
    """
    new = [str(source.path) for source in sources if not _matte(source).exists()]
    if new:
        build.run("models.matte", *new, "--archive", str(BUILD_DIR), "--out", str(_MATTES))
    found = []
    for source in sources:
        rgb, matte = np.asarray(Image.open(source.path).convert("RGB")), np.asarray(Image.open(_matte(source)))
        cut = cut_out(source, rgb, matte)
        if cut is not None:
            found.append(cut)
    return found


def _matte(source: Labelled) -> Path:
    return _MATTES / f"{source.path.stem}.png"


def _largest(inside: Picture) -> Picture:
    """The largest connected part, its holes filled."""
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = np.zeros_like(inside)
    if contours:
        cv2.drawContours(kept, [max(contours, key=cv2.contourArea)], -1, 1, -1)
    return kept
