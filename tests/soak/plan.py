"""What happens on each day of a soak, drawn from a seed."""

import random
from dataclasses import dataclass
from typing import Any, Final

from tests.torture.faults import Deed

LIFE_DAYS: Final = 10
"""After so many days the gateway is restarted: in order and by a power cut, in turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something at a time of a day.

    Args:
        at: 0 to 1, of the day.
        what: insert | take | visit | patch | bad-patch | model | restart | cut | strike | heal.
        of: which card, or how.
    """

    at: float
    what: str
    of: Any = None


def day(number: int, days: int, seed: int) -> list[Event]:
    """The events of a day, in order: one or two cards, a patch, an outage, and rarer things."""
    rng = random.Random(f"soak-{seed}-{number}")
    plan = [Event(at=0.05, what="insert", of=f"{number}-a"), Event(at=0.55, what="take", of=f"{number}-a")]
    if number % 2:
        plan += [Event(at=0.6, what="insert", of=f"{number}-b"), Event(at=0.95, what="take", of=f"{number}-b")]
    if number % 4 == 3:
        plan += [Event(at=0.7, what="visit", of=f"{number - 1}-a"), Event(at=0.9, what="take", of=f"{number - 1}-a")]
    plan += [Event(at=0.2, what="patch"), Event(at=0.8, what="patch" if number % 5 else "bad-patch")]
    if number % 3 == 1:
        plan.append(Event(at=0.35, what="model"))
    begin = round(rng.uniform(0.06, 0.5), 3)
    plan.append(Event(at=begin, what="strike", of=_OUTAGES[number % len(_OUTAGES)]))
    plan.append(Event(at=round(begin + rng.uniform(0.05, 0.3), 3), what="heal"))
    if number and number % min(LIFE_DAYS, max(1, days // 2)) == 0:
        plan.append(Event(at=0.01, what="cut" if number // LIFE_DAYS % 2 else "restart"))
    return sorted(plan, key=lambda event: event.at)


def _hop(target: str, **fault: Any) -> Deed:
    return Deed(at_s=0, lasts_s=0, target=target, kind="hop", fault=fault)


_OUTAGES: Final = (
    _hop("upstream", cut=True),
    _hop("storage", hang=True),
    _hop("module", cut=True),
    _hop("storage", status=503, probability=0.5, seed=1),
    Deed(at_s=0, lasts_s=0, target="sessions", kind="drop"),
    Deed(at_s=0, lasts_s=0, target="ingest-1", kind="kill"),
    _hop("upstream", duplicate=0.5, seed=2),
    Deed(at_s=0, lasts_s=0, target="edge-hub", kind="kill"),
)
