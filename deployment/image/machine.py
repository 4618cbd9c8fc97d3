"""What building an image needs of this machine: tools, emulation of other processors, commands within their time."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deployment.image.errors import ImageError, LeftOut

TOOLS: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "arch-test": "arch-test"}
"""Commands, and the Debian package that has each."""
_BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
_FAULTS_OF_THE_NETWORK: Final = (
    "Temporary failure resolving", "Could not resolve", "Failed to fetch", "Unable to fetch", "Connection refused",
    "Connection timed out", "Could not connect", "NewConnectionError", "ReadTimeoutError", "Network is unreachable",
    "Max retries exceeded", "Hash Sum mismatch",
)  # fmt: skip
_TAIL_CHARACTERS: Final = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of processor, as each tool names it."""

    name: str
    docker: str
    variant: str
    debian: str
    emulator: str
    machines: tuple[str, ...]
    """What `uname -m` says where it runs natively."""


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            name="arm32v7", docker="arm", variant="v7", debian="armhf", emulator="qemu-arm",
            machines=("armv7l", "armv8l"),
        ),
        Kind(
            name="arm64v8", docker="arm64", variant="v8", debian="arm64", emulator="qemu-aarch64",
            machines=("aarch64",),
        ),
        Kind(
            name="amd64", docker="amd64", variant="", debian="amd64", emulator="qemu-x86_64", machines=("x86_64",)
        ),
    )
}  # fmt: skip


def native() -> Kind:
    """This machine's own kind.

    Raises:
        LeftOut: there is no image for it.
    """
    machine = os.uname().machine
    for kind in KINDS.values():
        if machine in kind.machines:
            return kind
    raise LeftOut(f"images are built on {', '.join(k.machines[0] for k in KINDS.values())}; this is {machine}")


@dataclass(slots=True)
class Machine:
    """Runs commands, their output into a log, all together within a time limit.

    Attributes:
        log: where their output goes.
        limit_s: seconds for all of them.
    """

    log: Path
    limit_s: float
    _end_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._end_s = time.monotonic() + self.limit_s

    def run(self, *command: str | Path) -> str:
        """Run a command to its end; returns what it printed on stdout.

        Raises:
            ImageError: it failed.
            LeftOut: for lack of a network or of time.
        """
        words = [str(word) for word in command]
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(words)}\n")
            log.flush()
            begin = log.tell()
            try:
                done = subprocess.run(  # noqa: S603 - our own words, no shell
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, check=False,
                    timeout=max(1.0, self._end_s - time.monotonic()),
                )  # fmt: skip
            except subprocess.TimeoutExpired as exc:
                raise LeftOut(
                    f"it was not done within {self.limit_s / 60:.0f} minutes; what is done is kept: run it again"
                ) from exc
            log.flush()
            said = self.log.read_text()[begin:]
            log.write(done.stdout)
        if done.returncode != 0:
            fault = next((line for line in said.splitlines() if any(f in line for f in _FAULTS_OF_THE_NETWORK)), None)
            if fault is not None:
                raise LeftOut(f"the network: {fault.strip()[:300]}")
            raise ImageError(f"{words[0]} failed; {self.log} has all of it:\n{said[-_TAIL_CHARACTERS:]}")
        return done.stdout


def require(kind: Kind) -> None:
    """See to it that images of this kind can be built and run here.

    Raises:
        LeftOut: they cannot; says what is missing.
    """
    if os.geteuid() != 0:
        raise LeftOut("building without a container engine needs root")
    missing = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if missing:
        raise LeftOut(f"not installed: {', '.join(missing)} (apt-get install {' '.join(missing)} qemu-user-static)")
    if os.uname().machine not in kind.machines:
        _emulate(kind)


def _emulate(kind: Kind) -> None:
    if not (_BINFMT / "register").exists():
        mounted = subprocess.run(  # noqa: S603
            ["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT],  # noqa: S607 - found by PATH on purpose
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode != 0:
            raise LeftOut(f"binfmt_misc cannot be mounted here: {mounted.stderr.strip()}")
    if (_BINFMT / kind.emulator).exists():
        return
    rule = Path(f"/usr/lib/binfmt.d/{kind.emulator}.conf")
    try:
        (_BINFMT / "register").write_text(rule.read_text())
    except OSError as exc:
        raise LeftOut(f"{kind.emulator} cannot be registered ({exc}); apt-get install qemu-user-static") from exc
