"""Builds the image from the Dockerfile with buildah and lays it out: root file system, layers, configuration."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deployment.image import base
from deployment.image.errors import ImageError, LeftOut
from deployment.image.machine import KINDS, Kind, Machine, native, require

ROOT: Final = Path(__file__).resolve().parents[2]
_TIMESTAMP: Final = "1700000000"
"""Of every file in the image: the same input gives the same layers."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image.

    Attributes:
        folder: `rootfs` is its root file system, `oci` what a registry would serve.
    """

    folder: Path

    @property
    def rootfs(self) -> Path:
        """Its root file system, unpacked."""
        return self.folder / "rootfs"

    def configuration(self) -> dict[str, Any]:
        """User, entry point, environment, labels: OCI's image configuration."""
        digest = self._manifest()["config"]["digest"]
        return dict(json.loads(self._blob(digest).read_text())["config"])

    def layers(self) -> list[tuple[str, int, Path]]:
        """Digest, bytes to pull and file of each layer, lowest first."""
        return [(one["digest"], one["size"], self._blob(one["digest"])) for one in self._manifest()["layers"]]

    def unpacked_bytes(self) -> int:
        """What it takes on a gateway's disk: the bytes of all files, a hard link once."""
        seen: dict[tuple[int, int], int] = {}
        for folder, _, names in os.walk(self.rootfs):
            for name in names:
                found = os.lstat(Path(folder) / name)
                seen[found.st_dev, found.st_ino] = found.st_size
        return sum(seen.values())

    def _manifest(self) -> dict[str, Any]:
        index = json.loads((self.folder / "oci/index.json").read_text())
        return dict(json.loads(self._blob(index["manifests"][0]["digest"]).read_text()))

    def _blob(self, digest: str) -> Path:
        return self.folder / "oci/blobs" / digest.replace(":", "/")


