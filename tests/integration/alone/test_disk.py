"""The gateway's own disk is full, read-only or worn out: told, survived, and gone on with."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alone import WAIT_S, Alone, FaultyDisk, alone
from tests.local_azure import wait_until

COMPLETE = "SELECT count(*) FROM reading WHERE state = 'complete'"
NOT_ROOT = os.geteuid() != 0 or not shutil.which("mount")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def all_is_there(gateway: Alone, files: int) -> None:
    gateway.wait_ledger(COMPLETE, 1)
    gateway.assert_ledger_sound()
    assert gateway.ledger("SELECT count(*) FROM file WHERE fate IS NOT NULL") == [(files,)]
    assert gateway.ledger("SELECT count(*) FROM media WHERE original = 'owed'") == [(0,)]
    for (media_id,) in gateway.ledger("SELECT hex(media_id) FROM media WHERE original = 'kept'"):
        assert list(gateway.data.glob(f"originals/*/{media_id.lower()}.jpg"))


@pytest.mark.skipif(NOT_ROOT, reason="only root can mount a small disk")
def test_a_full_disk_is_told_and_waited_out(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64m"), alone(tmp_path) as gateway:
        gateway.start()
        gateway.wait_log("edge hub not reached")
        wait_until((gateway.data / "ballast").exists, timeout_s=WAIT_S)
        fill(gateway.data / "filler")
        gateway.insert("card")
        wait_until(lambda: gateway.alerts() == ["storage_full"], timeout_s=WAIT_S, what=gateway.log())
        assert not (gateway.data / "ballast").exists()
        assert gateway.up
        assert gateway.ledger(COMPLETE) == [(0,)]
        (gateway.data / "filler").unlink()
        all_is_there(gateway, 4)
        assert gateway.alerts() == ["storage_full", "storage_recovered"]
        assert (gateway.data / "ballast").exists()
        assert gateway.end() == 0


@pytest.mark.parametrize(("error", "code"), [("EROFS", "storage_read_only"), ("EIO", "storage_failing")])
def test_a_disk_that_cannot_be_written_is_told_and_waited_out(
    tmp_path: Path, faulty_disk: FaultyDisk, error: str, code: str
) -> None:
    with alone(tmp_path) as gateway:
        gateway.more_environment = faulty_disk.environment
        gateway.start()
        gateway.wait_log("edge hub not reached")
        faulty_disk.set(error, gateway.data)
        gateway.insert("card")
        gateway.wait_log("nothing is read from cards")
        assert gateway.up
        assert gateway.ledger("SELECT count(*) FROM media") == [(0,)]
        faulty_disk.heal()
        all_is_there(gateway, 4)
        wait_until(lambda: gateway.alerts() == [code, "storage_recovered"], timeout_s=WAIT_S, what=gateway.log())
        assert gateway.end() == 0


def test_a_disk_that_fails_in_the_middle_of_a_card_costs_nothing_but_time(
    tmp_path: Path, faulty_disk: FaultyDisk
) -> None:
    with alone(tmp_path, workers=1) as gateway:
        gateway.more_environment = faulty_disk.environment
        gateway.insert("card", pictures=150)
        gateway.start()
        wait_until(
            lambda: (gateway.ledger("SELECT count(*) FROM media") or [(0,)])[0][0], timeout_s=WAIT_S, what=gateway.log()
        )
        faulty_disk.set("EIO", gateway.data)
        gateway.wait_log("nothing is read from cards")
        assert gateway.ledger(COMPLETE) == [(0,)]
        faulty_disk.heal()
        all_is_there(gateway, 152)


@pytest.mark.skipif(NOT_ROOT, reason="only root can mount a disk read-only")
def test_a_disk_that_is_read_only_from_the_start_is_said_and_tried_again_by_the_next_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64m"), alone(tmp_path) as gateway:
        subprocess.run(["mount", "-o", "remount,ro", gateway.data], check=True)
        gateway.start()
        assert gateway.wait_end() == 2
        assert "Read-only file system" in gateway.log()
        subprocess.run(["mount", "-o", "remount,rw", gateway.data], check=True)
        gateway.insert("card")
        gateway.start()
        all_is_there(gateway, 4)


@pytest.mark.skipif(NOT_ROOT, reason="only root can mount a small disk")
def test_a_start_on_a_full_disk_uses_the_room_that_was_held_for_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64m"), alone(tmp_path) as gateway:
        gateway.start(log_level="error")
        wait_until((gateway.data / "ballast").exists, timeout_s=WAIT_S)
        assert gateway.end() == 0
        fill(gateway.data / "filler")
        gateway.start()
        wait_until(lambda: not (gateway.data / "ballast").exists(), timeout_s=WAIT_S, what=gateway.log())
        wait_until(lambda: "edge hub not reached" in gateway.log(), timeout_s=WAIT_S, what=gateway.log())
        assert gateway.end() == 0
