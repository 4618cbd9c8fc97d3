"""A gateway's models in a process of their own: a model is wanted, and the process is cut at a named step."""

import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

from edge_module.clock import SystemClock
from edge_module.errors import ModelError
from edge_module.installed import Installed
from edge_module.model_exchange import Models
from edge_module.model_store import SHIPPED_MODEL_DIR
from edge_module.model_trial import Tried
from edge_module.reported import Reported
from edge_module.settings import combine
from tests.models_made import head, wanted


def exchange(folder: Path, nudge: float, tried: Tried, cut_at: str | None, log: Path) -> None:
    """Start, note the model in force, and get another one; killed before the step `cut_at` is done.

    Args:
        folder: of the models.
        nudge: makes the head that is wanted.
        tried: what a trial of it found, once for all these processes.
        cut_at: a step of `Installed`, or the renaming of a file or folder.
        log: gets the models in force before and after, and the steps that were passed.
    """
    passed: Counter[str] = Counter()

    def on_step(name: str) -> None:
        passed[name] += 1
        if name == cut_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).endswith(".part"):
            on_step(f"rename:{Path(str(arguments[1])).suffix or 'folder'}")

    def nothing_by_link(*_: object, **__: object) -> bytes:
        raise ModelError("a head needs no link")

    sys.addaudithook(on_audit)
    own = combine()
    models = Models(
        installed=Installed(folder, on_step=on_step),
        base=SHIPPED_MODEL_DIR,
        golden=SHIPPED_MODEL_DIR / "golden",
        settings=lambda: own,
        alert=lambda _code, _text: None,
        reported=Reported(lambda _patch: None),
        fetch=nothing_by_link,
        clock=SystemClock(),
        trial=lambda *_, **__: tried,
    )
    before = models.model.model_id
    models.act(wanted(head(nudge), str(nudge)).to_twin(), 2, threading.Event())
    log.write_text(json.dumps({"before": before, "after": models.model.model_id, "passed": list(passed)}))
