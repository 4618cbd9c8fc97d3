"""Camera-trap frames drawn by the project itself: forest, animals, day and infrared night, single frames and bursts.

They are what may be committed and shown: golden frames, the demo card, CI's cards. They are no evidence of how well
the model does in a forest; `models.evaluate` uses photographs for that. Everything is seeded: the same `Shot` gives the
same pixels.

    from models.draw import Animal, Shot, draw
    rgb = draw(Shot(seed=1, animal=Animal.RED_PANDA, night=True))
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

_GREEN, _WITHERED, _GREEN_SHARE = (104, 118, 60), (128, 104, 62), 0.75

FIGURE_PX = 480
"""Animals are drawn in a square of this edge and scaled down into the frame, which smooths the strokes."""


class Animal(StrEnum):
    """What can be drawn."""

    RED_PANDA = "red_panda"
    DEER = "deer"
    BOAR = "boar"
    PHEASANT = "pheasant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture to draw.

    Args:
        seed: decides the forest, and the pose of the animal.
        animal: what stands in it; None is a blank frame.
        night: infrared flash: grey, falling off with distance, noisy.
        width_px: of the frame.
        height_px: of the frame.
        animal_width: the animal's square over the frame's width.
        at: centre of the animal, as shares of width and height.
        leaves: whether a branch hangs in front of everything, as wind triggers have it.
        sway_px: how far the leaves have moved; differs from frame to frame of a burst.
        banner: camera's strip at the foot of the frame, or none where empty.
    """

    seed: int
    animal: Animal | None = None
    night: bool = False
    width_px: int = 1280
    height_px: int = 960
    animal_width: float = 0.45
    at: tuple[float, float] = (0.5, 0.62)
    leaves: bool = False
    sway_px: float = 0.0
    banner: str = "PONYA 12C 54F"


def draw(shot: Shot) -> Picture:
    """Draw one frame.

    Returns:
        RGB, uint8, shape (height_px, width_px, 3).
    """
    scene = _forest(shot.seed, shot.width_px, shot.height_px).copy()
    if shot.animal is not None:
        _place(scene, figure(shot.animal, shot.seed), shot)
    if shot.leaves:
        _branch(scene, np.random.default_rng(shot.seed + 1), shot.sway_px)
    if shot.night:
        scene = _infrared(scene, np.random.default_rng([shot.seed, round(100 + shot.sway_px * 10)]))
    picture = np.clip(scene, 0, 255).astype(np.uint8)
    if shot.banner:
        _write_banner(picture, shot)
    return picture


def burst(shot: Shot, frames: int = 3, step: float = 0.06) -> list[Picture]:
    """Draw a burst: the animal walks `step` of the frame's width from frame to frame, leaves sway."""
    x, y = shot.at
    return [
        draw(replace(shot, at=(x + step * (i - (frames - 1) / 2), y), sway_px=4.0 * np.sin(2.1 * i)))
        for i in range(frames)
    ]


def _noise(rng: np.random.Generator, width: int, height: int, cell_px: float) -> Plane:
    """Smooth noise around 0, about -1 to 1, whose blobs are `cell_px` wide."""
    small = rng.standard_normal((max(2, int(height / cell_px)), max(2, int(width / cell_px)))).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@lru_cache(maxsize=4)  # a camera's pictures show the same forest; 15 MB each
