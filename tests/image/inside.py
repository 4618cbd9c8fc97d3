"""Runs the image's root file system as its deployment says: user, mounts, read-only root, no privileges.

What IoT Edge and an engine would do with the create options of `deployment.template.json`, done with `unshare`,
`mount` and `chroot`. The network and the clock are this machine's.
"""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from deployment.image.build import Image
from deployment.manifest.render import create_options, render

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "/run/iotedge/workload.sock"
LIMIT_S = 900
"""Emulated, on a busy machine."""


def options() -> dict[str, Any]:
    """The module's create options."""
    names = ("ARCH", "REPOSITORY", "VERSION", "REGISTRY_ADDRESS", "REGISTRY_USERNAME", "REGISTRY_PASSWORD")
    manifest = render((ROOT / "deployment.template.json").read_text(), dict.fromkeys(names, "x"))
    agent = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]
    return create_options(agent["modules"]["camtrap"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """How the image is run.

    Attributes:
        image: what is run.
        host: stands for the gateway's root: `/data/ponya` of a bind is `host/data/ponya`.
        leave_out: targets of binds that are forgotten.
        read_only: targets of binds that are mounted read-only against the deployment's word.
        full: targets of binds that have no room.
        socket: the workload socket that IoT Edge would mount, if any.
    """

    image: Image
    host: Path
    leave_out: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    socket: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def folder(self, target: str) -> Path:
        """The folder on the host that is bound to a target."""
        for bind in options()["HostConfig"]["Binds"]:
            source, found, *_ = bind.split(":")
            if found == target:
                return self.host / source.lstrip("/")
        raise AssertionError(target)

    def make_folders(self) -> None:
        """What the set-up script makes on a gateway."""
        uid, gid = map(int, options()["User"].split(":"))
        for target in ("/data", "/media/bundles", "/media/cards"):
            folder = self.folder(target)
            folder.mkdir(parents=True, exist_ok=True)
            if target != "/media/cards":
                subprocess.run(["chown", f"{uid}:{gid}", folder], check=True)

    def command(self, *words: str | Path, entrypoint: bool = True) -> list[str]:
        """What runs these words inside; without words, what the image runs by itself."""
        config = self.image.configuration()
        said = [str(word) for word in words]
        inner = [*config["Entrypoint"], *(said or config["Cmd"])] if entrypoint else said
        environment = dict(line.split("=", 1) for line in config["Env"]) | dict(self.environment)
        if self.socket is not None:
            environment["IOTEDGE_WORKLOADURI"] = f"unix://{SOCKET}"
        return ["unshare", "--mount", "--pid", "--fork", "--", "sh", "-euc", self._script(
            ["env", "--ignore-environment", *(f"{name}={value}" for name, value in environment.items()), *inner],
            config["WorkingDir"],
        )]  # fmt: skip

    def run(self, *words: str | Path, entrypoint: bool = True) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            self.command(*words, entrypoint=entrypoint),
            capture_output=True, text=True, check=False, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start what the image runs by itself."""
        return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @staticmethod
    def tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Send a signal to the first process inside, as an engine does; if it is killed, all others die with it.

        `unshare` passes none on, and its --kill-child is void: the kernel forgets it when the child changes its user.
        """
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), number)

    def _script(self, inner: list[str], working_folder: str) -> str:
        root, config = self.image.rootfs, options()["HostConfig"]
        assert config["ReadonlyRootfs"]
        assert config["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in config["SecurityOpt"]
        lines = [
            "mount --make-rprivate /",
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro {root}",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs -o mode=755 tmpfs {root}/dev",
        ]
        for device in ("null", "zero", "full", "random", "urandom"):
            lines += [f"touch {root}/dev/{device}", f"mount --bind /dev/{device} {root}/dev/{device}"]
        lines += [f"mount -t tmpfs -o {how} tmpfs {root}{target}" for target, how in config["Tmpfs"].items()]
        for bind in config["Binds"]:
            _, target, *more = f"{bind}:".split(":")[:3]
            if target in self.leave_out:
                continue
            lines.append(f"mount --rbind {self.folder(target)} {root}{target}")
            if "ro" in "".join(more).split(",") or target in self.read_only:
                lines.append(f"mount -o remount,bind,ro {root}{target}")
        lines += [f"mount -t tmpfs -o size=64k,mode=777 tmpfs {root}{target}" for target in self.full]
        if self.socket is not None:
            lines += [
                f"mount -t tmpfs tmpfs {root}/run",
                f"mkdir {root}/run/iotedge",
                f"touch {root}{SOCKET}",
                f"mount --bind {self.socket} {root}{SOCKET}",
            ]
        user = options()["User"]
        become = ["setpriv", "--no-new-privs", "chroot", f"--userspec={user}", f"--groups={user.split(':')[1]}"]
        lines.append(
            "exec " + shlex.join([*become, str(root), "sh", "-c", f'cd {working_folder} && exec "$@"', "sh", *inner])
        )
        return "\n".join(lines)


def expected() -> dict[str, dict[str, Any]]:
    """What the model is to say of its golden frames."""
    found: dict[str, dict[str, Any]] = json.loads((ROOT / "models/red_panda/golden/expected.json").read_text())
    return found
