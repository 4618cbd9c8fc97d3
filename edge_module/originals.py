"""The originals that are kept on the gateway, each with a note beside it that says what the ledger said.

``originals/<first two digits>/<media_id><suffix>`` and ``<media_id>.json``. A damaged ledger is rebuilt from the notes.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from edge_module import as_json
from edge_module.card import PICTURE_MAX_BYTES
from edge_module.domain import Record
from edge_module.errors import MediaError, NotReadNow, StorageError, WireError
from edge_module.files import rename_durably, write_durably
from edge_module.ladder import Policy, wanted
from edge_module.ledger import Ledger

_log = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 1 << 20
_PATH: Final = "path_hex"


def always() -> None:
    """Whoever wants room for an original goes on wanting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A kept original: its record, and `Media.path` on its card."""

    record: Record
    path: bytes


class MakeRoom(Protocol):
    """Returns when there is room for an original; `ceiling.Ceiling.make_room` is one."""

    def __call__(self, size_bytes: int, *, patient: bool = True, still: Callable[[], None] = always) -> None:
        """Wait for it, as long as `still` raises nothing, or if not `patient` raise `BusyError`."""


def _boundless(size_bytes: int, *, patient: bool = True, still: Callable[[], None] = always) -> None:
    del size_bytes, patient, still


class Originals:
    """A folder of originals."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make_room: MakeRoom = _boundless
        self._taken_bytes: int | None = None
        self._counting = threading.Lock()
        # By first digit: the same bytes may lie on a card twice, and come from two workers at once.
        self._locks = {digit: threading.Lock() for digit in "0123456789abcdef"}

    def sweep(self) -> None:
        """Remove what a power cut left half copied. Only for the process that alone writes here."""
        try:
            for left_over in self._folder.glob("*/.*.part"):
                left_over.unlink()
        except OSError as exc:  # no reason not to start: what matters of the disk is told where it is written to
            _log.warning("%s: what a power cut left is not removed: %s", self._folder.name, exc.strerror)

    def bound_by(self, make_room: MakeRoom) -> None:
        """From now on call this before an original is copied; it returns when there is room for so many bytes."""
        self._make_room = make_room

    @property
    def taken_bytes(self) -> int:
        """What the originals take on the disk now."""
        with self._counting:
            if self._taken_bytes is None:
                self._taken_bytes = sum(entry.stat().st_size for entry in self._folder.glob("*/*") if entry.is_file())
            return self._taken_bytes

    def _changed_by(self, size_bytes: int) -> None:
        with self._counting:
            if self._taken_bytes is not None:
                self._taken_bytes += size_bytes

    def path(self, media_id: str, name: str) -> Path:
        """Where the original of a picture lies, or would."""
        return self._folder / media_id[:2] / f"{media_id}{Path(name).suffix.lower()}"

    def keep(
        self,
        record: Record,
        path: bytes,
        source: BinaryIO,
        *,
        patient: bool = True,
        still: Callable[[], None] = always,
    ) -> None:
        """Copy an original to disk, and a note of its record beside it. Both are on the disk when this returns.

        Args:
            record: of the file.
            path: `Media.path`: a name that is not UTF-8 cannot be had back from the record's.
            source: the file on the card, at its beginning.
            patient: whether to wait for room under the ceiling.
            still: asked while it is waited for; raises `CardError` where the card has left.

        Raises:
            BusyError: there is no room now, and nobody waits for it.
            MediaError: what was read is not what was hashed before.
            StorageError: the disk is full, read-only or failing.
            CardError: there is no room for it under the ceiling (ceiling.py).
            OSError: the card cannot be read.
        """
        target = self.path(record.media_id, record.path)
        note = target.with_suffix(".json")
        if not target.exists():
            self._make_room(record.size_bytes, patient=patient, still=still)
        with self._locks[record.media_id[0]]:
            if not target.exists():
                self._copy(record.media_id, source, target)
                self._changed_by(record.size_bytes)
            if not note.exists() or _is_of_later_twin(note, record):
                with _writing(note):
                    write_durably(note, _note(record, path))

    @staticmethod
    def _copy(media_id: str, source: BinaryIO, target: Path) -> None:
        beside = target.with_name(f".{target.name}.part")
        digest = hashlib.sha256()
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = beside.open("wb")
        try:
            try:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    with _writing(target):
                        copy.write(chunk)
                with _writing(target):
                    copy.flush()
                    os.fsync(copy.fileno())
            finally:
                with _writing(target):  # closing writes what is left, and fails on a full disk like any write
                    copy.close()
            if digest.hexdigest() != media_id:
                raise MediaError("changed while it was copied")  # noqa: TRY301 - as whatever else spoils the copy
            with _writing(target):
                rename_durably(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):  # half a film would hold room on a full disk until the next start
                beside.unlink(missing_ok=True)
            raise

    def length(self, media_id: str, name: str) -> int:
        """The size of a kept original, in bytes.

        Raises:
            MediaError: it is not there; `NotReadNow` where it is.
        """
        try:
            return self.path(media_id, name).stat().st_size
        except OSError as exc:
            raise _unread(exc) from exc

    def pieces(self, media_id: str, name: str, *, size_bytes: int) -> Iterator[bytes]:
        """A kept original in pieces of `size_bytes`, the last one shorter: it may be a film.

        Raises:
            MediaError: it is not there; `NotReadNow` where it is.
        """
        try:
            with self.path(media_id, name).open("rb") as file:
                while piece := file.read(size_bytes):
                    yield piece
        except OSError as exc:
            raise _unread(exc) from exc

    def read(self, media_id: str, name: str) -> bytes:
        """The bytes of a kept original that is a picture.

        Raises:
            MediaError: it is not there (`NotReadNow` where it is), or larger than a picture may be.
        """
        try:
            path = self.path(media_id, name)
            if path.stat().st_size > PICTURE_MAX_BYTES:  # a film: it would take all of the memory
                raise MediaError(f"larger than {PICTURE_MAX_BYTES / 2**20:.0f} MB, no picture is made of it")
            return path.read_bytes()
        except OSError as exc:
            raise _unread(exc) from exc

    def remove(self, media_id: str, name: str) -> None:
        """Remove an original and its note. That it is gone already is success.

        Raises:
            LedgerError: the disk is read-only or failing.
        """
        target = self.path(media_id, name)
        with self._locks[media_id[0]], _writing(target):
            target.with_suffix(".json").unlink(missing_ok=True)  # first: a note without its picture would restore it
            if target.exists():
                size_bytes = target.stat().st_size
                target.unlink()
                self._changed_by(-size_bytes)

    def disk_bytes(self) -> int:
        """The size of the disk that they lie on."""
        folder = next(place for place in (self._folder, *self._folder.parents) if place.exists())
        disk = os.statvfs(folder)
        return disk.f_blocks * disk.f_frsize

    def kept(self, media_id: str | None = None) -> Iterator[Kept]:
        """What the note beside an original says, or those beside all, in the order of their media ids."""
        for note in sorted(self._folder.glob(f"{media_id[:2]}/{media_id}.json" if media_id else "*/*.json")):
            try:
                told = json.loads(note.read_bytes())
                yield Kept(record=as_json.record_from_json(told), path=bytes.fromhex(told[_PATH]))
            except (OSError, ValueError, KeyError, TypeError, WireError) as exc:
                _log.warning("note %s cannot be read (%s)", note.name, exc)

    def restore_into(self, ledger: Ledger, policy: Policy) -> int:
        """Tell a new ledger what the notes beside the originals say. Returns how many there were.

        A picture whose note cannot be read will be read from its card again.
        """
        count = 0
        for kept in self.kept():
            ledger.restore(kept.record, kept.path, wanted(kept.record, policy))
            count += 1
        return count


def _unread(exc: OSError) -> MediaError:
    """A file that is gone stays gone; what else keeps one from being read may pass."""
    gone = exc.errno in (errno.ENOENT, errno.ENOTDIR)
    return (MediaError if gone else NotReadNow)(f"the kept original cannot be read: {exc.strerror}")


def _note(record: Record, path: bytes) -> bytes:
    return json.dumps({**as_json.record_to_json(record), _PATH: path.hex()}, ensure_ascii=False).encode()


def _is_of_later_twin(note: Path, record: Record) -> bool:
    """Whether a worker that was faster wrote the note of the same bytes further on: the first path has the verdict."""
    try:
        written = as_json.record_from_json(json.loads(note.read_bytes()))
    except (OSError, ValueError, WireError):
        return True
    return written.reading_id == record.reading_id and written.path > record.path and record.scores is not None


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Tell a failing disk of ours from a failing card."""
    try:
        yield
    except OSError as exc:
        raise StorageError.of(f"{target.parent}: an original could not be kept", exc) from exc
