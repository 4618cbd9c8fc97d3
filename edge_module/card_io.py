"""Waiting for a card: how long it has kept its readers, and that it has left."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from edge_module.errors import CardError

TAKEN_OUT: Final = "the card was taken out"


class CardIO:
    """Knows how long a card has kept its readers waiting, and that it has left.

    A card that hangs says nothing, ever. One that was exchanged for another says nothing either: the other may have the
    same device and files of the same names, and nothing of it may be taken for the first one's.

    Args:
        monotonic_s: tells the time.
        before: called before each read; may raise `CardError` to end the reading.
    """

    def __init__(
        self, monotonic_s: Callable[[], float] = time.monotonic, *, before: Callable[[], None] = lambda: None
    ) -> None:
        self._monotonic_s = monotonic_s
        self._before = before
        self._waiting: dict[int, float] = {}
        self._left = False

    def left(self) -> None:
        """The card is not in its place any more: whoever reads it on gets a `CardError`."""
        self._left = True

    def __enter__(self) -> None:
        self._before()
        if self._left:
            raise CardError(TAKEN_OUT)
        self._waiting[threading.get_ident()] = self._monotonic_s()

    def __exit__(self, *_exc: object) -> None:
        self._waiting.pop(threading.get_ident(), None)

    def waits_s(self) -> float:
        """For how long the longest read has been under way; 0 if none is."""
        return self._monotonic_s() - min(list(self._waiting.values()), default=self._monotonic_s())


class CardFile(io.FileIO):
    """A file of a card: whoever reads it is known to wait for the card."""

    def __init__(self, fd: int, card: CardIO) -> None:
        super().__init__(fd, "rb")
        self._card = card

    def readinto(self, buffer: Any, /) -> int | None:
        """As `io.FileIO`; a `CardError` where the card has left."""
        with self._card:
            return super().readinto(buffer)

    def readall(self) -> bytes:
        """As `io.FileIO`; a `CardError` where the card has left."""
        with self._card:
            return super().readall()
