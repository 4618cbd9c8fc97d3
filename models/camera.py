"""What a trap's camera makes of a scene: weather, optics, exposure, sensor, banner, JPEG.

How bright frames are, and how much of them is white, is drawn so that it is as in real trap frames
(docs/decisions/0024).
"""

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.conditions import Conditions

Plane = npt.NDArray[Any]  # float32; OpenCV's stubs do not say which

_GRAIN_PX = 1400


def exposure(frame: Plane, conditions: Conditions) -> float:
    """What a camera multiplies a burst by: it exposes for the highlights, within limits."""
    bright = float(np.quantile(frame[::4, ::4].mean(axis=2), 0.98))
    return float(np.clip(conditions.highlights / max(bright, 1.0), 0.4, 1.8))


@cache
def _grain() -> Plane:
    """Sensor noise to cut pieces from: drawing it anew for each frame would take a third of the time."""
    return np.random.default_rng(0).standard_normal((_GRAIN_PX, _GRAIN_PX, 3)).astype(np.float32)


def take(frame: Plane, exposed: float, conditions: Conditions, rng: np.random.Generator) -> bytes:
    """Optics, weather, sensor and JPEG."""
    height, width = frame.shape[:2]
    if conditions.rain:
        _rain(frame, conditions.rain, rng)
    if conditions.blur_px > 0.2:  # noqa: PLR2004 - less is none
        frame = cv2.GaussianBlur(frame, (0, 0), conditions.blur_px)
    frame = frame * exposed
    if conditions.fog:
        frame = frame + conditions.fog * (165 - frame)
    frame = _shoulder(frame * (1 + conditions.flicker * rng.standard_normal()))
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


def _shoulder(frame: Plane) -> Plane:
    """Highlights run into white, as cameras' tone curves have it, and are not cut off."""
    knee = np.float32(210)
    over = np.maximum(frame - knee, 0)
    soft: Plane = np.minimum(frame, knee) + 48 * (1 - np.exp(-over / 35))
    return soft


def _rain(frame: Plane, drops: int, rng: np.random.Generator) -> None:
    """Bright streaks, nearly upright, in place."""
    height, width = frame.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    slant = rng.normal(0, 0.15)
    for x, y, length in zip(
        rng.uniform(0, width, drops), rng.uniform(0, height, drops), rng.uniform(8, 60, drops), strict=True
    ):
        end = int(x + slant * length), int(y + length)
        cv2.line(streaks, (int(x), int(y)), end, float(rng.uniform(0.1, 0.6)), int(rng.integers(1, 4)), cv2.LINE_AA)
    frame += cv2.GaussianBlur(streaks, (0, 0), 1.0)[..., None] * (235 - frame)
