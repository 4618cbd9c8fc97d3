"""What stands between a camera and an animal: grass, leafy twigs, branches, trunks, of the scene's own stuff.

Shapes only are drawn here; they are filled with another part of the same scene, so that they are lit as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_module.domain import Box

Plane = npt.NDArray[Any]  # float32; OpenCV's stubs do not say which

_ELEMENTS_MAX = 400
_LOOK_EVERY = 4
_SUBPIXEL_BITS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Veil:
    """Plants in front of everything.

    Args:
        alpha: how much they hide, 0 to 1, shape (height, width).
        rgb: what they look like, float32, shape (height, width, 3).
    """

    alpha: Plane
    rgb: Plane

    def over(self, frame: Plane, shift_px: tuple[float, float]) -> Plane:
        """Lay it over a frame in place, swayed by some pixels; returns its alpha there."""
        height, width = self.alpha.shape
        move = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]]], np.float32)
        alpha = cv2.warpAffine(self.alpha, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        rgb = cv2.warpAffine(self.rgb, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        frame += alpha[..., None] * (rgb - frame)
        return alpha


def grow(scene: Plane, around: Box, share: float, rng: np.random.Generator) -> Veil:
    """Let plants of one kind grow until they hide `share` of a box, or enough of them stand there.

    Args:
        scene: RGB, float32, shape (height, width, 3).
        around: where, in shares of the frame.
        share: of the box that is to be hidden.
        rng: everything is drawn from it.
    """
    height, width = scene.shape[:2]
    alpha, shade = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    kinds = (_blade, _blade, _twig, _twig, _branch, _trunk)
    element = kinds[int(rng.integers(len(kinds)))]
    left, top, right, bottom = around.pixels(width, height)
    inside = np.s_[int(top) : max(int(top) + 1, int(bottom)), int(left) : max(int(left) + 1, int(right))]
    scale = max(right - left, bottom - top)
    place = (left, top, right, bottom)
    for i in range(_ELEMENTS_MAX):
        element(alpha, shade, place, scale, rng)
        if (i % _LOOK_EVERY == 0 or element in (_branch, _trunk)) and float(alpha[inside].mean()) >= share:
            break
    soft = cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(0.5, 1.4)))
    elsewhere = np.roll(scene, (int(rng.integers(height)), int(rng.integers(width))), axis=(0, 1))
    return Veil(alpha=np.clip(soft, 0, 1), rgb=elsewhere * shade[..., None] * np.float32(rng.uniform(0.7, 1.4)))


_Element = Callable[[Plane, Plane, tuple[float, float, float, float], float, np.random.Generator], None]


def _stroke(alpha: Plane, shade: Plane, outline: Plane, level: float) -> None:
    points = np.round(outline * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(alpha, [points], 1.0, cv2.LINE_8, _SUBPIXEL_BITS)
    cv2.fillPoly(shade, [points], level, cv2.LINE_8, _SUBPIXEL_BITS)


def _ribbon(spine: Plane, widths: Plane) -> Plane:
    """A curve and its widths (n) to an outline (2 n, 2)."""
    along = np.gradient(spine, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    half = across * widths[:, None] / 2
    outline: Plane = np.concatenate([spine + half, (spine - half)[::-1]])
    return outline


def _bent(start: tuple[float, float], angle: float, length: float, bend: float) -> Plane:
    """A curve of some points that sets out at an angle and turns by `bend` on its way."""
    t = np.linspace(0, 1, 10)
    heading = angle + bend * t
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / len(t)
    spine: Plane = np.asarray(start) + np.cumsum(steps, axis=0)
    return spine


def _blade(
    alpha: Plane, shade: Plane, place: tuple[float, float, float, float], scale: float, rng: np.random.Generator
) -> None:
    """A blade of grass from below, tapering."""
    left, top, right, bottom = place
    start = rng.uniform(left - 0.3 * scale, right + 0.3 * scale), bottom + rng.uniform(0, 0.4) * scale
    length = (bottom - top) * rng.uniform(0.3, 1.3) + 0.3 * scale
    spine = _bent(start, -np.pi / 2 + rng.normal(0, 0.3), length, rng.normal(0, 0.7))
    broad = max(1.5, scale * rng.uniform(0.015, 0.06))
    _stroke(alpha, shade, _ribbon(spine, broad * np.linspace(1, 0.1, len(spine))), rng.uniform(0.6, 1.5))


def _twig(
    alpha: Plane, shade: Plane, place: tuple[float, float, float, float], scale: float, rng: np.random.Generator
) -> None:
    """A thin stem with leaves along it."""
    left, top, right, bottom = place
    start = rng.uniform(left - 0.2 * scale, right + 0.2 * scale), rng.uniform(top - 0.2 * scale, bottom + 0.2 * scale)
    angle, length = rng.uniform(0, 2 * np.pi), scale * rng.uniform(0.2, 0.7)
    spine = _bent(start, angle, length, rng.normal(0, 0.6))
    _stroke(alpha, shade, _ribbon(spine, np.full(len(spine), max(1.0, scale * 0.012))), 0.8)
    leaf, slim, level = scale * rng.uniform(0.05, 0.16), rng.uniform(0.2, 0.5), rng.uniform(0.6, 1.5)
    for point in spine[:: int(rng.integers(1, 4))]:
        turn = angle + rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.2)
        blade = _bent((float(point[0]), float(point[1])), turn, leaf, rng.normal(0, 0.4))
        widths = leaf * slim * np.sin(np.linspace(0.15, np.pi, len(blade)))
        _stroke(alpha, shade, _ribbon(blade, widths), level * rng.uniform(0.8, 1.2))


def _branch(
    alpha: Plane, shade: Plane, place: tuple[float, float, float, float], scale: float, rng: np.random.Generator
) -> None:
    """A branch across."""
    left, top, right, bottom = place
    through = rng.uniform(left, right), rng.uniform(top, bottom)
    angle, length = rng.uniform(0, np.pi), scale * rng.uniform(1.2, 3)
    start = through[0] - np.cos(angle) * length / 2, through[1] - np.sin(angle) * length / 2
    spine = _bent(start, angle, length, rng.normal(0, 0.3))
    broad = scale * rng.uniform(0.03, 0.15)
    _stroke(alpha, shade, _ribbon(spine, broad * np.linspace(1, 0.6, len(spine))), rng.uniform(0.6, 1.2))


def _trunk(
    alpha: Plane, shade: Plane, place: tuple[float, float, float, float], scale: float, rng: np.random.Generator
) -> None:
    """A trunk, from the frame's foot to its head, over one side of what is there."""
    left, _, right, _ = place
    height = alpha.shape[0]
    broad = scale * rng.uniform(0.1, 0.5)
    x = left + rng.uniform(-0.1, 0.3) * broad if rng.random() < 0.5 else right - rng.uniform(-0.1, 0.3) * broad  # noqa: PLR2004
    spine = _bent((x, height * 1.02), -np.pi / 2 + rng.normal(0, 0.05), height * 1.1, rng.normal(0, 0.05))
    _stroke(alpha, shade, _ribbon(spine, np.full(len(spine), broad)), rng.uniform(0.5, 1.0))
