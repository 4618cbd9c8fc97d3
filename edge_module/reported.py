"""Reported properties: what headquarters may read of a gateway's twin. Sent when it differs from what stands there."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge_module.errors import NotSent, PermanentDelivery, TransientDelivery

_log = logging.getLogger(__name__)


class Reported:
    """The reported properties as they should be, and as the twin has them. May be used from any thread.

    Args:
        report: sends a patch; may raise `TransientDelivery` or `PermanentDelivery`.
        again_s: after which what did not get through is sent again on a link that stayed up meanwhile.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None], *, again_s: float = 60.0) -> None:
        self._report = report
        self._again_s = again_s
        self._again_at_s: float | None = None
        self._lock = threading.Lock()
        self._wanted: dict[str, Any] = {}
        self._there: dict[str, Any] = {}

    def connected(self, there: Mapping[str, Any]) -> None:
        """What the twin has: known after each connect. Sends what did not get through before."""
        with self._lock:
            self._there = dict(there)
            self._flush()

    def current(self, name: str) -> Any:
        """A property as it should be, else as the twin has it; None where there is none."""
        with self._lock:
            return self._wanted.get(name, self._there.get(name))

    def set(self, properties: Mapping[str, Any]) -> None:
        """Report properties; what is the same as before is not sent again. None removes one."""
        with self._lock:
            self._wanted |= properties
            self._flush()

    def again(self) -> None:
        """Send what did not get through, if it is time: a link that was slow once need not break."""
        with self._lock:
            if self._again_at_s is not None and time.monotonic() >= self._again_at_s:
                self._flush()

    def _flush(self) -> None:
        self._again_at_s = None
        patch = _difference(self._there, self._wanted)
        if not patch:
            return
        try:
            self._report(patch)
        except NotSent as exc:
            _log.info("reported on the next connection: %s", exc)
        except TransientDelivery as exc:
            _log.info("reported later: %s", exc)
            self._again_at_s = time.monotonic() + self._again_s
        except PermanentDelivery as exc:
            _log.error("not reported: %s", exc)
        else:
            self._there |= {name: self._wanted[name] for name in patch}


def _difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes the wanted properties of what is there: a null removes, an object is patched within."""
    patch: dict[str, Any] = {}
    for name, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(had := there.get(name), Mapping):
            gone = {key: None for key in had if key not in value}
            if inner := _difference(had, {**gone, **value}):
                patch[name] = inner
        elif value != there.get(name):
            patch[name] = value
    return patch
