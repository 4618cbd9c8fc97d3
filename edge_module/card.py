"""A card, or any folder read like one: whose it is, what lies on it, its bytes. Nothing is ever written to it.

Everything on a card is somebody else's: names that are not UTF-8, links that lead elsewhere, folders without end.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import yaml

from edge_module.card_io import TAKEN_OUT, CardFile, CardIO
from edge_module.domain import Card, Fate, Media
from edge_module.errors import CardError, MediaError
from edge_module.kinds import MARKER_NAME, is_picture, why_ignored
from edge_module.listing import Listed, fingerprint
from edge_module.volumes import filesystem_uuid, uuid_in

_MARKER_MAX_BYTES: Final = 4096

_SYSTEM_FOLDERS: Final = frozenset(
    {
        b".thumbnails", b"thumbnails", b".thumb", b"@eadir", b".trashes", b".spotlight-v100", b".fseventsd",
        b"system volume information", b"$recycle.bin", b"lost+found", b".trash-0", b".trash-1000",
    }
)  # fmt: skip
_CHUNK_BYTES: Final = 1 << 20
_ENTRIES_AT_ONCE: Final = 256

PICTURE_MAX_BYTES: Final = 64 * 2**20
"""A larger picture file is not held in memory: no trap writes one."""


class StillGrowing(MediaError):  # noqa: N818 - named by what to do
    """Somebody is writing to this file: wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file's bytes hash to, and the bytes themselves if it is a picture of at most `PICTURE_MAX_BYTES`."""

    media_id: str
    data: bytes


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
        if self.root.is_mount() and (uuid := self._uuid_of(self._device) or uuid_in(self.root.name)):
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
            raise CardError(TAKEN_OUT)

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
        reason = why_ignored(path, status, in_system=in_system)
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
        return BufferedReader(CardFile(fd, self._io))


def _short_hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]
