"""Figures from scored frames: pure functions of arrays, with intervals clustered by source.

Frames of one animal or one camera resemble each other, so intervals draw sources, not frames (cluster bootstrap:
Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from edge_module.verdict import DayNight, Thresholds

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

_DRAWS = 1000
_STEP = 0.001
"""Scores are rounded to this, so are thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """Scored test frames, one element each.

    Args:
        panda: probability of a red panda.
        label: what is on the frame.
        night: by infrared light.
        source: what intervals are clustered by.
    """

    panda: Numbers
    label: npt.NDArray[np.str_]
    night: Flags
    source: npt.NDArray[np.str_]

    def where(self, chosen: Flags) -> "Frames":
        """Some of the frames."""
        return Frames(
            panda=self.panda[chosen], label=self.label[chosen], night=self.night[chosen], source=self.source[chosen]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Which share of frames without a red panda may be passed on."""

    blank: float
    other: float
    other_as_panda: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A share with its 95 % interval and the number of frames it rests on."""

    value: float
    low: float
    high: float
    frames: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.frames}" if self.frames else "no frames"


def _limit(scores: Numbers, share: float) -> float:
    """The lowest threshold that at most `share` of the scores reach."""
    allowed = int(share * len(scores))
    if allowed >= len(scores):
        return _STEP
    return float(np.sort(scores)[::-1][allowed]) + _STEP


def choose(frames: Frames, budget: Budget) -> DayNight:
    """The lowest thresholds that keep to the budget, day and night apart."""

    def limits(night: bool) -> Thresholds:
        part = frames.where(frames.night == night)
        blank, other = part.panda[part.label == "blank"], part.panda[part.label == "other_animal"]
        review = max(_limit(blank, budget.blank), _limit(other, budget.other))
        panda = max(review, _limit(other, budget.other_as_panda))
        return Thresholds(panda=round(min(panda, 1.0), 3), review=round(min(review, 1.0), 3))

    return DayNight(day=limits(night=False), night=limits(night=True))


def passed(frames: Frames, thresholds: DayNight) -> Flags:
    """Which frames are passed on, as panda or for review."""
    return frames.panda >= np.where(frames.night, thresholds.night.review, thresholds.day.review)


def judged_panda(frames: Frames, thresholds: DayNight) -> Flags:
    """Which frames are judged to show a red panda."""
    return frames.panda >= np.where(frames.night, thresholds.night.panda, thresholds.day.panda)


def share(flags: Flags, source: npt.NDArray[np.str_], *, seed: int = 1) -> Figure:
    """The share of true flags, with an interval over sources."""
    if not len(flags):
        return Figure(value=float("nan"), low=float("nan"), high=float("nan"), frames=0)
    _, member = np.unique(source, return_inverse=True)
    hits, counts = np.bincount(member, flags), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(_DRAWS, len(counts)))
    ratios = hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Figure(value=float(flags.mean()), low=float(low), high=float(high), frames=len(flags))


def over_sources(frames: Frames, statistic: Callable[[Frames], float], *, draws: int = 300, seed: int = 1) -> Figure:
    """Any statistic with an interval over sources; slower than `share`."""
    by_source = [np.flatnonzero(frames.source == s) for s in np.unique(frames.source)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = np.concatenate([by_source[i] for i in rng.integers(len(by_source), size=len(by_source))])
        drawn = Frames(
            panda=frames.panda[rows], label=frames.label[rows], night=frames.night[rows], source=frames.source[rows]
        )
        values.append(statistic(drawn))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Figure(value=statistic(frames), low=float(low), high=float(high), frames=len(frames.panda))


def average_precision(frames: Frames) -> float:
    """Area under precision over recall, red pandas against all else."""
    positive = frames.label == "red_panda"
    return float(average_precision_score(positive, frames.panda)) if positive.any() else float("nan")


def blanks_rejected(frames: Frames, recall: float) -> float:
    """Share of blanks below the threshold that finds `recall` of the red pandas, day and night each with its own."""
    rejected, blanks = 0, 0
    for night in (False, True):
        part = frames.where(frames.night == night)
        pandas, empty = np.sort(part.panda[part.label == "red_panda"]), part.panda[part.label == "blank"]
        if not len(pandas):
            continue
        threshold = pandas[int((1 - recall) * len(pandas))]
        rejected, blanks = rejected + int((empty < threshold).sum()), blanks + len(empty)
    return rejected / blanks if blanks else float("nan")
