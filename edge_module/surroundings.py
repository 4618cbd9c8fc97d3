"""What `run` needs around it, looked at before anything starts: mounts, a data folder that takes writes, IoT Edge.

IoT Edge starts a container with a missing or read-only mount as readily as a whole one; what was then learnt would be
gone with the container, or nothing would ever be sent. So a gateway refuses to start, in a line; IoT Edge tries again.
"""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from edge_module.errors import SurroundingsError
from edge_module.settings import Settings
from edge_module.storage import throw_off_ballast

_PROBE_BYTES: Final = 256 * 1024
"""About what the ledger's first transaction and its log take: less room than this is none."""
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")
"""How the kernel writes spaces and the like."""
_WORKLOAD: Final = "IOTEDGE_WORKLOADURI"
_BESIDE: Final = "EdgeHubConnectionString"
"""What Azure's SDK takes instead where IoT Edge is simulated."""


def check(settings: Settings, environment: Mapping[str, str]) -> None:
    """Look at everything `run` needs.

    Raises:
        SurroundingsError: the first thing that is missing, and what to do.
    """
    _check_mounts(settings.must_be_mounts)
    _check_data(Path(settings.data_dir).expanduser())
    _check_workload(environment)


def _check_mounts(wanted: str | None) -> None:
    mounted = _mount_points()
    for folder in wanted.split(":") if wanted else ():
        if os.path.realpath(folder) not in mounted:
            raise SurroundingsError(
                f"{folder}: nothing is mounted there: the container was started without its mounts; bind a folder of"
                " the gateway to it (deployment.template.json: Binds)"
            )


def _mount_points() -> set[str]:
    """Where something is mounted. Bound folders of the same disk count, which `os.path.ismount` cannot tell."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return {os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4])) for line in lines}


def _check_data(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _probe(folder)
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            throw_off_ballast(folder)  # then what is owed can still leave and make room
            _probe(folder)
    except OSError as exc:
        raise SurroundingsError(
            f"{folder}: cannot be written to ({exc.strerror}): the ledger and the kept originals live there; see to it"
            f" that it is mounted writable, has room and belongs to user {os.geteuid()}"
        ) from exc


def _probe(folder: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".probe-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()


def _check_workload(environment: Mapping[str, str]) -> None:
    if _BESIDE in environment:
        return
    address = environment.get(_WORKLOAD)
    if not address:
        raise SurroundingsError(
            f"{_WORKLOAD} is not set: `run` is for IoT Edge to start; to read a card by hand use `scan`"
        )
    parts = urlsplit(address)
    if parts.scheme != "unix":
        return
    socket = Path(unquote(parts.path))
    # The socket itself may be missing for a while, when IoT Edge starts anew: that is waited for.
    if not socket.parent.is_dir() or (socket.exists() and not stat.S_ISSOCK(socket.stat().st_mode)):
        raise SurroundingsError(
            f"{socket}: there is no workload socket: the container was started without it; IoT Edge mounts it by"
            " itself, so start the module through a deployment"
        )
