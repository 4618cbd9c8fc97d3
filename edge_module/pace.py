"""How fast headquarters confirms: bytes a second, of late."""

import threading
from collections import deque
from typing import Final

_WINDOW_S: Final = 900.0
_SHORTEST_S: Final = 10.0


class Pace:
    """Adds up what was confirmed within the last quarter of an hour. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[tuple[float, int, float]] = deque()  # at, bytes, seconds in which something was owed
        self._owing_since_s: float | None = None

    def owing(self, now_s: float) -> None:
        """Something is owed: only while that is so does time without a confirmation count."""
        with self._lock:
            if self._owing_since_s is None:
                self._owing_since_s = now_s

    def confirmed(self, size_bytes: int, now_s: float, *, all_of_it: bool) -> None:
        """So much has been confirmed; `all_of_it`: nothing is owed any more."""
        with self._lock:
            since_s = now_s if self._owing_since_s is None else self._owing_since_s
            self._steps.append((now_s, size_bytes, now_s - since_s))
            self._forget_before(now_s - _WINDOW_S)
            self._owing_since_s = None if all_of_it else now_s

    def bytes_per_s(self, now_s: float) -> float:
        """The rate; 0 if nothing was confirmed within the window."""
        with self._lock:
            self._forget_before(now_s - _WINDOW_S)
            waiting_s = 0.0 if self._owing_since_s is None else now_s - self._owing_since_s
            took_s = waiting_s + sum(step_s for _, _, step_s in self._steps)
            return sum(size for _, size, _ in self._steps) / max(_SHORTEST_S, took_s)

    def _forget_before(self, at_s: float) -> None:
        while self._steps and self._steps[0][0] < at_s:
            self._steps.popleft()
