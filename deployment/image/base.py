"""The base of the image: Debian 12 as its `bookworm-slim` is, made by mmdebstrap, kept between builds."""

import logging
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from deployment.image.errors import LeftOut
from deployment.image.machine import Kind, Machine

_log = logging.getLogger(__name__)
_OLD_S: Final = 30 * 86400.0
"""A base older than this is made anew, for the sake of security updates."""
_SLIM: Final = (
    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/lintian/*",
)  # fmt: skip


def make(kind: Kind, cache: Path, machine: Machine) -> Path:
    """The base's root file system as a tar file; a cached one if there is one that is not old.

    Raises:
        LeftOut: it cannot be made here and now.
    """
    path = cache / f"bookworm-{kind.debian}.tar"
    if path.exists() and time.time() - path.stat().st_mtime < _OLD_S:
        return path
    making = path.with_suffix(".part")
    making.unlink(missing_ok=True)
    mirrors = _mirrors()
    main_only = [mirror for mirror in mirrors if mirror.endswith(" bookworm main")]
    try:
        try:
            _bootstrap(kind, making, mirrors, machine)
        except LeftOut as exc:
            _log.warning("the base of %s comes without updates for now: %s", kind.name, exc)
            _bootstrap(kind, making, main_only, machine)
    except LeftOut as exc:
        if path.exists():
            _log.warning("the base of %s is old and cannot be renewed (%s): the old one it is", kind.name, exc)
            return path
        raise
    finally:
        making.unlink(missing_ok=True)
    return path


def _bootstrap(kind: Kind, making: Path, mirrors: list[str], machine: Machine) -> None:
    machine.run(
        "mmdebstrap", "--format=tar", "--aptopt=Acquire::Retries 3", f"--architectures={kind.debian}",
        "--variant=minbase", "--include=ca-certificates", *(f"--dpkgopt={rule}" for rule in _SLIM),
        "bookworm", making, *mirrors,
    )  # fmt: skip
    making.rename(making.with_suffix(".tar"))


def _mirrors() -> list[str]:
    """Where this machine's own apt gets Debian 12 from: `deb` lines.

    Raises:
        LeftOut: it is not a Debian 12.
    """
    if shutil.which("apt-get") is None:
        raise LeftOut("the base is made on a Debian; there is no apt here")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)", "Created-By: Packages"],  # noqa: S607
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    sources = sorted({line.rsplit(" ", 1)[0] for line in listed.splitlines() if line.endswith(" Debian")})
    suites = [f"deb {source} main" for source in sources if " bookworm" in source]
    if not suites:
        raise LeftOut("this machine's apt knows no source of Debian 12 (bookworm)")
    return suites
