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


class KernelsDisk:
    """A real file system of its own that the kernel makes read-only, as it does when it finds the disk faulty."""

    def __init__(self, device: str, folder: Path) -> None:
        self._device, self._folder = device, folder
        self._mount()

    def _mount(self) -> None:
        _or_skip("mount", "-o", "errors=remount-ro", self._device, self._folder)

    def found_faulty(self) -> None:
        """The kernel finds a fault in the file system."""
        trigger = Path("/sys/fs/ext4") / Path(self._device).name / "trigger_fs_error"
        try:
            trigger.write_text("tests/integration/alone/test_disk.py")
        except OSError as exc:
            pytest.skip(f"the kernel cannot be made to find a fault: {exc}")
        with pytest.raises(OSError, match="Read-only file system"):
            (self._folder / "probe of the test").touch()

    def reboot(self) -> None:
        """What a host does when it boots: look the file system over, and mount it."""
        self.unmount()
        looked = subprocess.run(["e2fsck", "-p", self._device], check=False, capture_output=True, text=True)
        assert looked.returncode in (0, 1), looked.stdout + looked.stderr  # sound, or mended
        self._mount()

    def unmount(self) -> None:
        subprocess.run(["umount", self._folder], check=True)


def _or_skip(*command: str | Path) -> str:
    """What a command says; the test is skipped where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def kernels_disk(folder: Path) -> Iterator[KernelsDisk]:
    folder.mkdir()
    image = folder.with_suffix(".image")
    with image.open("wb") as content:
        content.truncate(96 << 20)
    with contextlib.ExitStack() as undo:
        # One device for all that is done to it: the file behind a device need not show what the device holds.
        device = _or_skip("losetup", "--find", "--show", image)
        undo.callback(subprocess.run, ["losetup", "--detach", device], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", device], check=True)
        disk = KernelsDisk(device, folder)
        undo.callback(disk.unmount)
        yield disk


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
        wait_until(lambda: gateway.alerts() == ["storage_full"], timeout_s=WAIT_S, what=gateway.log)
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
        wait_until(lambda: gateway.alerts() == [code, "storage_recovered"], timeout_s=WAIT_S, what=gateway.log)
        assert gateway.end() == 0


def test_a_disk_that_fails_in_the_middle_of_a_card_costs_nothing_but_time(
    tmp_path: Path, faulty_disk: FaultyDisk
) -> None:
    with alone(tmp_path, workers=1) as gateway:
        gateway.more_environment = faulty_disk.environment
        gateway.insert("card", pictures=150)
        gateway.start()
        wait_until(
            lambda: (gateway.ledger("SELECT count(*) FROM media") or [(0,)])[0][0], timeout_s=WAIT_S, what=gateway.log
        )
        faulty_disk.set("EIO", gateway.data)
        gateway.wait_log("nothing is read from cards")
        assert gateway.ledger(COMPLETE) == [(0,)]
        faulty_disk.heal()
        all_is_there(gateway, 152)


@pytest.mark.skipif(NOT_ROOT or not shutil.which("mkfs.ext4"), reason="only root can make and mount a file system")
def test_a_disk_that_the_kernel_makes_read_only_costs_nothing_but_time_until_the_reboot(tmp_path: Path) -> None:
    with kernels_disk(tmp_path / "data") as disk, alone(tmp_path, workers=1) as gateway:
        gateway.insert("card", pictures=150)
        gateway.start()
        wait_until(
            lambda: (gateway.ledger("SELECT count(*) FROM media") or [(0,)])[0][0], timeout_s=WAIT_S, what=gateway.log
        )
        disk.found_faulty()
        gateway.wait_log("the gateway's disk is read-only; nothing is read from cards")
        assert gateway.up
        assert gateway.end() == 0
        disk.reboot()
        assert gateway.ledger(COMPLETE) == [(0,)]
        gateway.start()
        all_is_there(gateway, 152)
        assert gateway.end() == 0


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
        wait_until(lambda: not (gateway.data / "ballast").exists(), timeout_s=WAIT_S, what=gateway.log)
        wait_until(lambda: "edge hub not reached" in gateway.log(), timeout_s=WAIT_S, what=gateway.log)
        assert gateway.end() == 0
