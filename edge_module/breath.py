"""What whoever reads a card does between two pieces of work: says that it goes on, hears whether it may, cools down."""

import threading
from collections.abc import Callable
from typing import Final, Protocol

from edge_module.errors import CardError

_REST_S: Final = 2.0


class Beat(Protocol):
    """Shows that work goes on."""

    def __call__(self, *, allow_s: float = 0.0) -> None:
        """It goes on, and what is begun now may take so much longer than other things."""


def unwatched(*, allow_s: float = 0.0) -> None:
    """Nobody looks."""
    del allow_s


def _nothing() -> None:
    return


def _cool() -> bool:
    return False


class Breath:
    """Taken between files, and between bursts; by several threads at once.

    Args:
        stop: ends the reading.
        beat: says that the reading goes on.
        check: raises what the reading has to wait for, such as `StorageError`.
        hot: whether the processor is too hot, or has been slowed down for it.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        beat: Beat = unwatched,
        check: Callable[[], None] = _nothing,
        hot: Callable[[], bool] = _cool,
    ) -> None:
        self._stop = stop
        self._beat = beat
        self._check = check
        self._hot = hot

    def idle(self, *, s: float) -> None:
        """Before waiting for a card, for at most so many seconds.

        Raises:
            StorageError: the gateway's disk cannot take what would come.
        """
        self._beat(allow_s=s)
        self._check()

    def take(self) -> None:
        """Between two small pieces of work.

        Raises:
            CardError: the reading is to stop; it goes on at the next run.
        """
        if self._stop.is_set():
            raise CardError("stopped")
        self._beat()

    def rest(self) -> None:
        """Between two pieces of work that heat the processor: while it is hot, a pause.

        Raises:
            CardError: the reading is to stop.
            StorageError: the gateway's disk cannot take what would come.
        """
        self.take()
        self._check()
        if self._hot():
            self._stop.wait(_REST_S)
            self.take()
