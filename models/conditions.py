"""How a burst is taken: drawn at random, as wide as traps' pictures vary."""

from dataclasses import dataclass

import numpy as np


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
    rain: int
    noise_levels: float
    highlights: float
    eyes: float
    quality: int
    banner: bool


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
        sway_px=rng.uniform(0, 1.5) if calm else rng.uniform(1.5, 10),
        shift_px=rng.uniform(0, 0.8) if calm else rng.uniform(0, 3),
        flicker=rng.uniform(0, 0.06),
        blur_px=max(0.0, rng.normal(0.8, 0.7)),
        streak_px=int(rng.integers(4, 18)) if rng.random() < (0.3 if night else 0.12) else 0,
        fog=rng.uniform(0.15, 0.5) if rng.random() < 0.08 else 0.0,  # noqa: PLR2004
        rain=int(rng.integers(20, 150)) if rng.random() < 0.06 else 0,  # noqa: PLR2004
        noise_levels=rng.uniform(2, 11) if night else rng.uniform(0.5, 5),
        highlights=rng.uniform(110, 290) if night else rng.uniform(150, 295),
        eyes=rng.uniform(0.3, 1.0) if night and rng.random() < 0.6 else 0.0,  # noqa: PLR2004
        quality=int(rng.integers(35, 91)),
        banner=bool(rng.random() < 0.6),  # noqa: PLR2004
    )
