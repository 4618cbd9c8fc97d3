"""What an update pulls: the layers that have changed, and no others."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.image.build import ROOT, Image, build
from deployment.image.errors import LeftOut
from deployment.image.machine import KINDS

MB = 1_000_000
LIMIT_S = 1800.0

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """The repository's files that go into an image, to be changed."""
    copy = tmp_path / "source"
    for name in ("Dockerfile.arm32v7", "Dockerfile.arm64v8", "Dockerfile.amd64", ".dockerignore", "LICENSE"):
        copy.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name in ("edge_module", "models/red_panda", "requirements", "deployment/image"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    yield copy
    shutil.rmtree(copy)


def test_an_update_of_the_code_alone_pulls_at_most_2_mb(image: Image, source: Path, tmp_path: Path) -> None:
    with (source / "edge_module/verdict.py").open("a") as code:
        code.write("\n# a change\n")
    try:
        changed = build(image.folder.name, tmp_path / "changed", limit_s=LIMIT_S, source=source, version="1")
    except LeftOut as exc:
        pytest.skip(f"cannot be built again now: {exc}")
    before = {digest for digest, _, _ in image.layers()}
    pulled = [(digest, size) for digest, size, _ in changed.layers() if digest not in before]
    assert len(pulled) == 1, "the code's layer and no other"
    assert sum(size for _, size in pulled) <= 2 * MB


def tree(folder: Path) -> str:
    """A digest of everything in a folder: names, modes, dates, contents."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        found.update(f"{path.relative_to(folder)} {stat.st_mode:o} {int(stat.st_mtime)}\n".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def test_the_same_lock_file_gives_the_same_wheels_layer_byte_for_byte(image: Image, tmp_path: Path) -> None:
    made = []
    for number in range(2):
        site = tmp_path / str(number) / "site"
        done = subprocess.run(
            ["bash", ROOT / "deployment/image/wheels.sh", KINDS[image.folder.name].docker, ROOT / "requirements", site],
            capture_output=True, text=True, check=False, timeout=LIMIT_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONHASHSEED": str(number)},
        )  # fmt: skip
        if done.returncode != 0 and "onnection" in done.stderr:
            pytest.skip("no network: wheels cannot be fetched")
        assert done.returncode == 0, done.stderr[-2000:]
        # Byte code names the folder that it was compiled in, as it should: compare the rest by that name.
        for code in site.rglob("*.pyc"):
            code.write_bytes(code.read_bytes().replace(str(site).encode(), b"site"))
            os.utime(code, (1_700_000_000, 1_700_000_000))
        made.append(tree(site))
    assert made[0] == made[1]
