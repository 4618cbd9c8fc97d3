"""What may go wrong around a scan: cards that leave, disks that fill, ledgers that rot, settings that make no sense."""

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from edge_module import model_store
from edge_module.app import open_ledger
from edge_module.card import Mount
from edge_module.domain import CardReceipt, Fate, Media, ReadingState, Record
from edge_module.listing import ATTEMPTS_MAX
from edge_module.pipeline import Pipeline
from edge_module.settings import Settings, combine
from tests import pictures
from tests.edge_cli import LIMIT_S, NOBODY, ROOT, Run, assert_balanced, command, edge, environment, scan

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A small card: a red panda, a clip, a note and four frames of nothing in particular."""
    root = tmp_path / "card"
    root.mkdir()
    for n in range(4):
        (root / f"{n}.jpg").write_bytes(pictures.jpeg(n))
    (root / "panda.jpg").write_bytes(pictures.encoded(pictures.drawn()))
    (root / "clip.mp4").write_bytes(b"film")
    (root / "notes.txt").write_bytes(b"notes")
    return root


def one_line(run: Run) -> str:
    """The one line on stderr of a command that could not start."""
    assert run.status == 2
    assert run.out == ""
    (line,) = [line for line in run.err.splitlines() if not line.startswith("INFO: Created TensorFlow")]
    return line


def lines_of(run: Run) -> dict[str, dict[str, object]]:
    return run.by_path


# --- the card ---


def test_a_card_pulled_out_in_mid_read_is_gone_on_with(tmp_path: Path) -> None:
    card, away = tmp_path / "card", tmp_path / "away"
    (card / "DCIM").mkdir(parents=True)
    for n in range(160):
        (card / "DCIM" / f"{n:03}.jpg").write_bytes(pictures.jpeg(n))
    undisturbed = scan(card, tmp_path / "undisturbed")
    with subprocess.Popen(
        command("scan", card, "--json", "--workers", "1", "--data", tmp_path / "data"),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            card.rename(away)
            out, err = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    interrupted = Run(status=process.returncode, out=(first + out).decode(), err=err.decode())
    assert interrupted.status == 1
    assert_balanced(interrupted)
    assert interrupted.receipt["state"] == "interrupted"
    assert interrupted.receipt["pending"] > 0
    assert "the reading is not complete: the card was taken out" in interrupted.receipt["blockers"]
    away.rename(card)
    resumed = scan(card, tmp_path / "data")
    assert resumed.status == 0
    assert_balanced(resumed)
    assert resumed.by_path == undisturbed.by_path
    assert {**resumed.receipt} == undisturbed.receipt


def test_stopped_by_a_signal_it_goes_on_where_it_was(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    for n in range(160):
        (card / f"{n:03}.jpg").write_bytes(pictures.jpeg(n))
    with subprocess.Popen(
        command("scan", card, "--json", "--workers", "1", "--data", tmp_path / "data"),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    stopped = Run(status=process.returncode, out=(first + out).decode(), err=err.decode())
    assert stopped.status == 1
    assert_balanced(stopped)
    assert "the reading is not complete: stopped" in stopped.receipt["blockers"]
    resumed = scan(card, tmp_path / "data")
    assert resumed.status == 0
    assert_balanced(resumed)
    assert lines_of(stopped).items() <= lines_of(resumed).items()


class FailingMount(Mount):
    """A card with one bad sector: reading one file fails, as the kernel reports it."""

    def __init__(self, root: Path, failing: bytes) -> None:
        super().__init__(root)
        self._failing = failing

    def open(self, media: Media) -> BinaryIO:
        if media.path == self._failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().open(media)


def read_failing(settings: Settings, card: Path, failing: bytes) -> tuple[CardReceipt, dict[str, Record]]:
    seen: list[Record] = []
    with open_ledger(settings) as (ledger, _):
        pipeline = Pipeline(ledger=ledger, model=model_store.load(model_store.SHIPPED_MODEL_DIR), settings=settings)
        receipt = pipeline.read(FailingMount(card, failing), seen.extend, on_listed=lambda _: None)
    assert len(seen) == receipt.seen - receipt.pending
    return receipt, {record.path: record for record in seen}


def test_a_bad_sector_is_tried_again_and_then_set_aside(card: Path, tmp_path: Path) -> None:
    settings = combine(("test", {"data_dir": str(tmp_path / "data"), "settle_s": 0}))
    for _ in range(ATTEMPTS_MAX - 1):
        receipt, seen = read_failing(settings, card, b"2.jpg")
        assert receipt.state is ReadingState.INTERRUPTED
        assert "the reading is not complete: 2.jpg: read error: Input/output error" in receipt.blockers
        assert receipt.pending == 1
        assert len(seen) == 6
    receipt, seen = read_failing(settings, card, b"2.jpg")
    assert receipt.state is ReadingState.COMPLETE
    assert (seen["2.jpg"].fate, seen["2.jpg"].reason) == (Fate.UNREADABLE, "read error: Input/output error, 3 times")
    assert receipt.seen == sum(receipt.counts.values()) == 7


def test_a_bad_sector_beside_a_growing_file_is_tried_once_a_reading(card: Path, tmp_path: Path) -> None:
    os.utime(card / "3.jpg")
    for path in card.iterdir():
        if path.name != "3.jpg":
            os.utime(path, ns=(0, 0))
    settings = combine(("test", {"data_dir": str(tmp_path / "data"), "settle_s": 2}))
    receipt, seen = read_failing(settings, card, b"2.jpg")
    assert receipt.state is ReadingState.INTERRUPTED
    assert "2.jpg" not in seen
    assert seen["3.jpg"].fate is not Fate.UNREADABLE


def test_a_card_on_which_nothing_can_be_read_is_given_up(tmp_path: Path) -> None:
    class DeadMount(Mount):
        def open(self, media: Media) -> BinaryIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "card").mkdir()
    for n in range(150):
        (tmp_path / "card" / f"{n}.jpg").write_bytes(b"%d" % n)
    settings = combine(("test", {"data_dir": str(tmp_path / "data"), "settle_s": 0}))
    with open_ledger(settings) as (ledger, _):
        pipeline = Pipeline(ledger=ledger, model=model_store.load(model_store.SHIPPED_MODEL_DIR), settings=settings)
        receipt = pipeline.read(DeadMount(tmp_path / "card"), lambda _: None, on_listed=lambda _: None)
    assert receipt.state is ReadingState.INTERRUPTED
    assert receipt.pending == 150
    assert "more than 100 files cannot be read" in receipt.blockers[0]


def test_two_scans_at_once_do_not_mix(card: Path, tmp_path: Path) -> None:
    with open_ledger(combine(("test", {"data_dir": str(tmp_path / "data")}))):
        line = one_line(scan(card, tmp_path / "data"))
    assert "ledger.sqlite: in use by another process; end it, or set another data_dir" in line
    assert scan(card, tmp_path / "data").status == 0


@pytest.mark.parametrize("name", ["absent", "notes.txt"])
def test_no_such_folder(card: Path, tmp_path: Path, name: str) -> None:
    line = one_line(scan(card / name, tmp_path / "data"))
    assert line.startswith("error: ")
    assert f"{name}: " in line
    assert "insert the card, or name a folder that can be read" in line


def test_an_empty_folder_is_a_card_with_nothing_on_it(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    run = scan(tmp_path / "card", tmp_path / "data")
    assert run.status == 0
    assert_balanced(run)
    assert run.receipt["seen"] == 0
    assert run.receipt["safe_to_wipe"]


def test_ten_thousand_tiny_files(tmp_path: Path) -> None:
    for n in range(10_000):
        folder = tmp_path / "card" / f"{n // 1000}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.jpg").write_bytes(b"%d" % (n % 9_000))
    run = scan(tmp_path / "card", tmp_path / "data")
    assert run.status == 0
    assert_balanced(run)
    assert (run.receipt["seen"], run.receipt["unreadable"], run.receipt["duplicate"]) == (10_000, 9_000, 1_000)
    assert len(run.receipt["named"]) + run.receipt["named_omitted"] == 9_000


@pytest.fixture
def folder_for_nobody() -> Iterator[Path]:
    """A folder that the user nobody can reach; pytest's own are for the user who runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "data").mkdir()
    os.chown(folder / "data", NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(not AS_ROOT, reason="only root can make files that another user may not read")
def test_what_may_not_be_read_is_named(folder_for_nobody: Path) -> None:
    card = folder_for_nobody / "card"
    for folder in ("open", "closed", "unlisted"):
        (card / folder).mkdir(parents=True)
        (card / folder / "a.jpg").write_bytes(pictures.jpeg(len(folder)))
    (card / "secret.jpg").write_bytes(pictures.jpeg(1))
    (card / "secret.jpg").chmod(0)
    (card / "closed").chmod(0)
    (card / "unlisted").chmod(0o711)
    run = scan(card, folder_for_nobody / "data", as_nobody=True)
    assert run.status == 0, run.err
    assert_balanced(run)
    assert {path: line["verdict"] for path, line in run.by_path.items() if line["verdict"] == "unreadable"} == {
        "closed/": "unreadable", "unlisted/": "unreadable", "secret.jpg": "unreadable",
    }  # fmt: skip
    assert run.by_path["secret.jpg"]["error"] == "permission denied"
    assert run.by_path["closed/"]["error"] == "folder cannot be read: Permission denied"
    assert "2 folders could not be read: nobody knows what is in them" in run.receipt["blockers"]


# --- the disk ---


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a folder that its owner cannot write")
def test_a_data_folder_that_cannot_be_written(card: Path, folder_for_nobody: Path) -> None:
    (folder_for_nobody / "card").mkdir()
    (folder_for_nobody / "data").chmod(0o500)
    line = one_line(scan(folder_for_nobody / "card", folder_for_nobody / "data", as_nobody=True))
    assert "ledger.sqlite: Permission denied; set data_dir to a folder that can be written" in line


def test_a_data_folder_that_is_a_file(card: Path) -> None:
    line = one_line(scan(card, card / "notes.txt"))
    assert "set data_dir to a folder that can be written" in line


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of a given size; yields what makes it larger."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True) and None
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not AS_ROOT or not shutil.which("mount"), reason="only root can mount a small disk")
def test_a_disk_too_full_for_the_ledger_stops_before_anything_is_claimed(card: Path, tmp_path: Path) -> None:
    for n in range(3000):
        (card / f"{n:0200}.txt").write_bytes(b"")
    expected = scan(card, tmp_path / "elsewhere", "--keep")
    with small_disk(tmp_path / "data", "600k") as grow:
        full = scan(card, tmp_path / "data", "--keep")
        assert full.status == 2
        assert "receipt" not in full.out
        (line,) = [line for line in full.err.splitlines() if line.startswith("error: ")]
        assert "nothing of this step was kept" in line
        grow("64m")
        run = scan(card, tmp_path / "data", "--keep")
        assert run.status == 0, run.err
        assert_balanced(run)
        assert run.by_path == expected.by_path
        assert run.receipt == expected.receipt
        assert not list((tmp_path / "data").glob("originals/*/.*"))


