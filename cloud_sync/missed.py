"""What is being missed: from the discards that were drawn and judged by people, how many pandas were discarded. Pure.

Each discard was drawn by itself with a probability that its record carries (edge_module/audit.py), so a panda found in
the sample stands for one over that probability of them (Horvitz and Thompson 1952, doi
10.1080/01621459.1952.10483446). Where people have judged only a part of those that were drawn with one probability,
that part stands for all of them; of those of which nobody has looked at any, all may be pandas.

The interval is the gamma interval of Fay and Feuer for a weighted sum of Poisson counts (Statistics in Medicine 16,
1997, 791-801): it holds at least as often as it says, also where few pandas, or none, were found.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_BISECTIONS: Final = 60
_NEGLIGIBLE: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A discard that was drawn.

    Args:
        probability: with which it was.
        is_panda: what people say; None while nobody has looked.
    """

    probability: float
    is_panda: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """How many pandas there are among the discards.

    Args:
        estimate: of the number.
        lowest: end of the interval.
        highest: end of the interval; infinite while nobody has looked at anything.
        judged: how many of those drawn people have looked at.
        found: pandas among these.
    """

    estimate: float
    lowest: float
    highest: float
    judged: int
    found: int


def missed(sample: Iterable[Drawn], *, confidence: float = 0.95) -> Missed:
    """Estimate how many pandas were discarded.

    Args:
        sample: every discard that was drawn, of the time and place that is asked about.
        confidence: of the interval.

    Raises:
        ValueError: a probability is not above 0 and at most 1.
    """
    drawn, judged, found = Counter[float](), Counter[float](), Counter[float]()
    for one in sample:
        if not 0 < one.probability <= 1:
            raise ValueError(f"a probability of being drawn must be above 0 and at most 1, not {one.probability}")
        drawn[one.probability] += 1
        judged[one.probability] += one.is_panda is not None
        found[one.probability] += one.is_panda is True
    count = found.total()
    if not judged.total():
        return Missed(estimate=0, lowest=0, highest=math.inf if drawn else 0, judged=0, found=0)
    weights = {p: drawn[p] / judged[p] / p for p in drawn if judged[p]}
    estimate = sum(weights[p] * found[p] for p in weights)
    # Of a band that nobody has looked at nothing is known: all of what it stands for may be pandas.
    unseen = [drawn[p] / p for p in drawn if not judged[p]]
    variance = sum(weights[p] ** 2 * found[p] for p in weights)
    heaviest = max(weights.values())
    tail = (1 - confidence) / 2
    lowest = _gamma_quantile(tail, mean=estimate, variance=variance) if count else 0.0
    highest = _gamma_quantile(1 - tail, mean=estimate + heaviest, variance=variance + heaviest**2)
    return Missed(
        estimate=estimate,
        lowest=lowest,
        highest=highest + sum(unseen),
        judged=judged.total(),
        found=count,
    )


def _gamma_quantile(share: float, *, mean: float, variance: float) -> float:
    """Below which value a share of a gamma distribution lies."""
    shape, scale = mean**2 / variance, variance / mean
    low, high = 0.0, mean + 20 * math.sqrt(variance)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _gamma_below(shape, middle / scale) < share:
            low = middle
        else:
            high = middle
    return high


def _gamma_below(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function, by its series (DLMF 8.7.1)."""
    if x <= 0:
        return 0.0
    term = total = 1.0
    n = 0
    while term > total * _NEGLIGIBLE:
        n += 1
        term *= x / (shape + n)
        total += term
    return min(1.0, total * math.exp(shape * math.log(x) - x - math.lgamma(shape + 1)))
