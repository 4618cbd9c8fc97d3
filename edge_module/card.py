"""A card, or any folder read like one: whose it is, what lies on it, its bytes. Nothing is ever written to it.

Everything on a card is somebody else's: names that are not UTF-8, links that lead elsewhere, folders without end.
"""

import hashlib
import io
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import yaml

from edge_module.domain import Card, Fate, Media
from edge_module.errors import CardError, MediaError
from edge_module.listing import Listed, fingerprint

MARKER_NAME: Final = "ponya.yml"
"""A file that people may put on a card to name it: ``card: NAME``."""
_MARKER_MAX_BYTES: Final = 4096

PICTURE_SUFFIXES: Final = frozenset({b".jpg", b".jpeg", b".jpe", b".png", b".webp"})
UNSCORED_SUFFIXES: Final = {
    **dict.fromkeys((b".mp4", b".avi", b".mov", b".m4v", b".mkv", b".mts", b".3gp", b".wmv", b".asf"), "video"),
    **dict.fromkeys((b".dng", b".cr2", b".cr3", b".nef", b".arw", b".raf", b".rw2"), "raw picture"),
    **dict.fromkeys((b".heic", b".heif", b".tif", b".tiff", b".bmp", b".gif"), "picture format"),
}
"""What may show an animal and cannot be scored: a person should look."""

_SYSTEM_FOLDERS: Final = frozenset(
    {
        b".thumbnails", b"thumbnails", b".thumb", b"@eadir", b".trashes", b".spotlight-v100", b".fseventsd",
        b"system volume information", b"$recycle.bin", b"lost+found", b".trash-0", b".trash-1000",
    }
)  # fmt: skip
_CHUNK_BYTES: Final = 1 << 20
_ENTRIES_AT_ONCE: Final = 256
_HOSTS_NAME: Final = re.compile(r"[a-z0-9]+\.([0-9A-Fa-f-]{8,36})")
"""``sda1.6B1A-0F2E``: of the device and the file system's UUID."""
_UDEV_UUID: Final = "E:ID_FS_UUID="
_TAKEN_OUT: Final = "the card was taken out"

PICTURE_MAX_BYTES: Final = 64 * 2**20
"""A larger picture file is not held in memory: no trap writes one."""


class StillGrowing(MediaError):  # noqa: N818 - named by what to do
    """Somebody is writing to this file: wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file's bytes hash to, and the bytes themselves if it is a picture of at most `PICTURE_MAX_BYTES`."""

    media_id: str
    data: bytes


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
            raise CardError(_TAKEN_OUT)
        self._waiting[threading.get_ident()] = self._monotonic_s()

    def __exit__(self, *_exc: object) -> None:
        self._waiting.pop(threading.get_ident(), None)

    def waits_s(self) -> float:
        """For how long the longest read has been under way; 0 if none is."""
        return self._monotonic_s() - min(list(self._waiting.values()), default=self._monotonic_s())


class _File(io.FileIO):
    """A file of a card: whoever reads it is known to wait for the card."""

    def __init__(self, fd: int, card: CardIO) -> None:
        super().__init__(fd, "rb")
        self._card = card

    def readinto(self, buffer: Any, /) -> int | None:
        with self._card:
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self._card:
            return super().readall()


