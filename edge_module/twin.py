"""The device twin: desired properties to settings and confirmations, and what is reported back.

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
from edge_module.errors import ConfigError, PermanentDelivery, TransientDelivery, WireError
from edge_module.files import write_durably
from edge_module.settings import Settings

_log = logging.getLogger(__name__)
_ACCEPTED: Final = 200
_REFUSED: Final = 400
_SOURCE: Final = "twin"


class Twin:
    """Applies desired properties in a thread of its own; `receive` may be called from any.

    Args:
        folder: where the last good settings are kept.
        local: the sources of settings under the twin's, as `settings.combine` takes them.
        check: refuses settings that cannot be used for a reason beyond themselves; raises `ConfigError`.
        confirm: gets headquarters' confirmations.
        deployments: gets what stands there, None where nothing does; may raise `WireError`.
        on_read: called when all of the desired properties have been acted on, after each connect.
        report: sets reported properties; may raise `TransientDelivery`.
    """

    def __init__(
        self,
        *,
        folder: Path,
        local: tuple[tuple[str, Mapping[str, Any]], ...],
        check: Callable[[Settings], object],
        confirm: Callable[[wire.Confirmed], None],
        deployments: Callable[[object], None],
        on_read: Callable[[], None],
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self._path = folder / "twin.json"
        self._local = local
        self._check = check
        self._confirm = confirm
        self._deployments = deployments
        self._on_read = on_read
        self._report = report
        self._queue: queue.SimpleQueue[tuple[dict[str, Any], bool]] = queue.SimpleQueue()
        self._desired = self._last_good()
        self.settings = self._combine(self._desired)

    def receive(self, desired: dict[str, Any], complete: bool) -> None:
        """Take desired properties: all of them, or a patch."""
        self._queue.put((desired, complete))

    def run(self, stop: threading.Event) -> None:
        """Apply what is received until told to stop."""
        while not stop.is_set():
            try:
                desired, complete = self._queue.get(timeout=0.5)
            except queue.Empty:
                continue
            self.apply(desired, complete=complete)

    def apply(self, desired: dict[str, Any], *, complete: bool) -> None:
        """Apply one delivery. The same twice does nothing new."""
        version = desired.get("$version", 0)
        if "settings" in desired or complete:
            patch = desired.get("settings")
            removed = patch is None  # a null takes everything back that stood there
            self._apply_settings({} if removed else patch, version, complete=complete or removed)
        if desired.get("confirmed") is not None:
            try:
                confirmed = wire.Confirmed.from_twin(desired["confirmed"])
            except WireError as exc:
                _log.error("desired property ignored: %s", exc)
            else:
                self._confirm(confirmed)
        if "deployments" in desired or complete:
            try:
                self._deployments(desired.get("deployments"))
            except WireError as exc:
                _log.error("desired property ignored: %s", exc)
        if complete:
            self._on_read()

    def _apply_settings(self, patch: object, version: object, *, complete: bool) -> None:
        if not isinstance(patch, dict):
            self._tell([], version, _REFUSED, f"{_SOURCE}: settings: {str(patch)[:80]!r} is not allowed; an object is")
            return
        try:
            merged = patch if complete else {**self._desired, **patch}
            wanted = {name: value for name, value in merged.items() if value is not None and not name.startswith("$")}
            settings = self._combine(wanted)
        except ConfigError as exc:
            _log.error("settings refused: %s", "; ".join(exc.faults))
            self._tell([str(name) for name in patch], version, _REFUSED, "; ".join(exc.faults))
            return
        if wanted != self._desired:
            write_durably(self._path, json.dumps(wanted).encode())
            self._desired = wanted
            self.settings = settings
        self._tell([str(name) for name in patch], version, _ACCEPTED, "applied")

    def _combine(self, wanted: Mapping[str, Any]) -> Settings:
        faults = [
            f"{_SOURCE}: {setting.name}: cannot be set from afar"
            for setting in settings_module.SCHEMA
            if not setting.twin and setting.name in wanted
        ]
        if faults:
            raise ConfigError(faults)
        settings = settings_module.combine(*self._local, (_SOURCE, wanted))
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

    def _tell(self, names: list[str], version: object, status: int, description: str) -> None:
        known = {setting.name for setting in settings_module.SCHEMA}
        answers = {
            name: {"value": getattr(self.settings, name), "ac": status, "av": version, "ad": _cut(description, 500)}
            for name in names
            if name in known
        }
        properties: dict[str, Any] = {"settings": answers}
        if status == _REFUSED:
            properties["settings_fault"] = {"ac": status, "av": version, "ad": _cut(description, 4000)}
        else:
            properties["settings_fault"] = None
        try:
            self._report(properties)
        except (TransientDelivery, PermanentDelivery) as exc:
            _log.info("not reported, the twin comes again on the next connection: %s", exc)


def _cut(text: str, bytes_max: int) -> str:
    """As much of a text as fits: the twin allows 4 KB a string, and people write in every alphabet."""
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")
