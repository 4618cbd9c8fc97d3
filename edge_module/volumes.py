"""The UUID of a card's file system, as udev or the host's own mount knows it."""

import os
import re
from pathlib import Path
from typing import Final

_HOSTS_NAME: Final = re.compile(r"[a-z0-9]+\.([0-9A-Fa-f-]{8,36})")
"""``sda1.6B1A-0F2E``: of the device and the file system's UUID."""
_UDEV_UUID: Final = "E:ID_FS_UUID="


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


def uuid_in(name: str) -> str:
    """The UUID in the name of a place that `deployment/host/files/card-added` made; empty in another."""
    told = _HOSTS_NAME.fullmatch(name)
    return told[1] if told else ""
