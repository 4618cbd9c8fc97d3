"""The folder that a demonstration fills: made new by each, left behind to be looked at."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deployment.demo.errors import DemoError

FREE_MIN_BYTES: Final = 300_000_000
"""The demo card, its kept originals, their pictures in Azurite, databases and logs take some 60 MB."""

_MARK: Final = ".ponya-demo"


@contextmanager
def fresh(folder: Path, *, free_min_bytes: int = FREE_MIN_BYTES) -> Iterator[Path]:
    """Empty the folder of the last demonstration's things and keep it for this one.

    Raises:
        DemoError: it belongs to somebody else, another demonstration uses it, or the disk is full.
    """
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoError(f"{folder} holds other things, and a demonstration begins by emptying it: choose another")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < free_min_bytes:
        raise DemoError(
            f"no disk space: {folder} has {free / 1e6:.0f} MB free, {free_min_bytes / 1e6:.0f} MB are needed"
        )
    with mark.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DemoError(f"another demonstration is running in {folder}: end it, or choose another") from exc
        for entry in os.scandir(folder):
            if entry.name != _MARK:
                shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else Path(entry).unlink()
        yield folder
