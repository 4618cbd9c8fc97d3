"""Keeps the C library from holding memory for threads that have ended."""

import contextlib
import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Both from glibc's malloc.h."""
_ARENAS: Final = 2
_OF_ITS_OWN_BYTES: Final = 128 * 1024


def give_back() -> None:
    """Let all threads share a few arenas, and give what is large a mapping of its own; call it before there are any.

    glibc opens up to eight arenas a core, one thread after another, and gives little of them back: a gateway, where
    each card has new threads with an interpreter each, would hold some 11 MB for each arena in the end (`make soak`).
    What is large has a mapping of its own, which is given back whole, only until the first large block was freed: from
    then on glibc puts blocks of that size into the arenas too, unless the limit is set. Other C libraries do not know
    the call.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _OF_ITS_OWN_BYTES)
