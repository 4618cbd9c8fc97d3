"""A cut-out animal in a scene: turned, scaled, lit as its surroundings are, and where it stands in each frame."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_module.domain import Box
from models.conditions import Conditions
from models.cutout import Cutout

# float32 and uint8; OpenCV's stubs do not say which.
Plane = npt.NDArray[Any]
Picture = npt.NDArray[Any]

Met = tuple[tuple[slice, slice], tuple[slice, slice]]
"""Rows and columns of a frame, and those of the animal that lie there."""

_EYES_PX, _EYE_LEVELS, _EYES_TRIED = 96, 28, 6
"""Eyes are looked for in a cut-out of this width; that much darker than their surroundings; among so many spots."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """A cut-out lit for one scene, and its way through the burst."""

    rgb: Plane
    alpha: Plane
    left: float
    top: float
    step_px: float

    @classmethod
    def draw(
        cls, cutout: Cutout, scene: Plane, conditions: Conditions, rng: np.random.Generator, *, main: bool
    ) -> "Actor":
        """Place a cut-out in a scene. The first (`main`) is as wide as the conditions say; others are about that."""
        height, width = scene.shape[:2]
        share = conditions.animal_width if main else conditions.animal_width * rng.uniform(0.6, 1.2)
        rgba = _turned(cutout, rng)
        scale = min(share * width / rgba.shape[1], 0.95 * height / rgba.shape[0])
        size = max(6, round(rgba.shape[1] * scale)), max(6, round(rgba.shape[0] * scale))
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        if conditions.streak_px and main:
            rgba = cv2.blur(rgba, (conditions.streak_px, 1))
        left = rng.uniform(0, max(1, width - size[0]))
        top = rng.uniform(0.1, 1.0) * max(1, height - size[1])
        if conditions.at_edge:
            left = rng.choice([-0.35, 1.0]) * size[0] * rng.uniform(0.2, 1) if rng.random() < 0.5 else left  # noqa: PLR2004
            left = left if left < width - size[0] else width - size[0] * rng.uniform(0.65, 0.95)
        if cutout.cut[3] and rng.random() < 0.7:  # noqa: PLR2004 - cut off at the foot: mostly stands at the frame's foot
            top = height - size[1] * rng.uniform(0.9, 1.0)
        alpha = np.clip(rgba[..., 3].astype(np.float32) / 255, 0, 1)
        x, y = int(np.clip(left, 0, width - 2)), int(np.clip(top, 0, height - 2))
        around = scene[y : y + size[1], x : x + size[0]]
        rgb = _toned(rgba[..., :3].astype(np.float32), alpha, around, rng, night=conditions.night)
        if conditions.eyes:
            _shine(rgb, rgba, conditions.eyes)
        step = conditions.step * width * rng.choice([-1.0, 1.0])
        return cls(rgb=rgb, alpha=alpha, left=left, top=top, step_px=step)

    def box(self, when: float, width: int, height: int) -> Box | None:
        """Where it is, in shares of the frame."""
        h, w = self.alpha.shape
        left = self.left + when * self.step_px
        right, bottom = min(1.0, (left + w) / width), min(1.0, (self.top + h) / height)
        if right <= 0 or left >= width or self.top >= height:
            return None
        return Box(left=max(0.0, left / width), top=max(0.0, self.top / height), right=right, bottom=bottom)

    def paste(self, frame: Plane, when: float) -> Met | None:
        """Paste into a frame; None where it is outside."""
        height, width = frame.shape[:2]
        h, w = self.alpha.shape
        left, top = round(self.left + when * self.step_px), round(self.top)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
        if x0 >= x1 or y0 >= y1:
            return None
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        frame[y0:y1, x0:x1] += self.alpha[part][..., None] * (self.rgb[part] - frame[y0:y1, x0:x1])
        return np.s_[y0:y1, x0:x1], part

    def visible(self, met: Met | None, behind: Plane | None) -> float:
        """The share of the animal that is inside the frame and not behind plants."""
        if met is None:
            return 0.0
        where, part = met
        seen = self.alpha[part]
        if behind is not None:
            seen = seen * (1 - behind[where])
        return float(seen.sum() / max(1.0, self.alpha.sum()))


def _turned(cutout: Cutout, rng: np.random.Generator) -> Picture:
    rgba = cutout.rgba[:, ::-1] if rng.random() < 0.5 else cutout.rgba  # noqa: PLR2004 - left or right
    if any(cutout.cut):
        return np.ascontiguousarray(rgba)  # a straight edge must stay level
    h, w = rgba.shape[:2]
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 7), 1.0)
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(rgba), turn, (w, h), flags=cv2.INTER_LINEAR), np.uint8)


def _toned(rgb: Plane, alpha: Plane, around: Plane, rng: np.random.Generator, *, night: bool) -> Plane:
    weight = alpha / max(1e-3, float(alpha.sum()))
    level = float(around.mean()) if around.size else 90.0
    if night:
        red, blue = rng.uniform(0.35, 0.8), rng.uniform(0.0, 0.12)
        grey = rgb @ np.array((red, 1 - red - blue, blue), np.float32)
        # Dark fur reflects infrared better than light of the day.
        grey = 255 * (np.clip(grey, 0, 255) / 255) ** rng.uniform(0.55, 1.0)
        mean = float((grey * weight).sum())
        target = np.clip(level * rng.uniform(0.8, 2.4) + rng.uniform(0, 25), 18, 200)
        # Light multiplies what fur reflects; adding to it would tear it into blotches that no sensor makes.
        grey = grey * np.clip(target / max(mean, 20.0), 0.2, 2.5)
        return np.repeat(grey[..., None], 3, axis=2)
    mean = (rgb * weight[..., None]).sum(axis=(0, 1))
    brightness = float(mean.mean())
    target = brightness + rng.uniform(0.2, 0.8) * (level - brightness)
    gain = np.clip(target / max(brightness, 20.0), 0.45, 1.7)
    balance = np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    toned = (rgb - mean) * gain * rng.uniform(0.75, 1.1) + mean * gain
    result: Plane = np.clip(toned * balance, 0, 255).astype(np.float32)
    return result


def _shine(rgb: Plane, rgba: Picture, strength: float) -> None:
    """Let eyes shine in place: two small dark spots side by side in the upper part, where there are such."""
    height, width = rgba.shape[:2]
    small = cv2.resize(rgba, (_EYES_PX, max(8, round(_EYES_PX * height / width))), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY)
    spots: Plane = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, np.ones((7, 7), np.uint8)).astype(np.float32)
    spots = spots * cv2.erode(small[..., 3], np.ones((9, 9), np.uint8)) / 255
    peaks = (spots == cv2.dilate(spots, np.ones((7, 7), np.uint8))) & (spots > _EYE_LEVELS)
    peaks[len(peaks) * 2 // 3 :] = False
    found = sorted(np.argwhere(peaks), key=lambda at: -spots[tuple(at)])[:_EYES_TRIED]
    pair = next(((a, b) for i, a in enumerate(found) for b in found[i + 1 :] if _side_by_side(a, b)), None)
    if pair is None:
        return
    glow: Plane = np.zeros((height, width), np.float32)
    for row, column in pair:
        centre = round((int(column) + 0.5) * width / _EYES_PX), round((int(row) + 0.5) * width / _EYES_PX)
        cv2.circle(glow, centre, max(1, round(width * 0.014)), strength, -1, cv2.LINE_AA)
    glow = cv2.GaussianBlur(glow, (0, 0), max(0.5, width * 0.005))
    rgb += np.clip(glow, 0, 1)[..., None] * (290 - rgb)


def _side_by_side(a: npt.NDArray[np.intp], b: npt.NDArray[np.intp]) -> bool:
    down, across = np.abs(a - b) / _EYES_PX
    return bool(down < 0.08 and 0.08 < across < 0.45)  # noqa: PLR2004 - shares of the cut-out's width
