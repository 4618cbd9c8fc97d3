"""Direct methods: what headquarters can ask of a gateway. No SDK types.

Each takes a JSON payload and answers with an HTTP-like status and a JSON object, within seconds.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge_module.blobs import UploadSas
from edge_module.errors import PonyaError, WireError

_log = logging.getLogger(__name__)

_OK: Final = 200
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_FAILED: Final = 500

Handler = Callable[[object], dict[str, Any]]


class Methods:
    """Answers direct methods by name."""

    def __init__(
        self, *, set_upload_sas: Callable[[UploadSas], None], status: Callable[[], Mapping[str, float | str]]
    ) -> None:
        self._set_upload_sas = set_upload_sas
        self._status = status
        self._handlers: dict[str, Handler] = {"setUploadSas": self._on_set_upload_sas, "getStatus": self._on_get_status}

    def answer(self, name: str, payload: object) -> tuple[int, dict[str, Any]]:
        """Run one method. Never raises: a fault is an answer too."""
        handler = self._handlers.get(name)
        if handler is None:
            return _NOT_FOUND, {"error": f"no method {name[:80]!r}; there are {', '.join(self._handlers)}"}
        try:
            return _OK, handler(payload)
        except WireError as exc:
            return _BAD_REQUEST, {"error": str(exc)}
        except PonyaError as exc:
            _log.exception("method %s failed", name)
            return _FAILED, {"error": str(exc)}

    def _on_set_upload_sas(self, payload: object) -> dict[str, Any]:
        """``{container_url, sas, expires_at}``: use this credential for pictures from now on."""
        self._set_upload_sas(UploadSas.from_json(payload))
        return {}

    def _on_get_status(self, _payload: object) -> dict[str, Any]:
        """What `status` telemetry says, now."""
        return dict(self._status())
