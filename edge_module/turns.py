"""Turns at the processor: several cards are read at once, and none of them longer than its share."""

import threading
from collections import deque
from collections.abc import Callable


class Turns:
    """Lets so many in at once, in the order in which they came. Not to be held while a card is waited for.

    Args:
        limit: how many; asked anew each time, since people change it from afar.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inside = 0

    def __enter__(self) -> None:
        me = object()
        with self._changed:
            self._waiting.append(me)
            self._changed.wait_for(lambda: self._waiting[0] is me and self._inside < self._limit())
            self._waiting.popleft()
            self._inside += 1
            self._changed.notify_all()

    def __exit__(self, *_exc: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