def _forest(seed: int, width: int, height: int) -> Plane:
    """A slope of undergrowth under trees; far things first."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    light = 0.75 + 0.25 * _noise(rng, width, height, width / 5)
    ground = rows > 0.55 + 0.04 * _noise(rng, width, height, width / 4)
    scene = np.where(ground[..., None], (96, 82, 56), (88, 112, 66)).astype(np.float32) * light[..., None]
    for cell_px, strength in ((40, 14), (12, 12), (4, 10)):
        scene += strength * _noise(rng, width, height, width * cell_px / 1280)[..., None]
    for depth in (0.3, 0.5, 0.8):
        _foliage(scene, rng, count=260, top=0.0, bottom=0.6, leaf_px=width * 0.012 * depth, depth=depth)
        for _ in range(3):
            _trunk(scene, rng, depth)
        scene = cv2.GaussianBlur(scene, (0, 0), width / 1280 * 2.5 * (1 - depth) + 0.3)
    _foliage(scene, rng, count=420, top=0.55, bottom=1.0, leaf_px=width * 0.012, depth=0.9)
    return scene


def _foliage(
    scene: Plane, rng: np.random.Generator, *, count: int, top: float, bottom: float, leaf_px: float, depth: float
) -> None:
    height, width = scene.shape[:2]
    for _ in range(count):
        centre = int(rng.uniform(0, width)), int(height * rng.uniform(top, bottom))
        axes = max(1, int(leaf_px * rng.uniform(0.6, 1.8))), max(1, int(leaf_px * rng.uniform(0.2, 0.5)))
        shade = rng.uniform(0.45, 1.25) * (1.15 - 0.3 * depth)
        hue = _GREEN if rng.random() < _GREEN_SHARE else _WITHERED
        cv2.ellipse(scene, centre, axes, rng.uniform(0, 180), 0, 360, tuple(shade * c for c in hue), -1, cv2.LINE_AA)


def _trunk(scene: Plane, rng: np.random.Generator, depth: float) -> None:
    height, width = scene.shape[:2]
    thick = width * rng.uniform(0.02, 0.055) * depth
    x, foot, lean = rng.uniform(0, width), height * (0.5 + 0.3 * depth), rng.uniform(-0.08, 0.08) * height
    outline = [[x - thick / 2, foot], [x + thick / 2, foot], [x + lean + thick / 3, 0], [x + lean - thick / 3, 0]]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32)], 255, cv2.LINE_AA)
    bark = 78 - 26 * depth + 9 * _noise(rng, width, height, 3) + 9 * _noise(rng, width, height, width / 60)
    share = (mask / 255.0)[..., None].astype(np.float32)
    scene += share * (bark[..., None] * np.array((1.08, 1.0, 0.86), np.float32) - scene)


def _branch(scene: Plane, rng: np.random.Generator, sway_px: float) -> None:
    """A leafy branch from the upper edge, close to the camera."""
    height, width = scene.shape[:2]
    root = np.array([rng.uniform(0.1, 0.9) * width, 0.0])
    tip = root + np.array([rng.uniform(-0.2, 0.2) * width, rng.uniform(0.25, 0.45) * height])
    for share in np.linspace(0, 1, 46):
        sway = np.array([sway_px * share * width / 200, 0.0])
        at = root + share * (tip - root) + sway + rng.normal(0, width * 0.028, 2)
        axes = int(width * rng.uniform(0.014, 0.03)), int(width * rng.uniform(0.005, 0.009))
        shade = rng.uniform(0.5, 1.3)
        colour = (96 * shade, 122 * shade, 52 * shade)
        cv2.ellipse(scene, (int(at[0]), int(at[1])), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)


def _infrared(scene: Plane, rng: np.random.Generator) -> Plane:
    """What a camera sees by its own flash: one channel, bright in the middle, noise, soft."""
    height, width = scene.shape[:2]
    grey = scene @ np.array((0.6, 0.35, 0.05), np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    flash = 1.45 * np.exp(-(0.75 * x**2 + 0.9 * (y - 0.25) ** 2)) + 0.1
    grey = cv2.GaussianBlur(grey * flash, (0, 0), 0.8 * width / 1280 + 0.2)
    grey += rng.normal(0, 5, grey.shape)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def _write_banner(picture: Picture, shot: Shot) -> None:
    strip = max(12, shot.height_px // 26)
    picture[-strip:] = 12
    place = (strip // 2, shot.height_px - strip // 4)
    cv2.putText(picture, shot.banner, place, cv2.FONT_HERSHEY_SIMPLEX, strip / 34, (235,) * 3, 1, cv2.LINE_AA)


def _place(scene: Plane, drawn: Picture, shot: Shot) -> None:
    """Paste a figure with its alpha, cut off where it leaves the frame."""
    size = max(8, round(shot.animal_width * shot.width_px))
    small = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    left, top = round(shot.at[0] * shot.width_px - size / 2), round(shot.at[1] * shot.height_px - size / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size, shot.width_px), min(top + size, shot.height_px)
    if x0 >= x1 or y0 >= y1:
        return
    part = small[y0 - top : y1 - top, x0 - left : x1 - left]
    scene[y0:y1, x0:x1] += part[..., 3:] / 255 * (part[..., :3] - scene[y0:y1, x0:x1])


class _Canvas:
    """A square of fur: shapes are laid down in order, each filled with hairs along its own direction."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rgb = np.zeros((FIGURE_PX, FIGURE_PX, 3), np.float32)
        self.alpha = np.zeros((FIGURE_PX, FIGURE_PX), np.uint8)
        self._rng = rng

    def fur(self, outline: npt.NDArray[np.float32], colour: Colour, hairs_deg: float, hair: float = 0.03) -> None:
        """Fill an outline (n, 2), in shares of the square, with hairs of a colour, direction and length."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(outline * FIGURE_PX).astype(np.int32)], 255, cv2.LINE_AA)
        share = (mask / 255.0)[..., None].astype(np.float32)
        self.rgb += share * (np.array(colour, np.float32) * 0.8 - self.rgb)
        self.alpha = np.maximum(self.alpha, mask)
        ys, xs = np.nonzero(mask)
        if not len(xs):
            return
        low, high = ys.min(), max(ys.max(), ys.min() + 1)
        for i in self._rng.integers(0, len(xs), len(xs) // 14):
            angle = np.radians(hairs_deg + self._rng.normal(0, 16))
            length = FIGURE_PX * hair * self._rng.uniform(0.5, 1.1)
            end = int(xs[i] + length * np.cos(angle)), int(ys[i] + length * np.sin(angle))
            lit = 1.16 - 0.36 * (ys[i] - low) / (high - low) + self._rng.normal(0, 0.13)
            start = int(xs[i]), int(ys[i])
            cv2.line(self.rgb, start, end, tuple(lit * c for c in colour), 1, cv2.LINE_AA)
            cv2.line(self.alpha, start, end, 255, 1, cv2.LINE_AA)

    def dot(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        """A smooth disc: eye, nose."""
        at = round(centre[0] * FIGURE_PX), round(centre[1] * FIGURE_PX)
        cv2.circle(self.rgb, at, max(1, round(radius * FIGURE_PX)), colour, -1, cv2.LINE_AA)
        cv2.circle(self.alpha, at, max(1, round(radius * FIGURE_PX)), 255, -1, cv2.LINE_AA)

    def figure(self) -> Picture:
        """RGBA."""
        return np.dstack([np.clip(self.rgb, 0, 255).astype(np.uint8), self.alpha])


def _oval(x: float, y: float, a: float, b: float, turn_deg: float = 0) -> npt.NDArray[np.float32]:
    t, turn = np.linspace(0, 2 * np.pi, 48), np.radians(turn_deg)
    u, v = a * np.cos(t), b * np.sin(t)
    return np.stack([x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn)], 1)


@lru_cache(maxsize=16)
def figure(animal: Animal, seed: int) -> Picture:
    """Draw an animal alone.

    Returns:
        RGBA, uint8, shape (FIGURE_PX, FIGURE_PX, 4); shared, hence read-only.
    """
    rng = np.random.default_rng([seed, 7])
    canvas = _Canvas(rng)
    {
        Animal.RED_PANDA: _red_panda,
        Animal.DEER: _deer,
        Animal.BOAR: _boar,
        Animal.PHEASANT: _pheasant,
    }[animal](canvas, rng)
    drawn = canvas.figure()
    drawn = np.ascontiguousarray(drawn[:, ::-1]) if rng.random() < 0.5 else drawn  # noqa: PLR2004 - left or right
    drawn.setflags(write=False)
    return drawn


_RUST, _DARK, _CREAM, _TAN = (186, 88, 38), (42, 28, 24), (240, 226, 204), (206, 146, 92)


def _red_panda(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Walking, the face turned to the camera, the ringed tail behind."""
    droop = rng.uniform(-0.02, 0.05)
    for i in range(11):  # tail, from its tip
        t = i / 10
        x, y = 0.05 + 0.27 * t, 0.66 + droop * (1 - t) - 0.15 * t + 0.06 * np.sin(3.1 * t)
        canvas.fur(_oval(x, y, 0.045, 0.062, -20), _TAN if i % 2 else _RUST, 160)
    for x, stride in ((0.36, -0.02), (0.47, 0.03), (0.64, -0.03), (0.74, 0.02)):  # legs
        step = stride + rng.uniform(-0.01, 0.01)
        canvas.fur(_oval(x + step / 2, 0.70, 0.052, 0.13, -60 * step), _DARK, 90)
        canvas.fur(_oval(x + step + 0.02, 0.81, 0.055, 0.032), _DARK, 20)
    canvas.fur(_oval(0.52, 0.60, 0.25, 0.125, 3), _DARK, 100)
    canvas.fur(_oval(0.51, 0.53, 0.26, 0.135, 3), _RUST, 165, hair=0.045)
    canvas.fur(_oval(0.66, 0.50, 0.12, 0.13), _RUST, 120, hair=0.045)
    _red_panda_face(canvas, 0.74, 0.40 + rng.uniform(-0.02, 0.02))


