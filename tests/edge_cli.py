"""The gateway's commands, run the way a user runs them: in a process of their own."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_module.domain import Fate

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
LIMIT_S = 120

# The interpreter may lie where nobody can reach it: import first, step down then.
_AS_NOBODY = f"""
import os, sys
from edge_module import __main__, app
import ai_edge_litert.interpreter
from PIL import Image
Image.init()
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(__main__.main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def files(self) -> list[dict[str, Any]]:
        """The JSON lines, one a file."""
        return [line for line in self._lines() if "receipt" not in line]

    @property
    def by_path(self) -> dict[str, dict[str, Any]]:
        """The JSON line of each file."""
        return {line["path"]: line for line in self.files}

    @property
    def receipt(self) -> dict[str, Any]:
        """The receipt: the last line."""
        receipt: dict[str, Any] = self._lines()[-1]["receipt"]
        return receipt

    def _lines(self) -> list[dict[str, Any]]:
        # Not splitlines(): a name may hold characters that it takes for ends of lines.
        return [json.loads(line) for line in self.out.split("\n") if line]


def command(*words: str | Path | bytes) -> list[str | Path | bytes]:
    return [sys.executable, "-m", "edge_module", *words]


def environment(**settings: object) -> dict[str, str]:
    """The caller's environment without settings of its own, and with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PONYA_")}
    settings = {"settle_s": 0, **settings}
    return inherited | {f"PONYA_{name.upper()}": str(value) for name, value in settings.items()}


def edge(
    *words: str | Path | bytes,
    settings: Mapping[str, object] | None = None,
    preexec: Callable[[], None] | None = None,
    as_nobody: bool = False,
) -> Run:
    """Run `python -m edge_module ...` to its end."""
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *words] if as_nobody else command(*words),
        cwd=ROOT,
        env=environment(**(settings or {})) | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
        preexec_fn=preexec,
    )
    return Run(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def scan(card: Path, data: Path, *words: str, **more: Any) -> Run:
    """Scan a card as JSON lines."""
    return edge("scan", card, "--json", "--data", data, *words, **more)


def assert_balanced(run: Run) -> None:
    """Guarantee 1: every file is accounted for, once, in the lines and in the receipt."""
    receipt = run.receipt
    assert receipt["seen"] == sum(receipt[fate] for fate in Fate) + receipt["pending"]
    assert Counter(line["verdict"] for line in run.files) == {fate: receipt[fate] for fate in Fate if receipt[fate]}
    assert len(run.by_path) == len(run.files) == receipt["seen"] - receipt["pending"]
    if receipt["state"] == "complete":
        assert receipt["pending"] == 0
