"""What goes wrong in a round, when, and for how long: drawn from a seed, so that a failed round can be run again."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

STORM_S: Final = 7.0
"""How long the faults of one round last altogether."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One fault.

    Args:
        at_s: after the storm began.
        lasts_s: until it is put right again.
        target: what is hit; a round hits each target at most once.
        kind: what is done to it.
        fault: fields of `deployment.local.faults.Fault`, where a hop is hit.
    """

    at_s: float
    lasts_s: float
    target: str
    kind: str
    fault: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        what = " ".join(f"{name}={value}" for name, value in self.fault.items())
        return f"{self.at_s:.2f}s {self.target} {self.kind}{' ' if what else ''}{what} for {self.lasts_s:.2f}s"

    def to_json(self) -> dict[str, Any]:
        """For the report of a round."""
        return asdict(self)


def schedule(rng: random.Random) -> list[Deed]:
    """Draw the faults of a round, in the order of their beginning."""
    deeds = []
    for target in rng.sample(sorted(_TARGETS), rng.randint(4, 8)):
        kind, fault = rng.choice(_TARGETS[target])(rng)
        at_s = round(rng.uniform(0, STORM_S - 1.5), 2)
        lasts_s = round(rng.uniform(0.3, min(4.0, STORM_S - at_s)), 2)
        deeds.append(Deed(at_s=at_s, lasts_s=lasts_s, target=target, kind=kind, fault=fault))
    return sorted(deeds, key=lambda deed: deed.at_s)


Draw = Callable[[random.Random], tuple[str, dict[str, Any]]]


def _process(kind: str) -> Draw:
    return lambda _rng: (kind, {})


def _hop(**fault: Any) -> Draw:
    return lambda rng: ("hop", {**fault, "seed": rng.randrange(1 << 16)})


def _some(**fault: Any) -> Draw:
    """A fault of some requests only."""
    return lambda rng: (
        "hop",
        {**fault, "probability": round(rng.uniform(0.2, 0.8), 2), "seed": rng.randrange(1 << 16)},
    )


_ANSWERS = [_some(status=status) for status in (429, 500, 503)]
_CUTS = [_some(cut_at=cut_at) for cut_at in ("request", "response")]
_TARGETS: Final[dict[str, list[Draw]]] = {
    "gateway": [_process("kill"), _process("kill"), _process("end")],
    "ingest-1": [_process("kill"), _process("end")],
    "ingest-2": [_process("kill"), _process("end")],
    "thief": [_process("steal")],
    "hub": [_process("kill")],
    "edge-hub": [_process("kill"), _process("end")],
    "sessions": [_process("drop")],
    "module": [_hop(cut=True), _hop(hang=True), _hop(latency_ms=300), *_CUTS],
    "upstream": [
        _hop(cut=True),
        _hop(latency_ms=500),
        _hop(duplicate=0.5),
        _hop(duplicate=0.4, reorder_ms=400),
        *_CUTS,
    ],
    "links": [_hop(cut=True), _hop(latency_ms=400)],
    "registry": [_hop(cut=True), _hop(latency_ms=500), *_ANSWERS],
    "events": [_hop(cut=True), _hop(latency_ms=400)],
    "storage": [
        _hop(cut=True),
        _hop(hang=True),
        _hop(latency_ms=700),
        _some(status=403),
        _some(status=409),
        *_ANSWERS,
        *_CUTS,
    ],
}
