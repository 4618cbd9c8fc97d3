"""One scan in a process of its own, which can be cut at a named step. `ledgers.Step` names those of the ledger; those
of the originals are the file operations that Python reports to audit hooks, each named just before it happens.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

from edge_module import app
from edge_module.errors import PonyaError
from edge_module.scan import JsonReport
from edge_module.settings import combine


def scan(card: Path, data: Path, cut_at: str | None, occurrence: int, log: Path) -> None:
    """Scan, and be killed before the `occurrence`th time that the step `cut_at` is passed.

    The steps that were passed are written to `log`, by name with how often.
    """
    passed: Counter[str] = Counter()
    lock = threading.Lock()

    def on_step(name: str) -> None:
        with lock:
            passed[name] += 1
            if name == cut_at and passed[name] == occurrence:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".part"):
            on_step(f"originals:open {_kind(arguments[0])}")
        elif event == "os.rename" and str(arguments[0]).endswith(".part"):
            on_step(f"originals:rename {_kind(arguments[0])}")

    sys.addaudithook(on_audit)
    settings = combine(("test", {"data_dir": str(data), "settle_s": 0, "workers": 2}))
    with (data.parent / f"{data.name}.out").open("a", encoding="utf-8") as out:
        try:
            app.scan(card, settings, JsonReport(out), keep=True, stop=threading.Event(), on_step=on_step)
        except PonyaError as exc:
            raise SystemExit(str(exc)) from exc
    log.write_text(json.dumps(passed))


def _kind(path: object) -> str:
    return "note" if ".json." in str(path) else "picture"