def cache_folder() -> Path:
    """Where bases and layers are kept between builds: outside of the repository, so that they survive it."""
    given = os.environ.get("PONYA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (Path(given) if given else home / "ponya") / "image"


def build(name: str, target: Path, *, limit_s: float, source: Path = ROOT, version: str = "0") -> Image:
    """Build the image of one kind and lay it out in a folder, in place of what was there.

    Args:
        name: ``arm32v7``, ``arm64v8`` or ``amd64``.
        target: the folder; it gets `rootfs`, `oci` and `build.log`.
        limit_s: seconds it may take.
        source: the repository's root.
        version: for the label.

    Raises:
        ImageError: the build failed.
        LeftOut: this machine cannot build it, or not within the time.
    """
    kind = KINDS[name]
    require(kind)
    target.mkdir(parents=True, exist_ok=True)
    machine = Machine(target / "build.log", limit_s)
    machine.log.write_text("")
    with _alone(cache_folder(), limit_s), _unless_cut_off(cache_folder()):
        store = _Store(cache_folder(), machine)
        for needed in {native().name: native(), kind.name: kind}.values():
            store.have_base(needed)
        # Tagged, so that what pruning leaves is just what the next build can use again.
        store.build(kind, source, f"wheels:{kind.name}", version, "--target", "wheels")
        store.build(kind, source, f"gateway:{kind.name}", version)
        store.lay_out(f"gateway:{kind.name}", target)
        store.prune()
    return Image(target)


@contextlib.contextmanager
def _alone(cache: Path, limit_s: float) -> Iterator[None]:
    """Wait until no other build uses the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    end_s = time.monotonic() + limit_s
    with (cache / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as exc:
                if time.monotonic() > end_s:
                    raise LeftOut("another build has been running all the time") from exc
                time.sleep(1)
        yield


@contextlib.contextmanager
def _unless_cut_off(cache: Path) -> Iterator[None]:
    """Begin with an empty storage if the last build was cut off: what that left cannot be trusted. Bases stay."""
    mark = cache / "unfinished"
    if mark.exists():
        for folder in (*cache.glob("storage-*"), *cache.glob("run-*")):
            for mounted in sorted(folder.glob("overlay/*/merged"), reverse=True):
                subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)  # noqa: S603, S607
            shutil.rmtree(folder)
        for imported in cache.glob("*.imported"):
            imported.unlink()
    mark.touch()
    try:
        yield
    except ImageError:
        mark.unlink()
        raise
    mark.unlink()


class _Store:
    """buildah's storage in the cache folder."""

    def __init__(self, cache: Path, machine: Machine) -> None:
        self._cache, self._machine = cache, machine
        # overlay needs a kernel and a file system that allow it; vfs copies everything for each layer, anywhere.
        works = subprocess.run([*_buildah(cache, "overlay"), "info"], capture_output=True, check=False)  # noqa: S603
        self._buildah = _buildah(cache, "overlay" if works.returncode == 0 else "vfs")

    def have_base(self, kind: Kind) -> None:
        """Import the base under `localhost/base:KIND`, unless this very one is there."""
        tar = base.make(kind, self._cache, self._machine)
        mark = tar.with_suffix(".imported")
        stamp = str(tar.stat().st_mtime_ns)
        there = subprocess.run(  # noqa: S603 - our own words
            [*self._buildah, "inspect", "--type", "image", f"localhost/base:{kind.name}"],
            capture_output=True, check=False,
        )  # fmt: skip
        if there.returncode == 0 and mark.exists() and mark.read_text() == stamp:
            return
        container = self._run("from", *_platform(kind), "scratch").strip()
        self._run("add", "--quiet", container, tar, "/")
        self._run(
            "config", "--arch", kind.docker, *(("--variant", kind.variant) if kind.variant else ()), "--os", "linux",
            "--cmd", "bash", container,
        )  # fmt: skip
        self._run("commit", "--quiet", "--rm", "--timestamp", _TIMESTAMP, container, f"localhost/base:{kind.name}")
        mark.write_text(stamp)

    def build(self, kind: Kind, source: Path, tag: str, version: str, *more: str) -> None:
        """Build the Dockerfile, or one stage of it."""
        self._run(
            "bud", "--format", "docker", "--isolation", "chroot", "--pull-never", *_platform(kind), "--layers",
            "--timestamp", _TIMESTAMP,
            "--build-arg", f"BASE=localhost/base:{kind.name}",
            "--build-arg", f"BUILD_BASE=localhost/base:{native().name}",
            "--build-arg", f"TARGETARCH={kind.docker}",
            "--build-arg", f"TARGETPLATFORM=linux/{kind.docker}{kind.variant and '/' + kind.variant}",
            "--build-arg", f"BUILDPLATFORM=linux/{native().docker}",
            "--build-arg", f"VERSION={version}",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro",
            "--file", source / f"Dockerfile.{kind.name}", "--tag", f"localhost/{tag}", *more, source,
        )  # fmt: skip

    def lay_out(self, tag: str, target: Path) -> None:
        """Write the image's root file system and its registry form."""
        for name in ("rootfs", "oci"):
            shutil.rmtree(target / name, ignore_errors=True)
        container = self._run("from", "--pull-never", f"localhost/{tag}").strip()
        mounted = self._run("mount", container).strip()
        self._machine.run("cp", "--archive", mounted, target / "rootfs")
        self._run("umount", container)
        self._run("rm", container)
        self._run("push", "--quiet", f"localhost/{tag}", f"oci:{target / 'oci'}")

    def prune(self) -> None:
        """Remove what no tag needs."""
        self._run("rmi", "--prune")

    def _run(self, *words: str | Path) -> str:
        return self._machine.run(*self._buildah, *words)


def _buildah(cache: Path, driver: str) -> tuple[str, ...]:
    return (
        "buildah", "--root", str(cache / f"storage-{driver}"), "--runroot", str(cache / f"run-{driver}"),
        "--storage-driver", driver,
    )  # fmt: skip


def _platform(kind: Kind) -> tuple[str, ...]:
    return ("--arch", kind.docker, *(("--variant", kind.variant) if kind.variant else ()))
