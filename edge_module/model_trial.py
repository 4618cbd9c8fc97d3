"""A new model is tried on the golden frames in a process of its own: one that crashes or hangs takes nothing with it.

``python -m edge_module.model_trial MODEL_FOLDER GOLDEN_FOLDER`` prints what it found as JSON. Used by `try_out`.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge_module import model_store
from edge_module.backbone import Backbone
from edge_module.classify import classify
from edge_module.domain import Fate
from edge_module.errors import ModelError, PonyaError
from edge_module.frame import INPUT_PX
from edge_module.scorer import Model
from edge_module.settings import combine

_POLL_S: Final = 0.1
_INVOKES: Final = 10
_SAID_MAX: Final = 300

_MAY_BECOME: Final = {Fate.PANDA: {Fate.PANDA, Fate.REVIEW}, Fate.HUMAN: {Fate.HUMAN, Fate.REVIEW}}
"""What a head may say of its own on a golden frame: a panda is not thrown away, a person is not sent."""


class StoppedError(PonyaError):
    """The gateway ends: nothing is known of the model yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial found: the verdict on each golden frame, by name, and the CPU time of one look."""

    verdicts: Mapping[str, str]
    look_ms: float


def try_out(model: Path, golden: Path, *, timeout_s: float, stop: threading.Event) -> Tried:
    """Score the golden frames with a model in a process of its own.

    Args:
        model: the model's folder.
        golden: the folder of the golden frames.
        timeout_s: after which the model hangs.
        stop: set it to give up.

    Raises:
        ModelError: the process ended badly, hung, or said something else.
        StoppedError: `stop` was set.
    """
    command = [sys.executable, "-m", "edge_module.model_trial", str(model), str(golden)]
    give_up_at = time.monotonic() + timeout_s
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired as exc:
                    if stop.is_set():
                        raise StoppedError from exc
                    if time.monotonic() > give_up_at:
                        raise ModelError(f"its trial was not done within {timeout_s:.0f} s") from exc
        finally:
            process.kill()
    if process.returncode < 0:
        raise ModelError(f"its trial was ended by signal {-process.returncode}: it crashes the runtime")
    if process.returncode:
        raise ModelError(f"its trial failed: {(err.strip().splitlines() or ['no reason given'])[-1][:_SAID_MAX]}")
    try:
        found = json.loads(out.splitlines()[-1])
        return Tried(verdicts=dict(found["verdicts"]), look_ms=float(found["look_ms"]))
    except (ValueError, IndexError, KeyError, TypeError) as exc:
        raise ModelError(f"its trial said something else: {out[-_SAID_MAX:]!r}") from exc


def differences(found: Mapping[str, str], golden: Path, own: Mapping[str, str]) -> list[str]:
    """What a model says otherwise of the golden frames than it should.

    Args:
        found: its verdicts, by the frame's name.
        golden: the folder of the golden frames, with ``expected.json``.
        own: what the model itself is expected to say otherwise, by the name without suffix. Within bounds: a golden
            panda stays `panda` or `review`, a person `human` or `review`, and nothing else becomes a `panda`.

    Returns:
        One line a frame; nothing when all is well.
    """
    expected = {name: str(what["verdict"]) for name, what in read_expected(golden).items()}
    unknown = own.keys() - {Path(name).stem for name in expected}
    lines = [f"{name[:40]}: is no golden frame" for name in sorted(unknown)]
    for name, verdict in expected.items():
        wanted = own.get(Path(name).stem, verdict)
        allowed = _MAY_BECOME.get(Fate(verdict), {Fate.OTHER, Fate.BLANK, Fate.HUMAN, Fate.REVIEW})
        if wanted not in allowed:
            lines.append(f"{name}: {wanted[:20]} cannot be expected, it is a {verdict}")
        elif found.get(name) != wanted:
            lines.append(f"{name}: {found.get(name)}, expected {wanted}")
    return lines


def read_expected(golden: Path) -> dict[str, dict[str, object]]:
    """What the software's own model says of the golden frames.

    Raises:
        ModelError: it cannot be read.
    """
    path = golden / "expected.json"
    try:
        expected: dict[str, dict[str, object]] = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path}: {exc}; install the software again") from exc
    return expected


def _look_ms(model: Model) -> float:
    """CPU time of one look, the quickest of some: what else the machine does counts for nothing."""
    backbone = Backbone(model.backbone, name="backbone.tflite")
    picture = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    times_s = []
    for _ in range(_INVOKES):
        began_s = time.process_time()
        backbone.look(picture)
        times_s.append(time.process_time() - began_s)
    return round(min(times_s) * 1000, 2)


def _main(folder: Path, golden: Path) -> None:
    try:
        model = model_store.load(folder)
        paths = [golden / name for name in sorted(read_expected(golden))]
        # The model's own thresholds: those that are set from afar are no part of it.
        verdicts = {Path(line["path"]).name: line["verdict"] for line in classify(paths, model, combine())}
    except ModelError as exc:
        sys.exit(str(exc))
    print(json.dumps({"verdicts": verdicts, "look_ms": _look_ms(model)}))  # noqa: T201


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
