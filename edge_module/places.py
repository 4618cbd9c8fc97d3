"""Places where a card may be, and what is going on there.

The states of one::

    WAITING --look--> LISTING --read--> READING --> READ | FAILED        EMPTY: no card here
    any --the same id at another place--> CONFLICT | TWICE               LISTING, READING --no answer--> HUNG --> ...
"""

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from edge_module.card_io import CardIO
from edge_module.mounts import Mounted


class PlaceState(StrEnum):
    """What is going on at a place where a card may be."""

    WAITING = "waiting"
    LISTING = "listing"
    READING = "reading"
    READ = "read"
    FAILED = "failed"
    EMPTY = "empty"
    CONFLICT = "conflict"
    TWICE = "twice"
    HUNG = "hung"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSeen:
    """A card that is in the gateway, for people.

    Args:
        name: of its folder; whoever wrote it is not to be trusted.
        card_id: empty while nobody knows.
        reading_id: of its last reading; empty before the first.
        done: files settled of `total`.
        done_before: how many of them an earlier, interrupted run had settled.
        began_s: when this run began to settle, by the monotonic clock.
        why: what is wrong, if something is.
    """

    name: str
    state: PlaceState
    card_id: str = ""
    reading_id: str = ""
    done: int = 0
    total: int = 0
    done_before: int = 0
    began_s: float = 0.0
    why: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A folder in the cards folder, from when it is met to when it is gone.

    Args:
        root: the folder.
        mounted: what is mounted there, if something is.
        seen: its card, for people.
        io: by which its card is read.
        due_s: when it is looked at next, by the monotonic clock.
        rest_until_s: not before that, however often it changes.
        changed: something has been written there since it was looked at.
        failures: readings in a row that failed.
        told: what people were told of, by the alert's code.
        thread: that looks at it.
        failure: of that thread, to be raised by the room's own.
    """

    root: Path
    mounted: Mounted | None
    seen: CardSeen
    io: CardIO
    due_s: float = 0.0
    rest_until_s: float = 0.0
    changed: bool = False
    failures: int = 0
    told: set[str] = field(default_factory=set)
    thread: threading.Thread | None = None
    failure: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is at work on it."""
        return self.thread is not None and self.thread.is_alive()