class Mount:
    """A mounted card or a folder, held by the file system it was opened on."""

    def __init__(self, root: Path, *, io: CardIO | None = None, uuid_of: "Callable[[int], str] | None" = None) -> None:
        """Open a card.

        Args:
            root: of the card.
            io: knows when the card keeps somebody waiting.
            uuid_of: says the UUID of a file system by its device, `filesystem_uuid` unless given.

        Raises:
            CardError: it cannot be read.
        """
        self._io = io or CardIO()
        self._uuid_of = uuid_of or filesystem_uuid
        self._root = os.fsencode(root)
        try:
            with self._io:
                self._device = root.stat().st_dev
                os.scandir(self._root).close()
        except OSError as exc:
            raise CardError(f"{root}: {exc.strerror}; insert the card, or name a folder that can be read") from exc
        self.root = root

    def identify(self) -> Card:
        """Say which card this is: its marker file, else its file system's UUID, else the folder's own place.

        The UUID is udev's; where there is none, as in a container, the one that the host has mounted the card by.
        """
        if name := self._marker():
            return Card(card_id=f"marker-{_short_hash(name.encode('utf-8', 'surrogatepass'))}", source="marker")
        if self.root.is_mount() and (uuid := self._uuid_of(self._device) or _uuid_in(self.root.name)):
            return Card(card_id=f"volume-{uuid.lower()}", source="filesystem")
        # Hashed: where people keep their folders is nobody's business.
        return Card(card_id=f"folder-{_short_hash(os.fsencode(self.root.resolve()))}", source="folder")

    def is_empty(self) -> bool:
        """Whether nothing lies on it at all.

        Raises:
            CardError: it cannot be read.
        """
        try:
            with self._io, os.scandir(self._root) as entries:
                return next(entries, None) is None
        except OSError as exc:
            raise CardError(f"{self.root}: {exc.strerror}; insert the card again") from exc

    def _marker(self) -> str | None:
        try:
            with self.open(Media(path=os.fsencode(MARKER_NAME), size_bytes=0, mtime_ns=0)) as file:
                marker = yaml.safe_load(file.read(_MARKER_MAX_BYTES) or b"")
        except (OSError, yaml.YAMLError, ValueError, RecursionError):
            return None
        name = marker.get("card") if isinstance(marker, dict) else None
        # Not str() of whatever stands there: aliases make 4 KB of YAML into terabytes of text.
        return str(name) if isinstance(name, str | int) and name else None

    def check(self) -> None:
        """Make sure that the card is still there.

        Raises:
            CardError: it was pulled out.
        """
        try:
            with self._io:
                present = self.root.stat().st_dev == self._device
        except OSError:
            present = False
        if not present:
            raise CardError(_TAKEN_OUT)

    def files(self) -> Iterator[Listed]:
        """Every file on the card, folder by folder, in no particular order; links and other file systems not followed.

        A folder that cannot be read is one entry, its path ending in a slash.

        Raises:
            CardError: the card was taken out.
        """
        folders: list[tuple[bytes, bool]] = [(b"", False)]
        while folders:
            folder, in_system = folders.pop()
            try:
                with self._io:
                    entries = os.scandir(os.path.join(self._root, folder))  # noqa: PTH118 - bytes
            except OSError as exc:
                yield self._unlisted(folder, exc)
                continue
            with entries:
                while some := self._some(entries, folder, folders, in_system=in_system):
                    yield from (listed for listed in some if listed is not None)
        self.check()  # what was mounted here may be gone, and the folder beneath it empty

    def _some(
        self,
        entries: "Iterator[os.DirEntry[bytes]]",
        folder: bytes,
        folders: list[tuple[bytes, bool]],
        *,
        in_system: bool,
    ) -> list[Listed | None]:
        """The next entries of a folder, None for each folder among them; those are left in `folders` to be entered."""
        some: list[Listed | None] = []
        try:
            with self._io:
                for entry in islice(entries, _ENTRIES_AT_ONCE):
                    path = folder + b"/" + entry.name if folder else entry.name
                    if entry.is_dir(follow_symlinks=False) and not self._elsewhere(entry):
                        folders.append((path, in_system or entry.name.lower() in _SYSTEM_FOLDERS))
                        some.append(None)
                    else:
                        some.append(self._listed(entry, path, in_system=in_system))
        except OSError as exc:
            some.append(self._unlisted(folder, exc))
        return some

    def _unlisted(self, folder: bytes, exc: OSError) -> Listed:
        self.check()
        media = Media(path=folder + b"/", size_bytes=0, mtime_ns=0)
        return Listed(media=media, fate=Fate.UNREADABLE, reason=f"folder cannot be read: {exc.strerror}")

    def _elsewhere(self, entry: "os.DirEntry[bytes]") -> bool:
        return entry.stat(follow_symlinks=False).st_dev != self._device

    def _listed(self, entry: "os.DirEntry[bytes]", path: bytes, *, in_system: bool) -> Listed:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as exc:
            self.check()
            media = Media(path=path, size_bytes=0, mtime_ns=0)
            return Listed(media=media, fate=Fate.UNREADABLE, reason=f"cannot be looked at: {exc.strerror}")
        media = Media(path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
        reason = _why_ignored(path, status, in_system=in_system)
        return Listed(media=media, fate=Fate.IGNORED, reason=reason) if reason else Listed(media=media)

    def fingerprint(self) -> bytes:
        """A hash of everything that is listed, whatever the order: the same card unchanged has the same."""
        return fingerprint(listed.media for listed in self.files())

    def head(self, media: Media, length: int) -> tuple[bytes, Media]:
        """The first bytes of a file, and the file as it is now.

        Raises:
            OSError: it cannot be read.
        """
        with self.open(media) as file:
            status = os.fstat(file.fileno())
            return file.read(length), Media(path=media.path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)

    def read(self, media: Media) -> Content:
        """Read and hash a file.

        Raises:
            StillGrowing: it is not the file that was listed, or was written to while it was read.
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        data = b""
        with self.open(media) as file:
            if is_picture(media) and media.size_bytes <= PICTURE_MAX_BYTES:
                data = file.read(media.size_bytes)
                digest.update(data)
            else:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (media.size_bytes, media.mtime_ns):
                raise StillGrowing("still growing")
        return Content(media_id=digest.hexdigest(), data=data)

    def open(self, media: Media) -> BinaryIO:
        """Open a file of the card for reading.

        Raises:
            OSError: it cannot be opened.
        """
        # Not through a link that took the file's place, and without blocking on a pipe that did.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._io:
            fd = os.open(os.path.join(self._root, media.path), flags)  # noqa: PTH118
        return BufferedReader(_File(fd, self._io))


def is_picture(media: Media) -> bool:
    """Whether the name says that this is a picture the model can look at."""
    return _suffix(media.path) in PICTURE_SUFFIXES


def why_unscored(media: Media) -> str:
    """What kind of file this is that the model cannot look at and a person should; empty for pictures."""
    return UNSCORED_SUFFIXES.get(_suffix(media.path), "")


def _suffix(path: bytes) -> bytes:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _why_ignored(path: bytes, status: os.stat_result, *, in_system: bool) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "symbolic link, not followed"
    if stat.S_ISDIR(status.st_mode):
        return "another file system, not entered"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    name = os.path.basename(path)  # noqa: PTH119
    if name == os.fsencode(MARKER_NAME):
        return "Ponya's marker"
    if name.startswith(b"._"):
        return "macOS's shadow of another file"
    if in_system:
        return "in a folder of the operating system's"
    if _suffix(path) not in PICTURE_SUFFIXES and _suffix(path) not in UNSCORED_SUFFIXES:
        return "neither a picture nor a video"
    return ""


def filesystem_uuid(device: int, *, dev: Path = Path("/dev"), run_udev: Path = Path("/run/udev")) -> str:
    """The UUID that udev knows a block device's file system by; empty where there is none (tmpfs, network).

    Args:
        device: as `stat` gives it in ``st_dev``.
        dev: holds ``disk/by-uuid``; a container's own has none.
        run_udev: udev's database, ``data/b<major>:<minor>``, which a container may be given.
    """
    try:
        for link in (dev / "disk" / "by-uuid").iterdir():
            if link.stat().st_rdev == device:
                return link.name
    except OSError:
        pass  # no udev here
    try:
        known = (run_udev / "data" / f"b{os.major(device)}:{os.minor(device)}").read_text(errors="replace")
    except OSError:
        return ""  # the folder's place has to do
    for line in known.splitlines():
        if line.startswith(_UDEV_UUID):
            return line.removeprefix(_UDEV_UUID)
    return ""


def _uuid_in(name: str) -> str:
    """The UUID in the name of a place that `deployment/host/files/card-added` made; empty in another."""
    told = _HOSTS_NAME.fullmatch(name)
    return told[1] if told else ""


def _short_hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]
