"""Notices that cards come and go, and that folders grow: the kernel tells, nobody has to look.

Mounts are told of by the mount table (mounts.py), files by inotify through watchdog. Where the kernel cannot tell (no
inotify, or no more watches to be had) a folder is looked at again now and then instead: cards.py asks `watched`.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from edge_module.mounts import MOUNTINFO, MountWait

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver, ObservedWatch

_log = logging.getLogger(__name__)
_STOP_S: Final = 2.0
# Not of opening and reading: that is what we do ourselves.
_CHANGES: Final[list[type[FileSystemEvent]]] = [
    FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent,
    DirCreatedEvent, DirMovedEvent, DirDeletedEvent,
]  # fmt: skip


class Watcher:
    """Calls back, from threads of its own, when something has changed.

    Args:
        on_cards: called when something may have been mounted, or is no more.
        mountinfo: the kernel's mount table.
    """

    def __init__(self, on_cards: Callable[[], None], *, mountinfo: Path = MOUNTINFO) -> None:
        self._on_cards = on_cards
        self._mountinfo = mountinfo
        self._observer: BaseObserver = Observer()
        self._watches: dict[Path, ObservedWatch] = {}
        self._mounts: MountWait | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._mounts = MountWait(self._mountinfo)
        except OSError as exc:
            _log.warning("no mount table (%s): cards are looked for now and then", exc)
        else:
            self._thread = threading.Thread(target=self._wait, args=(self._mounts,), name="mounts", daemon=True)
            self._thread.start()
        with contextlib.suppress(OSError):  # no inotify: `watched` says so
            self._observer.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._mounts is not None and self._thread is not None:
            self._mounts.stop()
            self._thread.join(_STOP_S)
            self._mounts.close()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(_STOP_S)

    def _wait(self, mounts: MountWait) -> None:
        while mounts.wait():
            self._on_cards()

    def watched(self, folder: Path) -> bool:
        """Whether the kernel tells of changes in a folder."""
        return folder in self._watches

    def watch(self, folder: Path, on_change: Callable[[], None], *, deep: bool = True) -> None:
        """Tell of changes in a folder, if the kernel can."""
        if folder in self._watches or not self._observer.is_alive():
            return
        try:
            self._watches[folder] = self._observer.schedule(
                _Handler(on_change), str(folder), recursive=deep, event_filter=_CHANGES
            )
        except OSError as exc:
            _log.info("%s cannot be watched (%s): it is looked at now and then", folder.name, exc.strerror)

    def forget(self, folder: Path) -> None:
        """Tell of it no more."""
        if watch := self._watches.pop(folder, None):
            with contextlib.suppress(OSError, KeyError):  # it is gone already
                self._observer.unschedule(watch)


class _Handler(FileSystemEventHandler):
    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def on_any_event(self, event: FileSystemEvent) -> None:
        del event
        self._on_change()
