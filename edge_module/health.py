"""How the gateway is: a few measurements by name."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_module.ledger import Ledger

_STARTED: Final = time.monotonic()


class Health:
    """Measures the gateway."""

    def __init__(
        self, *, ledger: Ledger, folder: Path, model_id: Callable[[], str], activity: Callable[[], str]
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._model_id = model_id
        self._activity = activity

    def measures(self) -> dict[str, float | str]:
        """Measurements by name, units in the names; docs/wire.md documents each."""
        backlog = self._ledger.outbox.backlog()
        disk = os.statvfs(self._folder)
        return {
            "activity": self._activity(),
            "messages_owed": backlog.messages,
            "unconfirmed_bytes": backlog.unconfirmed_bytes,
            "messages_buried": backlog.buried,
            "pictures_owed": self._ledger.uploads.waiting(),
            "disk_free_bytes": disk.f_bavail * disk.f_frsize,
            "model_id": self._model_id(),
            "uptime_s": round(time.monotonic() - _STARTED),
        }
