"""Cards come and go: notices them, and reads each that has not been read as it is now, several at once.

Each look at a card has a thread of its own, so that one that hangs, or a huge one, holds up no other; this room's own
thread never touches a card (`edge_module.places` has the states).

Whoever may write into the cards folder is trusted, unlike the cards: their own links are never followed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edge_module import wire
from edge_module.breath import Breath
from edge_module.card import Mount
from edge_module.card_io import CardIO
from edge_module.clock import Clock
from edge_module.domain import ReadingState, Record
from edge_module.errors import CardError
from edge_module.ledger import Ledger
from edge_module.mounts import MOUNTINFO, Mounted, MountTable
from edge_module.pipeline import Pipeline
from edge_module.places import CardSeen, Place, PlaceState
from edge_module.readings import Reading
from edge_module.settings import Settings
from edge_module.volumes import filesystem_uuid
from edge_module.watch import Watcher

_log = logging.getLogger(__name__)

AT_ONCE_MAX: Final = 4
"""Cards read at the same time; they share the processor by turns (`Pipeline`'s `turns`)."""

HUNG_S: Final = 60.0
"""A card that answers no single read for so long hangs. The kernel gives up by itself after some minutes, mostly."""

_FAILED_PAUSE_S: Final = 60.0
_FAILED_PAUSE_LONGEST_S: Final = 3600.0
_IDLE_SHARE: Final = 0.002
"""Of the time, at most this much goes into looking whether a card that has been read has grown."""
_GROWING_SHARE: Final = 0.5
"""And this much into a folder that changes all the time."""
_LOOK_AGAIN_S: Final = 3600.0
"""A folder that the kernel watches for us is looked at this often all the same."""
_STOP_S: Final = 4.0


class Cards:
    """Reads the cards in a folder for as long as it is told to."""

    def __init__(
        self,
        *,
        folder: Path,
        ledger: Ledger,
        pipeline: Callable[[Settings], Pipeline],
        settings: Callable[[], Settings],
        clock: Clock,
        wake_courier: Callable[[], None],
        stop: threading.Event,
        breath: Breath,
        mountinfo: Path = MOUNTINFO,
        uuid_of: Callable[[int], str] = filesystem_uuid,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Put it together.

        Args:
            folder: in which cards appear, one folder a card.
            ledger: what was read already, and what is owed.
            pipeline: makes what reads a card.
            settings: those in force now.
            clock: for pauses.
            wake_courier: called when something is owed.
            stop: set it, and call `wake`, to end.
            breath: taken between two reads.
            mountinfo: the kernel's mount table.
            uuid_of: says the UUID of a file system by its device.
            on_change: called when a card's state has changed, from any thread.
        """
        self._folder = folder
        self._ledger = ledger
        self._pipeline = pipeline
        self._settings = settings
        self._clock = clock
        self._wake_courier = wake_courier
        self._stop = stop
        self._mounts = MountTable(mountinfo)
        self._mountinfo = mountinfo
        self._breath = breath
        self._uuid_of = uuid_of
        self._on_change = on_change
        self._wake = threading.Event()
        self._claims = threading.Lock()
        self._places: dict[Path, Place] = {}
        self._leaving: list[Place] = []  # gone, but somebody is still at work on what was there
        self._threads: list[threading.Thread] = []
        self.fault = ""  # why the cards folder itself cannot be read

    # --- what others may ask, from any thread -------------------------------------------------------------------

    def seen(self) -> list[CardSeen]:
        """The cards that are in the gateway now, by name."""
        return sorted((place.seen for place in list(self._places.values())), key=lambda seen: seen.name)

    @property
    def reading(self) -> bool:
        """Whether a card is being read."""
        return any(seen.state in (PlaceState.LISTING, PlaceState.READING) for seen in self.seen())

    @property
    def activity(self) -> str:
        """What is going on, for people."""
        parts = []
        for seen in self.seen():
            match seen.state:
                case PlaceState.LISTING:
                    parts.append(f"listing {seen.name}")
                case PlaceState.READING:
                    parts.append(f"reading {seen.name}: {seen.done} of {seen.total} files")
                case PlaceState.HUNG | PlaceState.CONFLICT:
                    parts.append(f"{seen.name}: {seen.why}")
        return self.fault or "; ".join(parts) or "waiting for a card"

    def wake(self) -> None:
        """Look now: something has changed, or it is to end."""
        self._wake.set()

    def hanging(self) -> list[str]:
        """Which threads still wait for a card after the end."""
        return [thread.name for thread in list(self._threads) if thread.is_alive()]

    def look_again(self, card_id: str) -> bool:
        """Read a card again if it is in the gateway and not as it was read. Returns whether it is there."""
        places = [place for place in list(self._places.values()) if place.seen.card_id == card_id]
        for place in places:
            place.changed, place.rest_until_s, place.failures = True, 0.0, 0
        self.wake()
        return bool(places)

    def mount_of(self, card_id: str) -> Mount | None:
        """The card with this id, if it is in the gateway.

        Returns:
            None too where it was just taken out, or does not answer.
        """
        for place in list(self._places.values()):
            seen = place.seen
            if seen.card_id == card_id and seen.state not in (PlaceState.CONFLICT, PlaceState.TWICE, PlaceState.HUNG):
                try:
                    return Mount(place.root, io=place.io, uuid_of=self._uuid_of)
                except CardError as exc:
                    _log.info("card %s: %s", seen.name, exc)
        return None

    # --- this room's own thread ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Notice, read, and notice again until told to stop.

        Raises:
            StorageError: the gateway's disk cannot take what would come; call again when it can.
            LedgerError: the ledger cannot be trusted.
        """
        for place in self._places.values():  # nobody has watched them since
            place.changed = True
        with Watcher(self.wake, mountinfo=self._mountinfo) as watcher:
            try:
                while not self._stop.is_set():
                    self._wake.clear()
                    self._meet(watcher)
                    if not self._working():  # else those who read say that it goes on
                        self._breath.idle(s=self._settings().poll_s)
                    self._begin(watcher)
                    self._wake.wait(self._pause_s())
            finally:
                deadline_s = time.monotonic() + _STOP_S
                for thread in self._threads:
                    thread.join(max(0.0, deadline_s - time.monotonic()))

    def _meet(self, watcher: Watcher) -> None:
        """Take up places that are new, forget those that are gone, and notice cards that hang."""
        watcher.watch(self._folder, self.wake, deep=False)  # first: what comes while we look is told of
        found = dict(self._found())
        if self.fault:  # when it is back it is another folder, which nobody watches
            watcher.forget(self._folder)
        for place in [*self._places.values(), *self._leaving]:
            if place.failure is not None:
                failure, place.failure = place.failure, None
                raise failure
        self._leaving = [place for place in self._leaving if place.busy]
        for root, place in list(self._places.items()):
            if root not in found or found[root][1] != place.mounted:  # another card in its place is another mount
                watcher.forget(root)
                place.io.left()
                self._leaving.append(place)
                del self._places[root]
                self._free_conflicts()
                self._on_change()
            elif place.busy and place.io.waits_s() > min(HUNG_S, self._settings().stall_s / 2):
                self._set(place, state=PlaceState.HUNG, why="the card does not answer")
                self._alert_once(place, "card_hangs", f"has not answered for {HUNG_S:.0f} s")
        for root, (name, mounted) in found.items():
            if root not in self._places:
                seen = CardSeen(name=name, state=PlaceState.WAITING)
                self._places[root] = Place(
                    root=root, mounted=mounted, seen=seen, io=CardIO(self._clock.monotonic_s, before=self._breath.take)
                )
                self._on_change()

    def _found(self) -> Iterator[tuple[Path, tuple[str, Mounted | None]]]:
        """What lies in the cards folder, one folder a card; a link stands for the folder that it leads to.

        No card is touched: that may hang.
        """
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_symlink() or entry.is_dir())
            folder, self.fault = self._folder.resolve(), ""
        except OSError as exc:
            self.fault = f"cards folder {self._folder}: {exc.strerror}"
            return
        mounts = {mounted.point: mounted for mounted in self._mounts.read()}
        for name in names:
            root = folder / name
            if root.is_symlink():
                root = root.resolve()
                if not root.is_dir():
                    continue
            yield root, (name, mounts.get(root))

    def _free_conflicts(self) -> None:
        """A card has left: one that was set aside because of it may be read now."""
        for place in self._places.values():
            if place.seen.state in (PlaceState.CONFLICT, PlaceState.TWICE):
                place.due_s = 0.0

    def _begin(self, watcher: Watcher) -> None:
        """Begin a look at each place where one is due, as many at once as may be, who waits longest first."""
        now_s, settle_s = self._clock.monotonic_s(), self._settings().settle_s
        working = self._working()
        for place in sorted(self._places.values(), key=lambda place: place.due_s):
            if place.busy or self._is_being_left(place.root):
                continue
            if place.changed:
                place.changed = False
                place.due_s = min(place.due_s, max(now_s + settle_s, place.rest_until_s))
            if place.due_s <= now_s and working < AT_ONCE_MAX:
                working += 1
                name = f"card-{place.seen.name[:40]}"
                place.thread = threading.Thread(target=self._look, args=(place, watcher), name=name, daemon=True)
                self._threads = [thread for thread in self._threads if thread.is_alive()] + [place.thread]
                place.thread.start()

    def _is_being_left(self, root: Path) -> bool:
        """Whether somebody is still at work on the card that was here before; not, where that one hangs."""
        return any(place.root == root and place.busy and place.io.waits_s() < HUNG_S for place in self._leaving)

    def _working(self) -> int:
        """How many cards are being looked at, those that hang left out."""
        return sum(place.busy and place.seen.state is not PlaceState.HUNG for place in self._places.values())

    def _pause_s(self) -> float:
        now_s = self._clock.monotonic_s()
        due = [place.due_s - now_s for place in self._places.values() if not place.busy]
        return max(0.05, min([self._settings().poll_s, *(due_s for due_s in due if due_s > 0)]))

    # --- a card's thread ----------------------------------------------------------------------------------------

    def _look(self, place: Place, watcher: Watcher) -> None:
        began_s, read = self._clock.monotonic_s(), False
        place.due_s = began_s + _LOOK_AGAIN_S
        try:
            if place.mounted is None:
                watcher.watch(place.root, lambda: self._changed(place))
            read = self._look_at(place)
        except CardError as exc:
            if not self._stop.is_set():
                _log.warning("card %s: %s", place.root.name, exc)
                self._failed(place, str(exc))
        except BaseException as exc:  # noqa: BLE001 - top of a thread; raised again in `run`
            place.failure, place.changed = exc, True
            self._set(place, state=PlaceState.WAITING)
        now_s = self._clock.monotonic_s()
        took_s = now_s - began_s
        place.rest_until_s = now_s + took_s * (1 / _GROWING_SHARE - 1)
        if place.seen.state is PlaceState.READ and not watcher.watched(place.root):
            look_s = 0.0 if read else took_s  # how long a look alone takes is known after the next
            place.due_s = now_s + max(self._settings().poll_s, look_s / _IDLE_SHARE)
        self.wake()

    def _changed(self, place: Place) -> None:
        if not place.changed:
            place.changed = True
            self.wake()

    def _look_at(self, place: Place) -> bool:
        """Look at a card, and read it if it is not as it was read. Returns whether it was read."""
        mount = Mount(place.root, io=place.io, uuid_of=self._uuid_of)
        is_empty = place.mounted is None and mount.is_empty()
        card_id = "" if is_empty else mount.identify().card_id
        if self._mounts.at(place.root) != place.mounted:
            return False  # it came, or went, while it was asked for its id: `_meet` takes up what is here
        if is_empty:
            # No card, but where one was mounted, or where a camera is going to write.
            self._set(place, state=PlaceState.EMPTY, card_id="")
            return False
        if other := self._claim(place, card_id):
            self._set_aside(place, other)
            return False
        as_read = self._ledger.last_complete(card_id)
        if as_read is not None and as_read == mount.fingerprint():
            self._set(place, state=PlaceState.READ, reading_id=self._ledger.last_reading_id(card_id), why="")
            return False
        self._read(place, mount)
        return True

    def _claim(self, place: Place, card_id: str) -> Place | None:
        """Take a card's id for a place; returns the place that has it, if another does."""
        with self._claims:
            for other in list(self._places.values()):
                claims = other.seen.state not in (PlaceState.CONFLICT, PlaceState.TWICE, PlaceState.EMPTY)
                if other is not place and claims and other.seen.card_id == card_id:
                    return other
            self._set(place, card_id=card_id, state=PlaceState.LISTING, why="")
        return None

    def _set_aside(self, place: Place, other: Place) -> None:
        """One card was found at two places, or two cards say that they are the same one: only the first is read."""
        if place.mounted and other.mounted and place.mounted.device == other.mounted.device:
            self._set(place, state=PlaceState.TWICE, card_id=other.seen.card_id)
            return
        why = f"it says that it is the same card as {other.seen.name}"
        self._set(place, state=PlaceState.CONFLICT, card_id=other.seen.card_id, why=why)
        self._alert_once(place, "card_conflict", f"{why}; it is read when that one has been taken out")

    def _read(self, place: Place, mount: Mount) -> None:
        def listed(reading: Reading) -> None:
            total, settled = self._ledger.counts(reading)
            self._set(
                place, state=PlaceState.READING, reading_id=reading.reading_id, total=total, done_before=settled,
                began_s=self._clock.monotonic_s(),
            )  # fmt: skip

        def settled(records: list[Record]) -> None:
            self._set(place, state=PlaceState.READING, done=place.seen.done + len(records), why="")
            self._wake_courier()

        self._set(place, done=0, total=0, done_before=0)
        receipt = self._pipeline(self._settings()).read(mount, settled, on_listed=listed)
        if receipt.state is ReadingState.COMPLETE:
            place.failures = 0
            self._set(place, state=PlaceState.READ, why="")
        elif not self._stop.is_set():
            self._failed(place, "; ".join(receipt.blockers))
            if (
                self._places.get(place.root) is place and self._mounts.at(place.root) == place.mounted
            ):  # taken out is no fault
                self._alert_once(place, "card_interrupted", "; ".join(receipt.blockers), receipt.card_id)
        self._wake_courier()

    def _failed(self, place: Place, why: str) -> None:
        """Not again at once: the reason may be on the card for good."""
        place.failures += 1
        pause_s = min(_FAILED_PAUSE_S * 2.0 ** min(place.failures - 1, 20), _FAILED_PAUSE_LONGEST_S)
        place.due_s = self._clock.monotonic_s() + pause_s
        self._set(place, state=PlaceState.FAILED, why=why)

    def _alert_once(self, place: Place, code: str, text: str, card_id: str = "") -> None:
        """Tell people of what is wrong with a card, once for as long as it is in.

        Nor again while the same is owed: a loose reader may lose a card a thousand times before there is a link.
        """
        if code not in place.told:
            place.told.add(code)
            said = f"card {card_id or place.seen.name}: {text}"
            if not self._ledger.outbox.owes_alert(code, said):
                self._ledger.outbox.put(wire.Alert(code=code, text=said, at=self._clock.now()))
                self._wake_courier()

    def _set(self, place: Place, **changes: Any) -> None:
        place.seen = replace(place.seen, **changes)
        self._on_change()
