"""How the gateway is: measurements by name. docs/wire.md says what each means; what is not known here is left out."""

import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_module.budget import Allowance
from edge_module.clock import Clock
from edge_module.errors import StorageError
from edge_module.ledger import Ledger
from edge_module.settings import Settings
from edge_module.storage import Storage
from edge_module.thermal import Thermal

_STARTED: Final = time.monotonic()
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

Measures = dict[str, float | str]


class Health:
    """Measures the gateway.

    Args:
        ledger: what is owed.
        folder: on the gateway's disk.
        clock: for the name of this boot.
        model_id: of the model that judges now.
        activity: what the gateway is doing, for people.
        settings: those in force now, for the budget.
        storage: the state of the disk.
        thermal: the processor's heat.
        root: of the file system, for tests.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        folder: Path,
        clock: Clock,
        model_id: Callable[[], str],
        activity: Callable[[], str],
        settings: Callable[[], Settings],
        storage: Storage,
        thermal: Thermal,
        root: Path = Path("/"),
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._clock = clock
        self._model_id = model_id
        self._activity = activity
        self._settings = settings
        self._storage = storage
        self._thermal = thermal
        self._root = root

    def measures(self) -> Measures:
        """Measurements by name, units in the names."""
        backlog = self._ledger.outbox.backlog()
        return {
            "activity": self._storage.words or self._activity(),
            "messages_owed": backlog.messages,
            "verdicts_unpacked": backlog.records_unpacked,
            "unconfirmed_bytes": backlog.unconfirmed_bytes,
            "messages_buried": backlog.buried,
            "pictures_owed": self._ledger.uploads.waiting(),
            **self._budget(),
            "card_errors": self._ledger.interrupted(),
            "storage": self._storage.trouble or "ok",
            **disk(self._folder),
            **memory(self._root),
            **self._heat(),
            "model_id": self._model_id(),
            "version": version(),
            "boot_id": self._clock.boot_id,
            "uptime_s": round(time.monotonic() - _STARTED),
        }

    def _budget(self) -> Measures:
        try:
            return {"budget_left_bytes": self._ledger.budget.left_bytes(Allowance.of(self._settings()), urgent=True)}
        except StorageError:  # the day is noted when it is asked for, and the disk does not take it now
            return {}

    def _heat(self) -> Measures:
        temperature_c, throttled = self._thermal.temperature_c(), self._thermal.throttled()
        known: Measures = {"work_lowered": int(self._thermal.hot())}
        if temperature_c is not None:
            known["cpu_temperature_c"] = round(temperature_c, 1)
        if throttled is not None:
            known["cpu_throttled"] = int(throttled)
        return known


def version() -> str:
    """Of this software."""
    try:
        return importlib.metadata.version("ponya")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def disk(folder: Path) -> Measures:
    """What the disk under a folder has left; nothing where it does not answer."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {}
    return {"disk_free_bytes": usage.free, "disk_free_share": round(usage.free / usage.total, 3) if usage.total else 0}


def memory(root: Path = Path("/")) -> Measures:
    """What this process holds, and what the machine has left; what the kernel does not tell is left out."""
    found: Measures = {}
    try:
        found["memory_used_bytes"] = int((root / "proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                found["memory_free_bytes"] = int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # another kernel: half an answer is better than none
    return found
