"""A gateway that lacks something does not start, and says in one line what: mounts, a data folder, IoT Edge."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module import surroundings
from edge_module.errors import SurroundingsError
from edge_module.settings import combine
from tests.edge_cli import Run, edge

AS_ROOT = os.geteuid() == 0
NEEDS_MOUNTS = pytest.mark.skipif(
    not AS_ROOT or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="mounting needs root",
)


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What IoT Edge tells a module, and its socket."""
    path = tmp_path / "run" / "workload.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        yield {"IOTEDGE_WORKLOADURI": path.as_uri().replace("file:", "unix:")}


def run(environment: dict[str, str], *, as_nobody: bool = False, **settings: object) -> Run:
    """`run`, started as IoT Edge would; it must end by itself."""
    before = {name: os.environ.pop(name, None) for name in ("IOTEDGE_WORKLOADURI", "EdgeHubConnectionString")}
    os.environ.update(environment)
    try:
        return edge("run", settings=settings, as_nobody=as_nobody)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def assert_one_line(done: Run, *parts: str) -> None:
    assert done.status == 2
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def test_without_mounts_it_does_not_start(tmp_path: Path, workload: dict[str, str]) -> None:
    data = tmp_path / "data"
    done = run(workload, data_dir=data, must_be_mounts=f"/proc:{tmp_path}")
    assert_one_line(done, f"{tmp_path}: nothing is mounted there", "bind a folder")
    assert not data.exists(), "nothing is written into a container that forgets it"


@NEEDS_MOUNTS
def test_a_bound_folder_of_the_same_disk_is_a_mount(tmp_path: Path, workload: dict[str, str]) -> None:
    folder, target = tmp_path / "from", tmp_path / "a mount"
    folder.mkdir()
    target.mkdir()
    subprocess.run(["mount", "--bind", folder, target], check=True)
    try:
        settings = combine(("here", {"data_dir": str(tmp_path / "data"), "must_be_mounts": str(target)}))
        surroundings.check(settings, workload)
    finally:
        subprocess.run(["umount", target], check=True)
    with pytest.raises(SurroundingsError):
        surroundings.check(settings, workload)


@NEEDS_MOUNTS
@pytest.mark.parametrize(("options", "said"), [("ro", "Read-only file system"), ("size=64k", "No space left")])
def test_with_a_full_or_read_only_data_folder_it_does_not_start(
    tmp_path: Path, workload: dict[str, str], options: str, said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", data], check=True)
    try:
        done = run(workload, data_dir=data)
        assert_one_line(done, str(data), said, "mounted writable, has room")
        assert list(data.iterdir()) == []
    finally:
        subprocess.run(["umount", data], check=True)


@NEEDS_MOUNTS
def test_on_a_full_disk_the_ballast_makes_room_for_a_start(tmp_path: Path, workload: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", data], check=True)
    try:
        (data / "ballast").write_bytes(bytes(1_000_000))
        surroundings.check(combine(("here", {"data_dir": str(data)})), workload)
    finally:
        subprocess.run(["umount", data], check=True)


@pytest.mark.skipif(not AS_ROOT, reason="becoming another user needs root")
def test_with_a_data_folder_of_another_user_it_names_the_user(tmp_path: Path, workload: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    assert_one_line(run(workload, as_nobody=True, data_dir=data), "Permission denied", "belongs to user 65534")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "IOTEDGE_WORKLOADURI is not set: `run` is for IoT Edge to start"),
        ({"IOTEDGE_WORKLOADURI": "unix:///nowhere/run/workload.sock"}, "/nowhere/run/workload.sock: there is no"),
        ({"IOTEDGE_WORKLOADURI": "unix:///usr/lib"}, "/usr/lib: there is no workload socket"),
    ],
)
def test_without_the_workload_socket_it_does_not_start(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    assert_one_line(run(environment, data_dir=tmp_path / "data"), said)


def test_a_socket_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    settings = combine(("here", {"data_dir": str(tmp_path / "data")}))
    surroundings.check(settings, {"IOTEDGE_WORKLOADURI": f"unix://{tmp_path}/workload.sock"})
    assert list((tmp_path / "data").iterdir()) == [], "the probe is not left behind"
