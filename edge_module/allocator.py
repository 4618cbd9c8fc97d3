"""How the C library holds memory: a gateway gives it back, a scan uses it again until it ends."""

import contextlib
import ctypes
from collections.abc import Mapping
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""All from glibc's malloc.h."""
_ARENAS: Final = 2
_OF_ITS_OWN_BYTES: Final = 128 * 1024
_REUSED_BYTES: Final = 32 * 2**20
"""The largest that glibc takes for a limit of mappings on 64 bits: above a frame, a file and what they are made of."""
_FREE_BYTES: Final = 16 * 2**20


def give_back() -> None:
    """Let all threads share a few arenas, and give what is large a mapping of its own; call it before there are any.

    glibc opens up to eight arenas a core, one thread after another, and gives little of them back: a gateway, where
    each card has new threads with an interpreter each, would hold some 11 MB for each arena in the end (`make soak`).
    What is large has a mapping of its own, which is given back whole, only until the first large block was freed: from
    then on glibc puts blocks of that size into the arenas too, unless the limit is set. Other C libraries do not know
    the call.
    """
    _set({_M_ARENA_MAX: _ARENAS, _M_MMAP_THRESHOLD: _OF_ITS_OWN_BYTES})


def reuse() -> None:
    """Let all threads share one arena that keeps what a frame needed for the next; call it before there are any.

    A page that went back to the kernel is cleared when it comes again: 1,500 pages a frame of 5 megapixels otherwise.
    """
    _set({_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: _REUSED_BYTES, _M_TRIM_THRESHOLD: _FREE_BYTES})


def _set(options: Mapping[int, int]) -> None:
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in options.items():
            mallopt(option, value)