@pytest.mark.skipif(not AS_ROOT or not shutil.which("mount"), reason="only root can mount a small disk")
@pytest.mark.parametrize("size", ["40k", "600k"])
def test_a_disk_too_full_for_originals_interrupts_and_says_what_to_do(card: Path, tmp_path: Path, size: str) -> None:
    (card / "large.mp4").write_bytes(bytes(2**20))
    (tmp_path / "data").mkdir()
    with small_disk(tmp_path / "data" / "originals", size) as grow:
        full = scan(card, tmp_path / "data", "--keep")
        assert full.status == 1, full.err
        assert (full.receipt["state"], full.receipt["safe_to_wipe"]) == ("interrupted", False)
        assert "no room for its originals" in full.receipt["blockers"][0]
        assert "large.mp4" not in full.by_path
        grow("64m")
        run = scan(card, tmp_path / "data", "--keep")
        assert run.status == 0, run.err
        assert_balanced(run)
        assert run.by_path["panda.jpg"]["verdict"] == Fate.PANDA
        assert run.receipt["originals_owed"] == 0


def test_a_file_that_may_not_grow_is_a_full_disk_too(card: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (48 * 1024, 48 * 1024))

    limited = scan(card, tmp_path / "data", preexec=limit)
    assert limited.status == 2
    assert limited.err.splitlines()[-1].startswith("error: ledger ")
    run = scan(card, tmp_path / "data")
    assert run.status == 0, run.err
    assert_balanced(run)


