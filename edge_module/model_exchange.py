"""The model in force, and how another takes its place: fetched, verified, tried, promoted; rolled back by itself.

Readings take `Models.model` as they begin: a new model judges from the next reading on, without a restart
(docs/decisions/0035).
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from edge_module import model_store
from edge_module.breath import Beat
from edge_module.clock import Clock
from edge_module.errors import ConfigError, ModelError, TransientDelivery, WireError
from edge_module.head import Head
from edge_module.installed import STARTS_MAX, Installed
from edge_module.model_trial import StoppedError, Tried, differences, try_out
from edge_module.model_wire import WantedModel
from edge_module.reported import Reported
from edge_module.scorer import Model
from edge_module.settings import Settings

_log = logging.getLogger(__name__)

PROVEN_AFTER_S: Final = 600.0
"""A model that the gateway has run with for so long without ending has worked, card or no card."""

_AGAIN_FIRST_S: Final = 10.0
_AGAIN_LONGEST_S: Final = 3600.0
_ACT_LONGEST_S: Final = 12 * 3600.0
"""A backbone over a weak link; fetching and trying have limits of their own."""
_POLL_S: Final = 0.5
_LOOK_SLACK_MS: Final = 1.0
"""What a clock of CPU time cannot tell apart."""

_DONE: Final = 200
_BEGUN: Final = 202
_REFUSED: Final = 400
_FAILED: Final = 500

INSTALLED: Final = "installed"
ROLLED_BACK: Final = "rolled_back"
REFUSED: Final = "refused"
_STATUS: Final = {INSTALLED: _DONE, ROLLED_BACK: _FAILED, REFUSED: _REFUSED}


class Fetch(Protocol):
    """Gets a backbone by link; `model_fetch.fetch` is one."""

    def __call__(self, url: str, *, sha256: str, size_bytes: int, part: Path, stop: threading.Event) -> bytes:
        """Get it whole; raises `TransientDelivery`, `ModelError` or `OSError`."""


class Trial(Protocol):
    """Tries a model; `model_trial.try_out` is one."""

    def __call__(self, model: Path, golden: Path, *, timeout_s: float, stop: threading.Event) -> Tried:
        """Score the golden frames; raises `ModelError` or `StoppedError`."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The desired property ``model`` as it came, and its version."""

    value: object
    version: int


