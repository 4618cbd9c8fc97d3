"""Files that survive a power cut: written beside, flushed, renamed, and the folder flushed after them."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: the disk is full, read-only or failing; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename_durably(beside, path)


def rename_durably(source: Path, target: Path) -> None:
    """Rename within a folder, so that it is still renamed after a power cut."""
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