# --- a ledger that rots ---


def _garbage(path: Path, offset: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(3).randbytes(length))


def _cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage over the header": lambda path: _garbage(path, 0, 100),
    "garbage over a page in the middle": lambda path: _garbage(path, path.stat().st_size // 8192 * 4096, 4096),
    "garbage all over": lambda path: _garbage(path, 0, path.stat().st_size),
    "cut in the middle": lambda path: _cut(path, path.stat().st_size // 2),
    "cut in the header": lambda path: _cut(path, 50),
    "another program's file": lambda path: path.write_text("not a database, but a letter\n" * 500),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_ledger_is_set_aside_and_rebuilt_loudly(card: Path, tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    before = scan(card, data, "--keep")
    DAMAGE[damage](data / "ledger.sqlite")
    after = scan(card, data, "--keep")
    assert after.status == 0, after.err
    assert_balanced(after)
    assert after.by_path == before.by_path
    assert "is damaged" in after.err
    assert "2 pictures were restored from the kept originals" in after.err
    assert list(data.glob("ledger.damaged-*.sqlite")), "kept for whoever wants to look"
    listed = edge("outbox", "list", "--data", data)
    assert " alert " in listed.out
    assert scan(card, data, "--keep").by_path == before.by_path


@pytest.mark.parametrize("where", ["head", "all"])
def test_garbage_in_the_write_ahead_log_costs_what_it_held_and_no_more(card: Path, tmp_path: Path, where: str) -> None:
    data = tmp_path / "data"
    before = scan(card, data)
    wal = data / "ledger.sqlite-wal"
    wal.write_bytes(random.Random(4).randbytes(32 if where == "head" else 40_000))
    after = scan(card, data)
    assert after.status == 0, after.err
    assert_balanced(after)
    assert after.by_path == before.by_path


def test_a_ledger_of_a_newer_version_is_left_alone(card: Path, tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415

    scan(card, tmp_path / "data")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite")) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    line = one_line(scan(card, tmp_path / "data"))
    assert "has schema 99" in line
    assert "update the software" in line
    assert not list((tmp_path / "data").glob("ledger.damaged-*"))


# --- whoever reads our output ---


def test_a_reader_that_goes_away_costs_nothing(card: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command("scan", card, "--json", "--data", tmp_path / "data"),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            err = process.stderr.read().decode()
            assert process.wait(LIMIT_S) == 1, err
        finally:
            process.kill()
    assert "Traceback" not in err
    run = scan(card, tmp_path / "data")
    assert run.status == 0
    assert_balanced(run)


def test_many_cards_one_after_another_leave_nothing_open(tmp_path: Path) -> None:
    settings = combine(("test", {"data_dir": str(tmp_path / "data"), "settle_s": 0}))
    with open_ledger(settings) as (ledger, _):
        pipeline = Pipeline(ledger=ledger, model=model_store.load(model_store.SHIPPED_MODEL_DIR), settings=settings)
        open_files, threads = [], []
        for n in range(12):
            card = tmp_path / f"card{n}"
            card.mkdir()
            (card / "a.jpg").write_bytes(b"junk %d" % n)
            pipeline.read(Mount(card), lambda _: None, on_listed=lambda _: None)
            open_files.append(len(list(Path("/proc/self/fd").iterdir())))
            threads.append(threading.active_count())
    assert open_files[-1] <= open_files[3] + 2
    assert threads[-1] == threads[0]
