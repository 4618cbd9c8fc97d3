"""Camera-trap frames composed of cut-out animals and real trap backgrounds.

An animal is pasted at trap scale, toned to its surroundings, hidden in part by the background's own texture (so that
leaves which are there come to lie in front), then everything goes through the camera: blur, fog, noise, flash, JPEG.
Seeded.

`python -m models.synthesise` draws a contact sheet into build/, to be looked at: nothing composed is ever committed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_module.domain import Box
from models import pictures
from models.cutout import Cutout, cut_outs

# float32 and uint8; OpenCV's stubs do not say which.
Plane = npt.NDArray[Any]
Picture = npt.NDArray[Any]

BUILD_DIR = Path(__file__).resolve().parent.parent / "build"
_SIZES = ((640, 480), (720, 405))
_BACKGROUND_PX = 1000
_GRAIN_PX = 1400
_BANNER_SHARE = 0.08
"""Trap cameras write a strip at the foot or the head of a frame; it is cut off before a frame serves as background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a burst is taken. Lengths are shares of the frame's width unless they are named otherwise."""

    night: bool
    frames: int
    animal_width: float
    hidden: float
    at_edge: bool
    step: float
    sway_px: float
    shift_px: float
    flicker: float
    blur_px: float
    streak_px: int
    fog: float
    noise_levels: float
    gain: float
    quality: int
    banner: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composed:
    """A burst that never happened.

    Args:
        jpegs: the frames as a camera would write them.
        boxes: where the first subject is in each frame, None where it is outside; empty for a blank burst.
        visible: share of the first subject that is neither hidden nor outside, averaged over the frames.
        label: red_panda if one is there, else other_animal, else blank.
        sources: groups of everything the burst is made of.
    """

    jpegs: list[bytes]
    boxes: list[Box | None]
    visible: float
    label: str
    conditions: Conditions
    sources: tuple[str, ...]


def sample(rng: np.random.Generator, *, night: bool, frames: int, widths: tuple[float, float]) -> Conditions:
    """Draw conditions; the animal's width is log-uniform over `widths`."""
    calm, still = rng.random() < 0.4, rng.random() < 0.25  # noqa: PLR2004 - how often
    return Conditions(
        night=night,
        frames=frames,
        animal_width=float(np.exp(rng.uniform(*np.log(widths)))),
        hidden=0.0 if rng.random() < 0.4 else rng.uniform(0.05, 0.5),  # noqa: PLR2004
        at_edge=bool(rng.random() < 0.15),  # noqa: PLR2004
        step=0.0 if still else rng.uniform(0.02, 0.2),
        sway_px=rng.uniform(0, 1) if calm else rng.uniform(1, 6),
        shift_px=rng.uniform(0, 0.5) if calm else rng.uniform(0, 2),
        flicker=rng.uniform(0, 0.06),
        blur_px=max(0.0, rng.normal(0.5, 0.5)),
        streak_px=int(rng.integers(3, 12)) if rng.random() < (0.3 if night else 0.12) else 0,
        fog=rng.uniform(0.15, 0.5) if rng.random() < 0.08 else 0.0,  # noqa: PLR2004
        noise_levels=rng.uniform(2, 11) if night else rng.uniform(0.5, 5),
        gain=float(np.exp(rng.normal(0, 0.16))),
        quality=int(rng.integers(35, 91)),
        banner=bool(rng.random() < 0.6),  # noqa: PLR2004
    )


def compose(
    background: Picture, subjects: Sequence[Cutout], conditions: Conditions, rng: np.random.Generator, *, place: str
) -> Composed:
    """Compose a burst.

    Args:
        background: RGB trap frame of any size.
        subjects: what to paste; the first is the one that label and box are about.
        conditions: how the burst is taken.
        rng: everything else is drawn from it.
        place: group of the background.
    """
    scene = _scene(background, rng, night=conditions.night)
    height, width = scene.shape[:2]
    cells = rng.standard_normal((height // 36, width // 36, 2)).astype(np.float32)
    field = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), np.float32) * 0.5
    hide = _texture(scene, rng)
    actors = [_Actor.draw(subject, scene, conditions, rng, main=i == 0) for i, subject in enumerate(subjects)]
    jpegs, visible = [], []
    boxes: list[Box | None] = []
    for i in range(conditions.frames):
        frame = _sway(
            scene, field * (conditions.sway_px * rng.standard_normal()), rng.normal(0, conditions.shift_px, 2)
        )
        for actor in reversed(actors):
            seen = actor.paste(frame, i - (conditions.frames - 1) / 2, hide)
        if actors:
            boxes.append(actors[0].box(i - (conditions.frames - 1) / 2, width, height))
            visible.append(seen)
        jpegs.append(_camera(frame, conditions, rng))
    labels = [subject.label for subject in subjects]
    return Composed(
        jpegs=jpegs,
        boxes=boxes,
        visible=float(np.mean(visible)) if visible else 0.0,
        label="red_panda" if "red_panda" in labels else labels[0] if labels else "blank",
        conditions=conditions,
        sources=(place, *(subject.group for subject in subjects)),
    )


