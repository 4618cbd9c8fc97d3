"""Building the image: what this machine cannot do is left out aloud, what is wrong with the image is an error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployment.image import build
from deployment.image.errors import ImageError, LeftOut
from deployment.image.machine import KINDS, Machine, require

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "log", limit_s=60)


def test_a_command_that_fails_is_the_images_fault_and_says_what_it_said(machine: Machine) -> None:
    with pytest.raises(ImageError, match="no such package as frob"):
        machine.run("sh", "-c", "echo 'no such package as frob' >&2; exit 3")
    assert "no such package as frob" in machine.log.read_text()


@pytest.mark.parametrize(
    "said",
    ["E: Failed to fetch http://mirror/x  File has unexpected size", "Temporary failure resolving 'mirror'"],
)
def test_a_network_that_fails_is_not(machine: Machine, said: str) -> None:
    with pytest.raises(LeftOut, match="the network: "):
        machine.run("sh", "-c", f'echo "{said}" >&2; exit 100')


def test_a_fault_of_an_earlier_command_is_not_taken_for_this_ones(machine: Machine) -> None:
    machine.run("sh", "-c", "echo 'Failed to fetch, tried again' >&2")
    with pytest.raises(ImageError):
        machine.run("false")


def test_what_is_not_done_in_time_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(LeftOut, match="not done within"):
        Machine(tmp_path / "log", limit_s=0.01).run("sleep", "60")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as the tools")
def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LeftOut, match="not installed: buildah, mmdebstrap"):
        require(KINDS["arm32v7"])


def test_the_command_says_aloud_what_it_leaves_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployment.image", "arm32v7", "--target", tmp_path],
        cwd=ROOT, env={"PATH": "", "PONYA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 75
    assert done.stderr.startswith("the image of arm32v7 is left out, because: ")


def test_after_a_build_that_was_cut_off_layers_are_made_anew_and_bases_kept(tmp_path: Path) -> None:
    (tmp_path / "bookworm-armhf.tar").touch()
    (tmp_path / "bookworm-armhf.imported").touch()
    (tmp_path / "storage-vfs" / "vfs").mkdir(parents=True)
    with pytest.raises(LeftOut), build._unless_cut_off(tmp_path):
        raise LeftOut
    assert (tmp_path / "storage-vfs").exists(), "not yet: what is done is kept until the next time"
    with build._unless_cut_off(tmp_path):
        assert not (tmp_path / "storage-vfs").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bookworm-armhf.tar"]
    (tmp_path / "storage-vfs").mkdir()
    with pytest.raises(ImageError), build._unless_cut_off(tmp_path):
        raise ImageError
    with build._unless_cut_off(tmp_path):
        assert (tmp_path / "storage-vfs").exists(), "a wrong image leaves a whole storage"


def test_the_three_dockerfiles_are_one() -> None:
    for name in ("arm64v8", "amd64"):
        assert (ROOT / f"Dockerfile.{name}").readlink() == Path("Dockerfile.arm32v7")
    scripts = (ROOT / "deployment/image/wheels.sh").read_text()
    assert {kind.docker for kind in KINDS.values()} == set(re.findall(r"^  (\w+)\) lock=", scripts, re.MULTILINE))


def test_nothing_but_what_is_named_goes_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    dockerfile = (ROOT / "Dockerfile.arm32v7").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for word in line.split()
    }  # fmt: skip
    assert {line[1:] for line in lines if line.startswith("!")} == copied


@pytest.mark.parametrize("name", ["arm32v7", "64bit"])
def test_the_image_has_what_the_gateway_needs(name: str) -> None:
    """Each thing of the `edge` extra comes from the lock file or from Debian."""
    extra = re.search(r"^edge = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert extra
    needed = set(re.findall(r'^  "([\w-]+)', extra.group(1), re.MULTILINE))
    needed -= {"ai-edge-litert"} if name == "arm32v7" else {"tflite-runtime"}
    locked = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
    dockerfile = (ROOT / "Dockerfile.arm32v7").read_text()
    debian = {"numpy": "python3-numpy", "Pillow": "python3-pil", "PyNaCl": "python3-nacl", "pyyaml": "python3-yaml"}
    assert {one for one in needed - locked if debian.get(one, "-") not in dockerfile} == set()
