"""The device twin: desired properties to settings and confirmations, and what is reported of the settings.

A patch of `settings` applies whole or not at all; the last good ones are kept on disk and serve
a start without a network.
Reported in IoT Plug and Play's form: ``{value, ac, av, ad}`` (status, version of the desired property, description).
"""

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edge_module import settings as settings_module
from edge_module import wire
from edge_module.errors import ConfigError, WireError
from edge_module.files import write_durably
from edge_module.merge_patch import merged
from edge_module.reported import Reported
from edge_module.settings import Settings

_log = logging.getLogger(__name__)
_ACCEPTED: Final = 200
_REFUSED: Final = 400
_SOURCE: Final = "twin"
_FAULT_BYTES_MAX: Final = 200
_FAULTS_BYTES_MAX: Final = 4000
"""The twin allows 4 KB a string, and 32 KB for everything that is reported (tests/unit/edge/test_twin.py)."""


class Twin:
    """Applies desired properties in a thread of its own; `receive` may be called from any.

    Args:
        folder: where the last good settings are kept.
        local: the sources of settings under the twin's, as `settings.combine` takes them.
        check: refuses settings that cannot be used for a reason beyond themselves; raises `ConfigError`.
        confirm: gets headquarters' confirmations.
        deployments: gets what stands there, None where nothing does; may raise `WireError`.
        model: gets what stands there, None where nothing does, and the version. Must be quick.
        on_read: called when all of the desired properties have been acted on, after each connect.
        reported: what is said of the settings.
    """

    def __init__(
        self,
        *,
        folder: Path,
        local: tuple[tuple[str, Mapping[str, Any]], ...],
        check: Callable[[Settings], object],
        confirm: Callable[[wire.Confirmed], None],
        deployments: Callable[[object], None],
        model: Callable[[object, int], None],
        on_read: Callable[[], None],
        reported: Reported,
    ) -> None:
        self._path = folder / "twin.json"
        self._local = local
        self._check = check
        self._confirm = confirm
        self._deployments = deployments
        self._model = model
        self._on_read = on_read
        self._reported = reported
        self._queue: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Any] | None]] = queue.SimpleQueue()
        self._received: tuple[dict[str, Any], dict[str, Any] | None] | None = None
        self._document: dict[str, Any] = {}
        self._desired = self._last_good()
        self.settings = self._combine(self._desired)

    def receive(self, desired: dict[str, Any], there: dict[str, Any] | None) -> None:
        """Take desired properties: all of them with those reported, as after a connect, or a patch and None."""
        self._queue.put((desired, there))

    def run(self, stop: threading.Event, *, beat: Callable[[], None]) -> None:
        """Apply what is received until told to stop. Beats, to show that it goes on.

        Raises:
            StorageError: the disk takes nothing now; call again when it does: what was received is not lost.
        """
        while not stop.is_set():
            beat()
            if self._received is None:
                try:
                    self._received = self._queue.get(timeout=0.5)
                except queue.Empty:
                    self._reported.again()
                    continue
            self.apply(*self._received)
            self._received = None

    def apply(self, desired: dict[str, Any], there: dict[str, Any] | None) -> None:
        """Apply one delivery. The same twice does nothing new, and says nothing new."""
        complete = there is not None
        if there is not None:
            self._reported.connected(there)
        number = desired.get("$version")
        version = number if isinstance(number, int) else 0
        if "settings" in desired or complete:
            patch = desired.get("settings")
            removed = patch is None  # a null takes everything back that stood there
            self._apply_settings({} if removed else patch, version, whole=complete or removed, again=complete)
        # After a cut an edge hub tells the module but what differs, so that only the whole of a section makes sense.
        self._document = desired if complete else merged(self._document, desired)
        if (confirmed := self._document.get("confirmed")) is not None and ("confirmed" in desired or complete):
            try:
                self._confirm(wire.Confirmed.from_twin(confirmed))
            except WireError as exc:
                _log.error("desired property ignored: %s", exc)
        if "deployments" in desired or complete:
            try:
                self._deployments(self._document.get("deployments"))
            except WireError as exc:
                _log.error("desired property ignored: %s", exc)
        if "model" in desired or complete:
            self._model(self._document.get("model"), version)
        if complete:
            self._on_read()

    def _apply_settings(self, patch: object, version: int, *, whole: bool, again: bool) -> None:
        """Apply a patch, or everything that is desired (`whole`), which may have been said before (`again`)."""
        if not isinstance(patch, dict):
            fault = f"{_SOURCE}: settings: {str(patch)[:80]!r} is not allowed; an object is"
            self._tell([], version, [fault], again=again)
            return
        try:
            merged = patch if whole else {**self._desired, **patch}
            wanted = {name: value for name, value in merged.items() if value is not None and not name.startswith("$")}
            settings = self._combine(wanted)
        except ConfigError as exc:
            _log.error("settings refused: %s", "; ".join(exc.faults)[:_FAULTS_BYTES_MAX])
            self._tell(list(patch), version, exc.faults, again=again)
            return
        if wanted != self._desired:
            try:
                write_durably(self._path, json.dumps(wanted).encode())
            except OSError as exc:  # the disk is full or failing: what cannot be kept would be gone after a start
                fault = f"{_SOURCE}: settings: cannot be kept on the gateway's disk: {exc.strerror}"
                _log.error("%s", fault)
                self._tell(list(patch), version, [fault], again=again)
                return
            self._desired = wanted
            self.settings = settings
        told = self._reported.current("settings") if whole else None  # what was set before and is not any more
        self._tell([*patch, *(told if isinstance(told, dict) else ())], version, [], again=again)

    def _combine(self, wanted: Mapping[str, Any]) -> Settings:
        faults = [
            f"{_SOURCE}: {setting.name}: cannot be set from afar"
            for setting in settings_module.SCHEMA
            if not setting.twin and setting.name in wanted
        ]
        try:
            settings = settings_module.combine(*self._local, (_SOURCE, wanted))
        except ConfigError as exc:
            raise ConfigError(faults + exc.faults) from exc
        if faults:
            raise ConfigError(faults)
        self._check(settings)
        return settings

    def _last_good(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_bytes())
            self._combine(kept)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, ConfigError) as exc:
            _log.error("%s cannot be used (%s): starting with the local settings", self._path.name, exc)
            return {}
        return dict(kept)

    def _tell(self, names: list[str], version: int, faults: list[str], *, again: bool) -> None:
        """Report what became of these settings."""
        told = self._reported.current("settings")
        answers = dict(told) if isinstance(told, dict) else {}
        for name in {name for name in answers if name not in settings_module.BY_NAME}:  # of older software
            del answers[name]
        for name in names:
            if (setting := settings_module.BY_NAME.get(name)) is None:
                continue
            own = [fault for fault in faults if fault.startswith((f"{_SOURCE}: {name}:", f"{name}:"))]
            said = "applied" if not faults else "; ".join(own) or "not applied, see settings_fault"
            answers[name] = _answer(
                self.settings.shown(setting), said, version, ok=not faults, had=answers.get(name) if again else None
            )
        fault = self._reported.current("settings_fault") if again else None
        self._reported.set(
            {
                "settings": answers,
                "settings_fault": _answer(None, _lines(faults), version, ok=False, had=fault) if faults else None,
            }
        )


def _answer(value: object, said: str, version: int, *, ok: bool, had: object) -> dict[str, Any]:
    """One property's answer; what was said before of an earlier version (`had`) is not said again for its number."""
    bytes_max = _FAULTS_BYTES_MAX if value is None and not ok else _FAULT_BYTES_MAX
    answer: dict[str, Any] = {"ac": _ACCEPTED if ok else _REFUSED, "av": version, "ad": _cut(said, bytes_max)}
    if value is not None:
        answer["value"] = value
    if isinstance(had, dict) and {**had, "av": version} == answer:
        return had
    return answer


def _lines(faults: list[str]) -> str:
    """The faults, one a line; how many more there are where they would not fit."""
    text = "\n".join(faults)
    if len(text.encode("utf-8", "replace")) <= _FAULTS_BYTES_MAX:
        return text
    fitting = _cut(text, _FAULTS_BYTES_MAX - 40).split("\n")[:-1]
    return "\n".join([*fitting, f"and {len(faults) - len(fitting)} faults more"])


def _cut(text: str, bytes_max: int) -> str:
    """As much of a text as fits: the twin allows 4 KB a string, and people write in every alphabet."""
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")
