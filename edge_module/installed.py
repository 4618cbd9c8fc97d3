"""Models that came from afar, on the gateway's disk: which is in force, which was before, and which is being tried.

``models/<model id>/`` holds ``backbone.tflite, head.json, expected.json`` and ``SHA256SUMS``; ``models/state.json``
says which is in force. A folder is made under another name and renamed when it is whole; the state is one file,
replaced in one step. So a power cut at any instant leaves a state that names whole models. The model that comes with
the software stands under no name here (None): it is always there to go back to.

===================== ======================================== ===================================================
state                 event                                    next state
===================== ======================================== ===================================================
any                   try_out(new)                             trial = new, counted
trial = new           refuse                                   trial = None, the request is remembered as refused
trial = new           promote                                  current = new, previous = current, not proven
current not proven    a start                                  counted; after `STARTS_MAX` of them: roll_back
current not proven    it has worked                            proven
any                   roll_back                                current = previous, the request remembered
===================== ======================================== ===================================================
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from edge_module.errors import ModelError
from edge_module.files import rename_durably, write_durably

_log = logging.getLogger(__name__)

STARTS_MAX: Final = 3
"""So many starts, or trials, that a model may take without having worked: then it is the model."""

_DOWNLOAD: Final = ".download"
EXPECTED: Final = "expected.json"


def _no_step(_name: str) -> None:
    """Do nothing: what happens between the steps outside of a crash test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What ``state.json`` says. Models by id; None is the software's own.

    Args:
        proven: whether the current model has worked.
        starts: how often the gateway was started with it before that.
        trial: the model that is being tried.
        trials: how often its trial was begun.
        request: the last request of headquarters that was acted on to the end, and what came of it.
    """

    current: str | None = None
    previous: str | None = None
    proven: bool = True
    starts: int = 0
    trial: str | None = None
    trials: int = 0
    request: str = ""
    outcome: str = ""
    said: str = ""


class Installed:
    """The models folder. For one thread at a time.

    Args:
        folder: ``models`` in the data folder; need not exist.
        on_step: named steps, for tests that cut there.
    """

    def __init__(self, folder: Path, *, on_step: Callable[[str], None] = _no_step) -> None:
        self._folder = folder
        self._step = on_step
        self.state = self._read()

    def path(self, model_id: str) -> Path:
        """Where a model lies, or would."""
        return self._folder / model_id

    @property
    def current(self) -> Path | None:
        """The folder of the model in force; None for the software's own."""
        return None if self.state.current is None else self.path(self.state.current)

    @property
    def expected(self) -> dict[str, str]:
        """What the model in force says otherwise of the golden frames than the software's own."""
        if self.current is None:
            return {}
        try:
            return dict(json.loads((self.current / EXPECTED).read_bytes()))
        except (OSError, ValueError, TypeError) as exc:
            raise ModelError(f"{self.current / EXPECTED}: {exc}; send the model again") from exc

    def downloads(self, sha256: str) -> Path:
        """Where a backbone is put together."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{sha256}{_DOWNLOAD}"

    def backbone(self, sha256: str, *others: Path) -> bytes | None:
        """A backbone that is on the gateway already: in a model here, or in one of the other folders."""
        here = [self.path(name) for name in (self.state.current, self.state.previous) if name]
        for folder in (*here, *others):
            try:
                content = (folder / "backbone.tflite").read_bytes()
            except OSError:
                continue
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
        return None

    def install(self, model_id: str, backbone: bytes, head: bytes, expected: Mapping[str, str]) -> Path:
        """Put a model's folder on the disk, whole or not at all.

        Args:
            model_id: names it.
            backbone: content of ``backbone.tflite``.
            head: content of ``head.json``.
            expected: what it says otherwise of the golden frames than the software's own model.

        Raises:
            OSError: the disk is full, read-only or failing; what was there before is untouched.
        """
        target, beside = self.path(model_id), self._folder / f".{model_id}.part"
        shutil.rmtree(beside, ignore_errors=True)
        files = {"backbone.tflite": backbone, "head.json": head, EXPECTED: json.dumps(dict(expected)).encode()}
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        for name, content in (files | {"SHA256SUMS": sums.encode()}).items():
            self._step(f"install:{name}")
            write_durably(beside / name, content)
        if target.exists():  # of an earlier try: it may be damaged
            shutil.rmtree(target)
        self._step("install:rename")
        rename_durably(beside, target)
        return target

    def try_out(self, model_id: str) -> bool:
        """Note that a model's trial begins. False where it has begun too often: the gateway ends by it."""
        again = self.state.trials if self.state.trial == model_id else 0
        if again >= STARTS_MAX:
            return False
        self._write("trial", replace(self.state, trial=model_id, trials=again + 1))
        return True

    def promote(self, model_id: str | None, *, request: str, outcome: str, said: str) -> None:
        """Put a model in force: None for the software's own, which needs no proof."""
        was = self.state
        self._write(
            "promote",
            State(
                current=model_id, previous=was.current if was.current != model_id else was.previous,
                proven=model_id is None, request=request, outcome=outcome, said=said,
            ),
        )  # fmt: skip
        self.sweep()

    def settle(self, *, request: str, outcome: str, said: str) -> None:
        """A request came to its end without another model in force."""
        self._write(
            "settle", replace(self.state, trial=None, trials=0, request=request, outcome=outcome, said=said)
        )  # fmt: skip
        self.sweep()

    def started(self) -> bool:
        """Count a start. False where the model in force has had too many without having worked."""
        if self.state.proven:
            return True
        if self.state.starts >= STARTS_MAX:
            return False
        self._write("start", replace(self.state, starts=self.state.starts + 1))
        return True

    def worked(self) -> None:
        """The model in force has worked."""
        if not self.state.proven:
            self._write("worked", replace(self.state, proven=True, starts=0))

    def ended_in_order(self) -> None:
        """The gateway was told to end: neither that start nor that trial says anything against a model."""
        if self.state.starts or self.state.trials:
            self._write("ended", replace(self.state, starts=0, trials=0))

    def roll_back(self, *, outcome: str, said: str) -> None:
        """Put the model before in force; where there is none, or it was this one, the software's own."""
        was = self.state
        back = was.previous if was.previous != was.current else None
        self._write(
            "roll_back",
            State(current=back, proven=back is None, request=was.request, outcome=outcome, said=said),
        )  # fmt: skip
        self.sweep()

    def sweep(self, *, downloads: bool = True) -> None:
        """Remove what no state names. What a power cut left is removed at the next start, but for half a download."""
        named = {self.state.current, self.state.previous, self.state.trial}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.is_dir() and path.name not in named:
                self._step("sweep")
                shutil.rmtree(path, ignore_errors=True)
            elif downloads and path.suffix == _DOWNLOAD:
                path.unlink(missing_ok=True)

    def _write(self, step: str, state: State) -> None:
        self._step(f"{step}:begun")
        write_durably(self._folder / "state.json", json.dumps(asdict(state)).encode())
        self.state = state
        self._step(f"{step}:written")

    def _read(self) -> State:
        path = self._folder / "state.json"
        try:
            found = State(**json.loads(path.read_bytes()))
            _check(found)
        except (FileNotFoundError, NotADirectoryError):  # whatever is wrong with the folder, the ledger says
            return State()
        except (OSError, ValueError, TypeError) as exc:
            _log.error("%s cannot be used (%s): going on with the software's own model", path, exc)
            return State()
        return found


def _check(state: State) -> None:
    for name in (state.current, state.previous, state.trial):
        if name is not None and not re.fullmatch("[0-9a-f]{12}", name):
            raise ValueError(f"{name!r} is no model")
    if not all(type(number) is int for number in (state.starts, state.trials)):
        raise ValueError("a count is none")