def _scene(background: Picture, rng: np.random.Generator, *, night: bool) -> Plane:
    """A random part of the background at frame size; grey under a flash if a day's frame is to serve at night."""
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    rows, columns = background.shape[:2]
    part = background[int(rows * _BANNER_SHARE) : int(rows * (1 - _BANNER_SHARE))]
    share = rng.uniform(0.65, 1.0)
    h, w = int(part.shape[0] * share), int(columns * share)
    y, x = int(rng.integers(part.shape[0] - h + 1)), int(rng.integers(columns - w + 1))
    scene = cv2.resize(part[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:  # noqa: PLR2004 - left or right
        scene = scene[:, ::-1]
    if not night:
        return np.ascontiguousarray(scene)
    sparse = scene[::8, ::8]
    coloured = float(np.ptp(sparse, axis=2).mean()) > 6  # noqa: PLR2004 - grey levels
    grey = scene @ np.array((0.5, 0.4, 0.1), np.float32)
    if coloured:
        v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        dx, dy = rng.uniform(-0.3, 0.3, 2)
        grey = grey * (rng.uniform(0.7, 1.5) * np.exp(-rng.uniform(0.5, 1.6) * ((u - dx) ** 2 + (v - dy) ** 2)) + 0.08)
    return np.repeat(grey[..., None], 3, axis=2)


def _texture(scene: Plane, rng: np.random.Generator) -> Plane:
    """How much each pixel stands out of its surroundings: where it does, it is taken to be in front."""
    grey = cv2.transform(scene, np.full((1, 3), 1 / 3, np.float32))
    detail = cv2.GaussianBlur(grey, (0, 0), 1.0) - cv2.GaussianBlur(grey, (0, 0), 9.0)
    height, width = grey.shape
    stretch = rng.uniform(4, 40), rng.uniform(4, 40)
    cells = rng.standard_normal((max(2, int(height / stretch[1])), max(2, int(width / stretch[0])))).astype(np.float32)
    blobs = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(detail / (detail.std() + 1e-3) + 1.2 * blobs, np.float32)


def _sway(scene: Plane, field: Plane, shift_px: npt.NDArray[np.float64]) -> Plane:
    height, width = scene.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    map_x, map_y = x + field[..., 0] + np.float32(shift_px[0]), y + field[..., 1] + np.float32(shift_px[1])
    return np.asarray(cv2.remap(scene, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Actor:
    """A cut-out toned for one scene, and its way through the burst."""

    rgb: Plane
    alpha: Plane
    left: float
    top: float
    step_px: float
    hidden: float

    @classmethod
    def draw(
        cls, cutout: Cutout, scene: Plane, conditions: Conditions, rng: np.random.Generator, *, main: bool
    ) -> "_Actor":
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
        step = conditions.step * width * rng.choice([-1.0, 1.0])
        return cls(rgb=rgb, alpha=alpha, left=left, top=top, step_px=step, hidden=conditions.hidden)

    def box(self, when: float, width: int, height: int) -> Box | None:
        """Where it is, in shares of the frame."""
        h, w = self.alpha.shape
        left = self.left + when * self.step_px
        right, bottom = min(1.0, (left + w) / width), min(1.0, (self.top + h) / height)
        if right <= 0 or left >= width or self.top >= height:
            return None
        return Box(left=max(0.0, left / width), top=max(0.0, self.top / height), right=right, bottom=bottom)

    def paste(self, frame: Plane, when: float, hide: Plane) -> float:
        """Paste into a frame; returns the share of the animal that can be seen."""
        height, width = frame.shape[:2]
        h, w = self.alpha.shape
        left, top = round(self.left + when * self.step_px), round(self.top)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
        if x0 >= x1 or y0 >= y1:
            return 0.0
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha, rgb = self.alpha[part], self.rgb[part]
        if self.hidden:
            veil = hide[y0:y1, x0:x1]
            limit = np.quantile(veil, 1 - self.hidden)
            alpha = alpha * np.clip(0.5 - (veil - limit) * 3, 0, 1)
        frame[y0:y1, x0:x1] += alpha[..., None] * (rgb - frame[y0:y1, x0:x1])
        return float(alpha.sum() / max(1.0, self.alpha.sum()))


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
        grey = 255 * (np.clip(grey, 0, 255) / 255) ** rng.uniform(0.55, 1.1)
        mean = float((grey * weight).sum())
        target = np.clip(level * rng.uniform(0.8, 2.4) + rng.uniform(0, 25), 18, 200)
        # Gain lifts highlights with the rest; more than this would tear fur into posterised blotches no sensor makes.
        gain = np.clip(target / max(mean, 20.0), 0.4, 2.0)
        grey = (grey - mean) * gain * rng.uniform(0.6, 1.15) + target
        return np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2)
    mean = (rgb * weight[..., None]).sum(axis=(0, 1))
    brightness = float(mean.mean())
    target = brightness + rng.uniform(0.2, 0.8) * (level - brightness)
    gain = np.clip(target / max(brightness, 20.0), 0.45, 1.7)
    balance = np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    toned = (rgb - mean) * gain * rng.uniform(0.75, 1.1) + mean * gain
    result: Plane = np.clip(toned * balance, 0, 255).astype(np.float32)
    return result


@cache
def _grain() -> Plane:
    """Sensor noise to cut pieces from: drawing it anew for each frame would take a third of the time."""
    return np.random.default_rng(0).standard_normal((_GRAIN_PX, _GRAIN_PX, 3)).astype(np.float32)


def _camera(frame: Plane, conditions: Conditions, rng: np.random.Generator) -> bytes:
    """Optics, weather, sensor and JPEG."""
    height, width = frame.shape[:2]
    if conditions.blur_px > 0.2:  # noqa: PLR2004 - less is none
        frame = cv2.GaussianBlur(frame, (0, 0), conditions.blur_px)
    if conditions.fog:
        frame = frame + conditions.fog * (165 - frame)
    frame = frame * (conditions.gain * (1 + conditions.flicker * rng.standard_normal()))
    y, x = rng.integers(_GRAIN_PX - height), rng.integers(_GRAIN_PX - width)
    grain = _grain()[y : y + height, x : x + width, : 1 if conditions.night else 3]
    frame = np.clip(frame + conditions.noise_levels * grain, 0, 255).astype(np.uint8)
    if conditions.banner:
        strip = int(height * 0.05)
        frame[-strip:] = 235 if rng.random() < 0.3 else 8  # noqa: PLR2004
        ink = (128, 128, 128)
        cv2.putText(frame, "12C  2026/03/14  05:20", (8, height - strip // 4), 0, strip / 40, ink, 1, cv2.LINE_AA)
    _, jpeg = cv2.imencode(".jpg", frame[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, conditions.quality))
    return jpeg.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stock:
    """What may be composed with: cut-outs and backgrounds, of some groups only."""

    pandas: list[Cutout]
    others: list[Cutout]
    blanks: list[pictures.Labelled]
    inhabited: list[pictures.Labelled]

    @classmethod
    def of(cls, labelled: Sequence[pictures.Labelled]) -> "Stock":
        """Cut out and sort some labelled pictures."""
        cut = cut_outs([p for p in labelled if not p.trap], BUILD_DIR / "cutouts")
        trap = [p for p in labelled if p.trap]
        return cls(
            pandas=[c for c in cut if c.label == "red_panda"],
            others=[c for c in cut if c.label != "red_panda"],
            blanks=[p for p in trap if p.label == "blank"],
            inhabited=[p for p in trap if p.label == pictures.LABEL_OTHER],
        )

    def burst(
        self, rng: np.random.Generator, label: str, *, night: bool, frames: int, widths: tuple[float, float]
    ) -> Composed:
        """Compose a burst of a label. Animals are pasted into blank frames, and into frames where another animal is."""
        places = self.blanks if label == "blank" or rng.random() < 0.5 else self.inhabited  # noqa: PLR2004 - half
        # By night real infrared backgrounds where there are any, else a day's frame made grey.
        fitting = [p for p in places if p.night == night or (night and rng.random() < 0.3)]  # noqa: PLR2004
        fitting = fitting or [p for p in places if not p.night or night] or places
        place = fitting[int(rng.integers(len(fitting)))]
        subjects: list[Cutout] = []
        if label != "blank":
            pool = self.pandas if label == "red_panda" else self.others
            subjects.append(pool[int(rng.integers(len(pool)))])
            if rng.random() < 0.07:  # noqa: PLR2004 - several at once
                subjects.append(self.others[int(rng.integers(len(self.others)))])
        conditions = sample(rng, night=night, frames=frames, widths=widths)
        return compose(_background(place.path), subjects, conditions, rng, place=place.group)


@cache
def _background(path: Path) -> Picture:
    image = Image.open(path).convert("RGB")
    image.thumbnail((_BACKGROUND_PX, _BACKGROUND_PX), reducing_gap=2.0)
    return np.asarray(image)


def main() -> None:
    """Draw a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILD_DIR / "composed.png")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    stock = Stock.of(pictures.read())
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for label in ("red_panda", "red_panda", "other_animal", "blank"):
        for night in (False, True):
            cells = []
            for _ in range(6):
                composed = stock.burst(rng, label, night=night, frames=1, widths=(0.08, 0.6))
                cells.append(np.asarray(Image.open(BytesIO(composed.jpegs[0])).resize((320, 240))))
            rows.append(np.hstack(cells))
    Image.fromarray(np.vstack(rows)).save(arguments.out)


if __name__ == "__main__":
    main()
