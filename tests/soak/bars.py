"""Whether a soak reached its bars. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Final

from tests.soak.samples import Sample

MEMORY_MB: Final = 10.0
MORE_DESCRIPTORS: Final = 4
MORE_THREADS: Final = 2
STOP_S: Final = 10.0
IDLE_CPU: Final = 0.01
_LAST_DAYS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: what was measured, if it was, and what may be."""

    name: str
    measured: float | None
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether it was reached, or could not be measured."""
        return self.measured is None or self.measured <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {"name": self.name, "measured": self.measured, "allowed": self.allowed, "passed": self.passed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much a process took more after its first day than on it."""

    memory_mb: float
    descriptors: int
    threads: int


def growth(samples: Sequence[Sample]) -> Growth | None:
    """The worst life of the gateway: what it took on its last three days, beyond the day that followed its first.

    On its first day a gateway starts, connects and reads its first card; what it takes then is no growth. Medians of
    days, for what is highest comes and goes with how many cards are read at once. None where no life has a third day.
    """
    found = []
    for _, of_life in groupby(samples, key=lambda sample: sample.pid):
        life = list(of_life)
        days = [list(of_day) for _, of_day in groupby(life, key=lambda s: int(s.day - life[0].day))]
        whole = [of_day for of_day in days[1:] if of_day[-1].day - of_day[0].day > 0.5]
        if len(whole) > 1:
            found.append(whole)
    if not found:
        return None
    return Growth(
        memory_mb=round(max(_beyond(days, lambda s: s.memory_mb) for days in found), 2),
        descriptors=round(max(_beyond(days, lambda s: s.descriptors) for days in found)),
        threads=round(max(_beyond(days, lambda s: s.threads) for days in found)),
    )


def from_end_to_end(samples: Sequence[Sample]) -> float | None:
    """The stricter reading, beside the bar: what a process took at its very end, beyond the end of its first day, MB.

    Of the worst life; none where no life is longer than a day. One look each, so that a card that is just being read
    counts as growth.
    """
    found = []
    for _, of_life in groupby(samples, key=lambda sample: sample.pid):
        life = list(of_life)
        first_day = [sample for sample in life if sample.day - life[0].day < 1]
        if len(life) > len(first_day):
            found.append(life[-1].memory_mb - first_day[-1].memory_mb)
    return round(max(found), 2) if found else None


def _beyond(days: list[list[Sample]], of: Callable[[Sample], float]) -> float:
    first, *later = (median(map(of, day)) for day in days)
    return median(later[-_LAST_DAYS:]) - first


def bars(samples: Sequence[Sample], *, stops_s: Sequence[float], idle_cpu: float, faults: int) -> list[Bar]:
    """All of them."""
    grown = growth(samples)
    return [
        Bar(name="memory after the first day, MB more", measured=grown and grown.memory_mb, allowed=MEMORY_MB),
        Bar(
            name="descriptors after the first day, more", measured=grown and grown.descriptors, allowed=MORE_DESCRIPTORS
        ),
        Bar(name="threads after the first day, more", measured=grown and grown.threads, allowed=MORE_THREADS),
        Bar(name="longest stop, s", measured=round(max(stops_s, default=0.0), 2), allowed=STOP_S),
        Bar(name="idle CPU, share of a core", measured=round(idle_cpu, 4), allowed=IDLE_CPU),
        Bar(name="files lost, doubled or not confirmed; other faults", measured=faults, allowed=0),
    ]
