"""From probabilities to a verdict: one pure function, its rules numbered.

1. *panda*: the probability of a red panda reaches the `panda` threshold of the time of day.
2. *review*: it reaches the lower `review` threshold: a person should look.
3. *human*: a person is the likeliest label. Below rules 1 and 2, so that a person beside a panda hides nothing.
4. *blank*: nothing is likelier than any animal.
5. *other*: all that remains.
6. Before a picture leaves, a detector looks for people (`people`). Where there may be one, no picture leaves the
   gateway, and what rules 1 and 2 would pass on is *review*: somebody should look at the original.

What cannot be scored does not come here: an unreadable file is `unreadable`, a video is `review` with a reason.
"""

from dataclasses import dataclass

from edge_module.domain import KEPT_FATES, LABEL_BLANK, LABEL_HUMAN, LABEL_PANDA, Fate, Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which probability of a red panda on a frame is *panda*, and from which *review*."""

    panda: float
    review: float

    def __post_init__(self) -> None:
        if not 0 < self.review <= self.panda <= 1:
            raise ValueError(f"0 < review <= panda <= 1, not review {self.review}, panda {self.panda}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayNight:
    """Thresholds by day and by night: infrared frames score lower (models/red_panda/MODEL_CARD.md)."""

    day: Thresholds
    night: Thresholds


def judge(scores: Scores, thresholds: DayNight) -> Fate:
    """Give the verdict on one scored frame, by the rules above."""
    limits = thresholds.night if scores.night else thresholds.day
    if scores.panda >= limits.panda:
        return Fate.PANDA
    if scores.panda >= limits.review:
        return Fate.REVIEW
    rest = {label: p for label, p in scores.probabilities.items() if label != LABEL_PANDA}
    likeliest = max(rest, key=lambda label: rest[label])
    if likeliest == LABEL_HUMAN:
        return Fate.HUMAN
    if likeliest == LABEL_BLANK:
        return Fate.BLANK
    return Fate.OTHER


def withhold(fate: Fate, *, person: bool) -> tuple[Fate, bool]:
    """Rule 6: the verdict on a frame in which there may be a `person`, and whether its picture stays here."""
    return (Fate.REVIEW if person and fate in KEPT_FATES else fate), person