def _red_panda_face(canvas: _Canvas, x: float, y: float) -> None:
    for side in (-1, 1):
        ear = np.array([[x + side * 0.07, y - 0.09], [x + side * 0.17, y - 0.20], [x + side * 0.165, y - 0.05]])
        canvas.fur(ear, _CREAM, 270 + side * 30, hair=0.025)
        inner = (ear - ear.mean(0)) * 0.52 + ear.mean(0)
        canvas.fur(inner, (96, 50, 34), 270, hair=0.015)
    canvas.fur(_oval(x, y, 0.165, 0.14), _RUST, 270, hair=0.03)
    canvas.fur(_oval(x, y - 0.06, 0.10, 0.07), (206, 108, 54), 270, hair=0.025)
    for side in (-1, 1):
        canvas.fur(_oval(x + side * 0.122, y + 0.035, 0.05, 0.062, side * -25), _CREAM, 90 - side * 60, hair=0.03)
        canvas.fur(_oval(x + side * 0.066, y - 0.052, 0.027, 0.02, side * 25), _CREAM, 270, hair=0.012)
        canvas.fur(_oval(x + side * 0.075, y + 0.06, 0.024, 0.07, side * -14), (140, 58, 28), 90, hair=0.02)
    canvas.fur(_oval(x, y + 0.065, 0.062, 0.052), (248, 240, 226), 90, hair=0.014)
    for side in (-1, 1):
        canvas.dot((x + side * 0.066, y - 0.005), 0.021, (16, 11, 10))
        canvas.dot((x + side * 0.066 + 0.006, y - 0.012), 0.005, (225, 225, 225))
    canvas.fur(_oval(x, y + 0.035, 0.027, 0.018), (20, 14, 14), 0, hair=0.004)
    canvas.fur(_oval(x, y + 0.088, 0.026, 0.005), (70, 34, 26), 0, hair=0.003)