class Models:
    """The model in force. `model` may be read and `want` called from any thread; one thread calls `run`.

    Args:
        installed: the models on the disk.
        base: the folder of the software's own model, or of the one that the settings name.
        golden: the folder of the golden frames.
        settings: those in force now.
        alert: tells headquarters; a code and a text.
        reported: where the steps are reported, as ``model``.
        fetch: gets backbones.
        clock: for delays.
        trial: tries a model.

    Raises:
        ModelError: not even the software's own model can be trusted.
        ConfigError: the thresholds that are set make no sense with it.
    """

    def __init__(
        self,
        *,
        installed: Installed,
        base: Path,
        golden: Path,
        settings: Callable[[], Settings],
        alert: Callable[[str, str], None],
        reported: Reported,
        fetch: Fetch,
        clock: Clock,
        trial: Trial = try_out,
    ) -> None:
        self._installed = installed
        self._base = base
        self._golden = golden
        self._settings = settings
        self._alert = alert
        self._reported = reported
        self._fetch = fetch
        self._trial = trial
        self._clock = clock
        self._queue: queue.SimpleQueue[_Wanted] = queue.SimpleQueue()
        self._wanted: _Wanted | None = None
        self._worked = threading.Event()
        self._version = 0
        self.model = self._start()

    # --- which model is in force ----------------------------------------------------------------------------------

    def _start(self) -> Model:
        """The model to start with; one that has ended the gateway too often, or is damaged, is rolled back."""
        try:
            self._installed.sweep(downloads=False)
            if not self._installed.started():
                self._roll_back(f"the gateway ended {STARTS_MAX} times before a reading with it was complete")
        except OSError as exc:
            _log.error("models cannot be kept: %s", exc.strerror)
        while (folder := self._installed.current) is not None:
            try:
                return model_store.load(folder)
            except ModelError as exc:
                try:
                    self._roll_back(str(exc))
                except OSError as failing:
                    _log.error("the model is not rolled back (%s): going on with the software's own", failing.strerror)
                    break
        return model_store.load(self._base)

    def _roll_back(self, why: str) -> None:
        bad = self._installed.state.current
        text = f"model {bad} is rolled back: {why}"
        _log.error("%s", text)
        self._alert("model_rolled_back", text)  # before the state: rather twice than never
        self._installed.roll_back(outcome=ROLLED_BACK, said=text)

    def worked(self) -> None:
        """A reading with the model in force is complete."""
        self._worked.set()

    # --- what headquarters wants ----------------------------------------------------------------------------------

    def want(self, value: object, version: int) -> None:
        """Take the desired property ``model``: None for the software's own."""
        self._queue.put(_Wanted(value, version))

    def run(self, stop: threading.Event, *, beat: Beat) -> None:
        """Act on what is wanted, until told to stop. Beats, to show that it goes on.

        Raises:
            StorageError: the disk takes nothing now; call again when it does: what is wanted is not forgotten.
        """
        began_s, pause_s = self._clock.monotonic_s(), _AGAIN_FIRST_S
        again_at_s = 0.0
        while not stop.is_set():
            beat()
            now_s = self._clock.monotonic_s()
            if self._worked.is_set() or now_s - began_s > PROVEN_AFTER_S:
                self._prove()
            with contextlib.suppress(queue.Empty):
                self._wanted, again_at_s, pause_s = self._queue.get(timeout=_POLL_S), now_s, _AGAIN_FIRST_S
            if self._wanted is None or now_s < again_at_s:
                continue
            try:
                beat(allow_s=_ACT_LONGEST_S)
                self.act(self._wanted.value, self._wanted.version, stop)
                self._wanted = None
            except StoppedError:
                return
            except (TransientDelivery, OSError) as exc:
                said = f"waiting: {exc.strerror if isinstance(exc, OSError) else exc}"
                _log.warning("the model that is wanted: %s", said)
                self._tell("waiting", said)
                again_at_s, pause_s = self._clock.monotonic_s() + pause_s, min(2 * pause_s, _AGAIN_LONGEST_S)

    def ended_in_order(self) -> None:
        """The gateway ends as it was told to. To be called when `run` has returned, and nothing else went wrong."""
        try:
            self._installed.ended_in_order()
        except OSError as exc:
            _log.warning("the model's state is not kept: %s", exc.strerror)

    def _prove(self) -> None:
        try:
            self._installed.worked()
            self._worked.clear()
        except OSError as exc:
            _log.warning("the model's state is not kept: %s", exc.strerror)

    def act(self, value: object, version: int, stop: threading.Event) -> None:
        """Do what headquarters wants. The same request twice is acted on once.

        Raises:
            TransientDelivery, OSError: not now; may be later.
            StoppedError: `stop` was set.
        """
        self._version = version
        if value is None:
            self._use_base()
            return
        try:
            wanted = WantedModel.from_twin(value)
        except WireError as exc:
            self._tell(REFUSED, str(exc))
            return
        state = self._installed.state
        if wanted.request == state.request:
            self._tell(state.outcome, state.said)
            return
        try:
            self._exchange(wanted, stop)
        except (ModelError, ConfigError) as exc:
            said = f"model {wanted.model_id} is refused: {exc}"
            _log.error("%s", said)
            self._alert("model_refused", said)
            self._installed.settle(request=wanted.request, outcome=REFUSED, said=said)
            self._tell(REFUSED, said)

    def _use_base(self) -> None:
        state = self._installed.state
        if state.current is not None:
            try:
                model = model_store.load(self._base)
                self._settings().thresholds(model.head.thresholds)
            except (ModelError, ConfigError) as exc:  # the one in force works: it stays
                self._tell(REFUSED, f"the software's own model is refused: {exc}")
                return
            self.model = model
            self._installed.promote(None, request="", outcome=INSTALLED, said="the software's own")
        elif state.request:  # what was refused or rolled back is not wanted any more
            self._installed.settle(request="", outcome=INSTALLED, said="the software's own")
        self._tell(INSTALLED, "the software's own")

    def _exchange(self, wanted: WantedModel, stop: threading.Event) -> None:
        head = Head.from_json(wanted.head)
        if head.backbone_sha256 != wanted.backbone_sha256:
            raise ModelError("the head was trained on another backbone than backbone_sha256 names")
        self._settings().thresholds(head.thresholds)
        said = f"model {wanted.model_id} is installed"
        if wanted.model_id == self.model.model_id:
            self._installed.settle(request=wanted.request, outcome=INSTALLED, said=said)
            self._tell(INSTALLED, said)
            return
        backbone = self._backbone(wanted, stop)
        folder = self._installed.install(wanted.model_id, backbone, wanted.head, wanted.expected)
        model = model_store.load(folder)
        self._try(wanted, folder, stop)
        self._settings().thresholds(head.thresholds)  # once more: they may have been changed during the trial
        self._installed.promote(wanted.model_id, request=wanted.request, outcome=INSTALLED, said=said)
        self._worked.clear()
        self.model = model
        _log.warning("%s", said)
        self._tell(INSTALLED, said)

    def _backbone(self, wanted: WantedModel, stop: threading.Event) -> bytes:
        if (content := self._installed.backbone(wanted.backbone_sha256, self._base)) is not None:
            return content
        if not wanted.backbone_url:
            raise ModelError("its backbone is not on this gateway; send it too (model send --folder)")
        self._tell("downloading", f"model {wanted.model_id}: its backbone of {wanted.backbone_bytes} bytes is fetched")
        return self._fetch(
            wanted.backbone_url,
            sha256=wanted.backbone_sha256,
            size_bytes=wanted.backbone_bytes,
            part=self._installed.downloads(wanted.backbone_sha256),
            stop=stop,
        )

    def _try(self, wanted: WantedModel, folder: Path, stop: threading.Event) -> None:
        if not self._installed.try_out(wanted.model_id):
            raise ModelError(f"the gateway ended {STARTS_MAX} times while it was tried")
        self._tell("trying", f"model {wanted.model_id} is tried on the golden frames")
        found = self._tried(folder, stop)
        if faults := differences(found.verdicts, self._golden, wanted.expected):
            raise ModelError(f"golden frames: {'; '.join(faults)}")
        now = self._tried(self._installed.current or self._base, stop)
        allowed = now.look_ms * self._settings().model_slower_max + _LOOK_SLACK_MS
        if found.look_ms > allowed:
            raise ModelError(
                f"too slow: {found.look_ms:.0f} ms of CPU a look, {allowed:.0f} allowed (now {now.look_ms:.0f})"
            )

    def _tried(self, folder: Path, stop: threading.Event) -> Tried:
        return self._trial(folder, self._golden, timeout_s=self._settings().model_trial_s, stop=stop)

    def _tell(self, state: str, said: str) -> None:
        answer: dict[str, Any] = {
            "value": {"model_id": self.model.model_id, "state": state},
            "ac": _STATUS.get(state, _BEGUN),
            "av": self._version,
            "ad": said.encode("utf-8", "replace")[:1000].decode("utf-8", "ignore"),
        }
        had = self._reported.current("model")
        if isinstance(had, dict) and {**had, "av": self._version} == answer and state in _STATUS:
            return  # the same was said of an earlier version
        self._reported.set({"model": answer})
