"""SIGKILL at every step of a model's coming: there is always one that works, and the new one gets there in the end."""

import json
import multiprocessing
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_module.installed import Installed
from edge_module.model_store import SHIPPED_MODEL_DIR, load
from edge_module.model_trial import Tried, try_out
from tests.crash import model_once
from tests.models_made import head, wanted

LIMIT_S = 120
STEPS = [
    *(f"install:{what}" for what in ("backbone.tflite", "head.json", "expected.json", "SHA256SUMS", "rename")),
    *(f"{what}:{moment}" for what in ("trial", "promote") for moment in ("begun", "written")),
    *(f"rename:{what}" for what in (".tflite", ".json", "folder")),
    "sweep",
]
OLDEST, OLD, NEW = 0.001, 0.002, 0.003
ID = {nudge: wanted(head(nudge)).model_id for nudge in (OLDEST, OLD, NEW)}

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.crash.model_once", "tests.crash.once"])


@dataclass(frozen=True)
class Outcome:
    """How the process ended, and what it noted if it came to its end."""

    status: int | None
    noted: dict[str, Any]


@pytest.fixture(scope="module")
def tried() -> Tried:
    return try_out(SHIPPED_MODEL_DIR, SHIPPED_MODEL_DIR / "golden", timeout_s=LIMIT_S, stop=threading.Event())


def exchange(folder: Path, nudge: float, tried: Tried, cut_at: str | None = None) -> Outcome:
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    process = _FORKS.Process(target=model_once.exchange, args=(folder, nudge, tried, cut_at, log))
    process.start()
    try:
        process.join(LIMIT_S)
        return Outcome(process.exitcode, json.loads(log.read_text()) if log.exists() else {})
    finally:
        process.kill()
        process.join(LIMIT_S)
        process.close()


def two_models(folder: Path, tried: Tried) -> None:
    """A gateway that has had two models from afar: the next one makes it throw the first away."""
    for nudge in (OLDEST, OLD):
        assert exchange(folder, nudge, tried).noted["after"] == ID[nudge]


def test_the_steps_cut_here_are_all_there_are(tmp_path: Path, tried: Tried) -> None:
    two_models(tmp_path / "models", tried)
    assert set(exchange(tmp_path / "models", NEW, tried).noted["passed"]) == {*STEPS, "start:begun", "start:written"}


@pytest.mark.parametrize("step", STEPS)
def test_cut_at(tmp_path: Path, tried: Tried, step: str) -> None:
    folder = tmp_path / "models"
    two_models(folder, tried)
    assert exchange(folder, NEW, tried, step).status == -signal.SIGKILL
    in_force = Installed(folder).current
    assert in_force is not None
    assert load(in_force).model_id in (ID[OLD], ID[NEW]), "whole, and one of the two"
    again = exchange(folder, NEW, tried)
    assert again.noted["before"] == in_force.name
    assert again.noted["after"] == ID[NEW]
    assert {path.name for path in folder.iterdir()} == {"state.json", ID[OLD], ID[NEW]}


def test_cut_while_a_bad_model_is_rolled_back(tmp_path: Path, tried: Tried) -> None:
    folder = tmp_path / "models"
    two_models(folder, tried)
    (folder / ID[OLD] / "head.json").write_bytes(b"torn")
    for step in ("roll_back:begun", "rename:.json", "roll_back:written"):
        assert exchange(folder, NEW, tried, step).status == -signal.SIGKILL
    noted = exchange(folder, NEW, tried).noted
    assert (noted["before"], noted["after"]) == (ID[OLDEST], ID[NEW])
