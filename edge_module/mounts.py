"""The kernel's mount table: what is mounted where, and when that changes.

inotify does not tell of mounts. The table does: it signals POLLPRI and POLLERR on every change (proc_pid_mountinfo(5)),
so that nobody has to look again and again.
"""

import os
import re
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOUNTINFO: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_FIELDS_MIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One line of the table.

    Args:
        mount_id: unique while it is mounted.
        device: ``major:minor``.
        root: the folder within the file system that is mounted here; ``/`` unless it is bound from elsewhere.
        point: where.
        read_only: whether it, or its file system, cannot be written.
    """

    mount_id: int
    device: str
    root: str
    point: Path
    read_only: bool


def parse(table: bytes) -> tuple[Mounted, ...]:
    """Read a mount table, the earliest mount first; lines that are not understood are left out."""
    found = []
    for line in table.splitlines():
        fields = line.split(b" ")
        try:
            dash = fields.index(b"-", 6)
            if len(fields) < _FIELDS_MIN:
                continue
            options = {*fields[5].split(b","), *fields[dash + 3].split(b",")}
            found.append(
                Mounted(
                    mount_id=int(fields[0]),
                    device=fields[2].decode("ascii"),
                    root=_text(fields[3]),
                    point=Path(_text(fields[4])),
                    read_only=b"ro" in options,
                )
            )
        except (ValueError, IndexError):
            continue
    return tuple(found)


def _text(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))


class MountTable:
    """The mount table of this process; of another file for tests."""

    def __init__(self, path: Path = MOUNTINFO) -> None:
        self._path = path

    def read(self) -> tuple[Mounted, ...]:
        """What is mounted now; nothing where the kernel has no such table."""
        try:
            return parse(self._path.read_bytes())
        except OSError:
            return ()

    def at(self, point: Path) -> Mounted | None:
        """What is mounted at a place: the last of those on top of one another."""
        return next((mounted for mounted in reversed(self.read()) if mounted.point == point), None)


class MountWait:
    """Waits for a change of the table, until told to stop."""

    def __init__(self, path: Path = MOUNTINFO) -> None:
        """Begin to notice changes.

        Raises:
            OSError: there is no such table.
        """
        self._table = path.open("rb")
        self._stopping, self._stop = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._table, select.POLLPRI | select.POLLERR)
        self._poll.register(self._stopping, select.POLLIN)

    def wait(self) -> bool:
        """Sleep until the table has changed; False when told to stop."""
        return self._stopping not in {fd for fd, _ in self._poll.poll()}

    def stop(self) -> None:
        """End `wait`, in whatever thread."""
        os.write(self._stop, b"x")

    def close(self) -> None:
        """Nobody waits any more."""
        self._table.close()
        os.close(self._stopping)
        os.close(self._stop)
