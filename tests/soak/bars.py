"""Whether a soak reached its bars. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from tests.soak.samples import Sample

MEMORY_MB: Final = 10.0
MORE_DESCRIPTORS: Final = 4
MORE_THREADS: Final = 2
STOP_S: Final = 10.0
IDLE_CPU: Final = 0.01


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
    """The worst life of the gateway: what it took at most after its first day, beyond what it took at most on it.

    Descriptors and threads come and go with cards and connections, and their highest counts with chance: there the
    lowest of each day tells what is never given back. None where no life has a second day.
    """
    found = []
    for _, of_life in groupby(samples, key=lambda sample: sample.pid):
        life = list(of_life)
        first = [s for s in life if s.day < life[0].day + 1]
        days = [list(of_day) for _, of_day in groupby(life[len(first) :], key=lambda s: int(s.day - life[0].day))]
        whole = [of_day for of_day in days if of_day[-1].day - of_day[0].day > 0.5]
        if whole:
            found.append(_beyond(first, whole))
    if not found:
        return None
    return Growth(
        memory_mb=max(one.memory_mb for one in found),
        descriptors=max(one.descriptors for one in found),
        threads=max(one.threads for one in found),
    )


def _beyond(first: list[Sample], days: list[list[Sample]]) -> Growth:
    peak = max(s.memory_mb for day in days for s in day) - max(s.memory_mb for s in first)
    return Growth(
        memory_mb=round(peak, 2),
        descriptors=max(min(s.descriptors for s in day) for day in days) - min(s.descriptors for s in first),
        threads=max(min(s.threads for s in day) for day in days) - min(s.threads for s in first),
    )


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
