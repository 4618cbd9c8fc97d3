"""Faults on purpose: each hop between two processes can be cut, slowed, or made to answer errors.

A process owns one `Hop` for each connection it serves or makes; its admin interface (admin.py) sets the hop's `Fault`.
docs/local.md has the list of hops and what each can do.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_args, get_type_hints

from deployment.local.errors import invalid

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a hop.

    Attributes:
        cut: connections are broken and refused.
        latency_ms: each request, packet or batch is held this long.
        status: requests are answered with this HTTP status.
        error_code: service's name for the error; a usual one for the status where it is empty.
        hang: requests are taken and never answered.
        cut_at: ``request``: broken off half-way through the request's body, before anything is done; ``response``: all
            is done, and the answer is broken off.
        method: only requests of this HTTP method.
        path: only requests whose path contains this.
        next: only this many requests are hit, then the hop is whole again; without it, until it is set anew.
        probability: of being hit, for each request, drawn from ``seed``.
        seed: of everything drawn.
        duplicate: probability that a message goes out twice.
        reorder_ms: messages are gathered this long and go out shuffled.
    """

    cut: bool = False
    latency_ms: int = 0
    status: int | None = None
    error_code: str = ""
    hang: bool = False
    cut_at: str = ""
    method: str = ""
    path: str = ""
    next: int | None = None
    probability: float = 1.0
    seed: int = 0
    duplicate: float = 0.0
    reorder_ms: int = 0

    @classmethod
    def from_json(cls, given: Any) -> "Fault":
        """Read a fault from a request to the admin interface.

        Raises:
            RefusedError: 400, naming the field that is wrong.
        """
        if not isinstance(given, dict):
            raise invalid("a fault is a JSON object")
        kinds = get_type_hints(cls)
        for name, value in given.items():
            if name not in kinds:
                raise invalid(f"{name}: no such field; there are {', '.join(field.name for field in fields(cls))}")
            kind = kinds[name]
            allowed = get_args(kind) or ((int, float) if kind is float else (kind,))
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                raise invalid(f"{name}: {value!r} is not {kind}")
        fault = cls(**given)
        if not (0 <= fault.probability <= 1 and 0 <= fault.duplicate <= 1):
            raise invalid("probability and duplicate lie between 0 and 1")
        if fault.cut_at not in {"", "request", "response"}:
            raise invalid("cut_at: 'request' or 'response'")
        if fault.latency_ms < 0 or fault.reorder_ms < 0:
            raise invalid("latency_ms and reorder_ms are not negative")
        if fault.status is not None and fault.status not in range(400, 600):
            raise invalid("status: 400 to 599")
        return fault


class Hop:
    """One connection between processes, whole until told otherwise."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        """Called after each change, to break what is open."""
        self.fault = Fault()
        self.hits = 0
        self._left: int | None = None
        self._changed = asyncio.Event()
        self._random = random.Random(0)

    def set(self, fault: Fault) -> None:
        """Set the fault, in place of any before; counting and drawing begin anew."""
        self.fault, self._left, self.hits = fault, fault.next, 0
        self._random = random.Random(fault.seed)
        self._changed.set()
        self.on_change()

    def struck(self, method: str = "", path: str = "") -> Fault | None:
        """The fault, where this request is to be hit by it."""
        fault = self.fault
        if self._left == 0 or (fault.method and fault.method != method) or fault.path not in path:
            return None
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return None
        if fault == Fault():
            return None
        self.hits += 1
        if self._left is not None:
            self._left -= 1
        return fault

    async def delay(self) -> None:
        """Wait the hop's latency."""
        if self.fault.latency_ms:
            await asyncio.sleep(self.fault.latency_ms / 1000)

    async def hang(self) -> None:
        """Wait until the hop does not hang."""
        while self.fault.hang:
            self._changed.clear()
            await self._changed.wait()

    def disturb(self, messages: list[T]) -> list[T]:
        """Double and shuffle messages as the fault says."""
        doubled = [m for message in messages for m in [message] * (1 + (self._random.random() < self.fault.duplicate))]
        if self.fault.reorder_ms:
            self._random.shuffle(doubled)
        return doubled

    def state(self) -> dict[str, Any]:
        """The fault and how often it struck, for the admin interface."""
        return {**asdict(self.fault), "hits": self.hits, "left": self._left}
