"""Keeps the C library from holding memory for threads that have ended."""

import contextlib
import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""From glibc's malloc.h."""
_ARENAS: Final = 2


def share_arenas() -> None:
    """Let all threads allocate from the same few arenas; to be called before there are threads.

    glibc opens up to eight arenas a core, one thread after another, and gives little of them back: a gateway, where
    each card has new threads with an interpreter each, would hold some 11 MB for each arena in the end (`make soak`).
    Other C libraries do not know the call.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
