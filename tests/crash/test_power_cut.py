"""SIGKILL at every named step, and at random moments: nothing is lost or doubled, and the record comes out the same.

`PONYA_CRASH_ROUNDS` asks for more of the random moments; the seed is part of the test's name.
"""

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from tests import pictures
from tests.crash import once
from tests.edge_cli import ROOT, assert_balanced, command, environment, scan

LIMIT_S = 60
ROUNDS = int(os.environ.get("PONYA_CRASH_ROUNDS", "2"))
STEPS = [
    *(
        f"{name}:{moment}"
        for name in ("identity", "notes_read", "begin", "listed", "end")
        for moment in ("begun", "written", "committed")
    ),
    *(f"{name}:{moment}" for name in ("list", "settle") for moment in ("begun", "written", "committed")),
    *(f"originals:{what} {kind}" for what in ("open", "rename") for kind in ("picture", "note")),
]
OFTEN = ("list:", "settle:", "originals:")
"""Steps that a scan of the card passes more than once: cut the first time and the last."""

# A process per scan, forked from one that has the imports behind it.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.crash.once"])


@dataclass(frozen=True)
class Truth:
    """A card, and what an undisturbed scan of it leaves behind."""

    card: Path
    record: dict[str, object]
    originals: list[str]
    passed: dict[str, int]
    lasts_s: float


def cut(card: Path, data: Path, step: str | None = None, occurrence: int = 1) -> int:
    """Scan in a process that is killed at a step. Returns its exit code."""
    process = _FORKS.Process(target=once.scan, args=(card, data, step, occurrence, data.parent / f"{data.name}.steps"))
    process.start()
    try:
        process.join(LIMIT_S)
        assert process.exitcode is not None, "the scan hangs"
        return process.exitcode
    finally:
        process.kill()
        process.join(LIMIT_S)
        process.close()


def record(data: Path) -> dict[str, object]:
    """Everything that may not depend on power cuts: all but sequences, ledger ids and how often a receipt was sent."""
    with closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        tables = {
            "records": "SELECT path, media_id, model_id, reading_id, fate, body FROM record ORDER BY path, media_id",
            "files": "SELECT path, size_bytes, fate, media_id, reason, camera FROM file"
            " WHERE reading = (SELECT max(id) FROM reading) ORDER BY path",
            "media": "SELECT media_id, fate, origin, original FROM media ORDER BY media_id",
            "state": "SELECT state, why FROM reading ORDER BY id DESC LIMIT 1",
        }
        found: dict[str, object] = {name: ledger.execute(sql).fetchall() for name, sql in tables.items()}
        (body,) = ledger.execute("SELECT body FROM outbox WHERE kind = 'receipt' ORDER BY sequence DESC").fetchone()
        assert ledger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    receipt = json.loads(body)["receipt"]
    found["receipt"] = {name: value for name, value in receipt.items() if name != "reading_id"}
    found["originals"] = {
        str(path.relative_to(data)): path.read_bytes() for path in data.glob("originals/*/*") if path.is_file()
    }
    return found


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    top = tmp_path_factory.mktemp("power")
    card = top / "card"
    (card / "DCIM").mkdir(parents=True)
    for n in range(1100):  # two batches of the listing
        (card / f"{n}.txt").write_bytes(b"")
    for n in range(150):  # three batches of the settling
        (card / "DCIM" / f"junk_{n}.jpg").write_bytes(b"junk %d" % n)
    for n in range(9):  # three bursts, one of them twice
        content = pictures.jpeg(n % 6, exif=pictures.exif(taken=f"2026:03:14 05:{n // 3:02}:0{n % 3}"))
        (card / "DCIM" / f"burst_{n}.jpg").write_bytes(content)
    panda = pictures.encoded(pictures.drawn())
    (card / "DCIM" / "panda.jpg").write_bytes(panda)
    (card / "DCIM" / "panda_again.jpg").write_bytes(panda)
    (card / "DCIM" / "clip.mp4").write_bytes(b"film")
    began = monotonic()
    assert cut(card, top / "data") == 0
    found = record(top / "data")
    originals = [path.name for path in (top / "data").glob("originals/*/*")]
    assert len(originals) >= 4
    return Truth(card, found, originals, json.loads((top / "data.steps").read_text()), monotonic() - began)


def reported(data: Path) -> list[str]:
    """The lines that came out before a cut, the last one maybe torn."""
    return (data.parent / f"{data.name}.out").read_text(encoding="utf-8").split("\n")[:-1]


def test_the_steps_cut_here_are_all_there_are(truth: Truth) -> None:
    assert set(STEPS) == set(truth.passed)
    assert all(truth.passed[step] > 1 for step in STEPS if step.startswith(OFTEN))


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("step", STEPS)
def test_cut_at(truth: Truth, tmp_path: Path, step: str, which: str) -> None:
    if which == "last" and not step.startswith(OFTEN):
        return  # the first is the last
    data = tmp_path / "data"
    occurrence = 1 if which == "first" else truth.passed[step]
    if which == "last" and step.startswith("originals:"):  # a twin's note may be written once more, or not
        occurrence = sum(name.endswith(".json") for name in truth.originals)
    assert cut(truth.card, data, step, occurrence) == -signal.SIGKILL
    claimed = [json.loads(line) for line in reported(data)]
    assert cut(truth.card, data) == 0
    assert record(data) == truth.record
    final = {line["path"]: line for line in map(json.loads, reported(data)[len(claimed) :]) if "path" in line}
    assert all(final[line["path"]] == line for line in claimed if "path" in line), "what was told stays true"


@pytest.mark.parametrize(
    "step", ["restore:written", "restore:committed", "put:begun", "put:committed", "notes_read:begun"]
)
def test_cut_while_a_damaged_ledger_is_rebuilt(truth: Truth, tmp_path: Path, step: str) -> None:
    data = tmp_path / "data"
    assert cut(truth.card, data) == 0
    (data / "ledger.sqlite").write_bytes(b"garbage" * 1000)
    assert cut(truth.card, data, step) == -signal.SIGKILL
    assert cut(truth.card, data) == 0
    with closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        (alerts,) = ledger.execute("SELECT count(*) FROM outbox WHERE kind = 'alert'").fetchone()
    assert alerts >= 1, "loudly"
    assert record(data) == truth.record


def test_cut_again_and_again_it_still_gets_there(truth: Truth, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for _ in range(20):
        if cut(truth.card, data, "settle:committed", truth.passed["list:committed"] + 1) == 0:
            break
    else:
        pytest.fail("twenty runs settled nothing")
    assert record(data) == truth.record


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_cut_the_command_at_a_random_moment(truth: Truth, tmp_path: Path, seed: int) -> None:
    data, rng = tmp_path / "data", random.Random(seed)
    for _ in range(2):
        with subprocess.Popen(
            command("scan", truth.card, "--json", "--keep", "--data", data),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                process.wait(timeout=rng.uniform(0.1, 1.5 + truth.lasts_s))
            except subprocess.TimeoutExpired:
                process.kill()
    run = scan(truth.card, data, "--keep")
    assert run.status == 0, run.err
    assert_balanced(run)
    assert record(data) == truth.record
