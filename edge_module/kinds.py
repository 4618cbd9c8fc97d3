"""What kind of file lies on a card, by its name: one to score, one for a person to look at, or none of ours. Pure."""

import os
import stat
from typing import Final

from edge_module.domain import Media

MARKER_NAME: Final = "ponya.yml"
"""A file that people may put on a card to name it: ``card: NAME``."""
PICTURE_SUFFIXES: Final = frozenset({b".jpg", b".jpeg", b".jpe", b".png", b".webp"})
UNSCORED_SUFFIXES: Final = {
    **dict.fromkeys((b".mp4", b".avi", b".mov", b".m4v", b".mkv", b".mts", b".3gp", b".wmv", b".asf"), "video"),
    **dict.fromkeys((b".dng", b".cr2", b".cr3", b".nef", b".arw", b".raf", b".rw2"), "raw picture"),
    **dict.fromkeys((b".heic", b".heif", b".tif", b".tiff", b".bmp", b".gif"), "picture format"),
}
"""What may show an animal and cannot be scored: a person should look."""


def is_picture(media: Media) -> bool:
    """Whether the name says that this is a picture the model can look at."""
    return _suffix(media.path) in PICTURE_SUFFIXES


def why_unscored(media: Media) -> str:
    """What kind of file this is that the model cannot look at and a person should; empty for pictures."""
    return UNSCORED_SUFFIXES.get(_suffix(media.path), "")


def _suffix(path: bytes) -> bytes:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def why_ignored(path: bytes, status: os.stat_result, *, in_system: bool) -> str:
    """Why a file is none of ours; empty if it is one."""
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