def _deer(canvas: _Canvas, rng: np.random.Generator) -> None:
    coat, dark = (150, 116, 78), (104, 78, 54)
    for x in (0.30, 0.38, 0.60, 0.67):
        canvas.fur(_oval(x + rng.uniform(-0.02, 0.02), 0.76, 0.017, 0.17), dark, 90, hair=0.012)
    canvas.fur(_oval(0.48, 0.54, 0.25, 0.105, -2), coat, 172, hair=0.018)
    canvas.fur(_oval(0.47, 0.60, 0.17, 0.04), (190, 170, 140), 172, hair=0.018)
    canvas.fur(_oval(0.74, 0.41, 0.055, 0.15, 30), coat, 110, hair=0.018)
    canvas.fur(_oval(0.85, 0.27, 0.085, 0.045, 24), coat, 20, hair=0.012)
    canvas.fur(_oval(0.775, 0.20, 0.018, 0.06, -28), dark, 270, hair=0.012)
    canvas.fur(_oval(0.23, 0.49, 0.025, 0.045), (232, 226, 214), 90, hair=0.02)
    canvas.dot((0.84, 0.255), 0.010, (18, 14, 12))
    canvas.dot((0.925, 0.305), 0.013, (24, 20, 20))


def _boar(canvas: _Canvas, rng: np.random.Generator) -> None:
    coat, dark = (70, 62, 56), (44, 38, 34)
    for x in (0.27, 0.37, 0.60, 0.68):
        canvas.fur(_oval(x + rng.uniform(-0.02, 0.02), 0.74, 0.032, 0.10), dark, 90, hair=0.018)
    canvas.fur(_oval(0.47, 0.55, 0.29, 0.165, -4), coat, 168, hair=0.04)
    canvas.fur(_oval(0.74, 0.55, 0.15, 0.10, 18), coat, 190, hair=0.03)
    canvas.fur(_oval(0.88, 0.61, 0.055, 0.042, 18), (92, 78, 70), 200, hair=0.012)
    canvas.fur(_oval(0.69, 0.43, 0.032, 0.06, 24), dark, 270, hair=0.02)
    canvas.dot((0.775, 0.52), 0.009, (10, 8, 8))


def _pheasant(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.fur(_oval(0.20, 0.60 + rng.uniform(-0.03, 0.03), 0.20, 0.022, 14), (132, 104, 62), 190, hair=0.03)
    for x in (0.49, 0.55):
        canvas.fur(_oval(x, 0.76, 0.008, 0.07), (110, 96, 80), 90, hair=0.01)
    canvas.fur(_oval(0.50, 0.60, 0.17, 0.095, -14), (142, 84, 42), 160, hair=0.022)
    canvas.fur(_oval(0.665, 0.49, 0.035, 0.075, 24), (28, 74, 62), 110, hair=0.012)
    canvas.fur(_oval(0.69, 0.43, 0.038, 0.034), (176, 30, 34), 20, hair=0.008)
    canvas.fur(np.array([[0.72, 0.425], [0.76, 0.445], [0.72, 0.45]]), (206, 190, 140), 20, hair=0.004)
    canvas.dot((0.695, 0.425), 0.008, (12, 10, 10))
