"""What somebody needs who is to find out from afar what is wrong with a gateway: one file, without secrets and places.

Everything is redacted once more on its way in, whatever wrote it. What cannot be had is named with the reason: a bundle
of a gateway whose ledger is damaged is the one that is needed most.
"""

import io
import json
import platform
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from edge_module import as_json, health
from edge_module.clock import SystemClock
from edge_module.errors import PonyaError
from edge_module.ledger import Ledger
from edge_module.redact import redact
from edge_module.settings import SCHEMA, Settings
from edge_module.thermal import Thermal

_PACKAGES: Final = (
    "ponya", "azure-iot-device", "azure-storage-blob", "ai-edge-litert", "tflite-runtime", "numpy", "Pillow", "PyYAML",
    "cryptography", "PyNaCl", "watchdog",
)  # fmt: skip
_KEPT_FILES: Final = ("twin.json", "last-words.json")
_RECEIPTS: Final = 20
_LOG_MAX_BYTES: Final = 20_000_000


def write(out: Path, settings: Settings, ledger: Path, *, root: Path = Path("/")) -> list[str]:
    """Write a bundle, as ``tar.gz``.

    Args:
        out: the file to write.
        settings: those in force without the twin's; the twin's are in the bundle beside them.
        ledger: the ledger's file; a running gateway is not disturbed.
        root: of the file system, for tests.

    Returns:
        What could not be had: one line each.

    Raises:
        OSError: the file cannot be written.
    """
    folder = ledger.parent
    parts: dict[str, Callable[[], object]] = {
        "versions.json": _versions,
        "settings.json": lambda: {setting.name: settings.shown(setting) for setting in SCHEMA},
        "health.json": lambda: _health(settings, folder, root),
        "ledger.json": lambda: _with_ledger(ledger, _statistics),
        "receipts.json": lambda: _with_ledger(ledger, _receipts),
        "mounts.txt": lambda: (root / "proc/mounts").read_text(errors="replace"),
        **{name: lambda name=name: (folder / name).read_text() for name in _KEPT_FILES if (folder / name).exists()},  # type: ignore[misc]
        **{
            f"logs/{path.name}": lambda path=path: _tail(path)  # type: ignore[misc]
            for path in sorted((folder / "logs").glob("gateway.jsonl*"))
        },
    }
    faults: list[str] = []
    with tarfile.open(out, "w:gz") as bundle:
        for name, make in parts.items():
            try:
                _add(bundle, name, make())
            except (PonyaError, OSError, ValueError) as exc:
                faults.append(redact(f"{name}: {exc}"))
        _add(bundle, "missing.txt", "\n".join(faults) + "\n")
    return faults


def _add(bundle: tarfile.TarFile, name: str, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False, default=str)
    # Line by line: no rule of redaction may reach from one line of a log into the next.
    encoded = "".join(redact(line) for line in text.splitlines(keepends=True)).encode("utf-8", "backslashreplace")
    info = tarfile.TarInfo(f"support-bundle/{name}")
    info.size, info.mtime, info.mode = len(encoded), int(time.time()), 0o600
    bundle.addfile(info, io.BytesIO(encoded))


def _versions() -> dict[str, Any]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    machine = f"{platform.machine()} {platform.system()} {platform.release()}"
    return {"at": datetime.now(UTC), "python": platform.python_version(), "machine": machine, "packages": found}


def _health(settings: Settings, folder: Path, root: Path) -> dict[str, Any]:
    heat = Thermal(hot_c=lambda: settings.hot_c, root=root)
    kernel = {
        name: (root / "proc" / name).read_text().strip()
        for name in ("loadavg", "uptime")
        if (root / "proc" / name).exists()
    }
    return {
        **health.disk(folder),
        **health.memory(root),
        "cpu_temperature_c": heat.temperature_c(),
        "cpu_throttled": heat.throttled(),
        "boot_id": SystemClock().boot_id,
        **kernel,
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()},
    }


def _with_ledger(path: Path, ask: Callable[[Ledger], object]) -> object:
    with Ledger.beside(path, SystemClock()) as ledger:
        return ask(ledger)


def _statistics(ledger: Ledger) -> dict[str, Any]:
    names = ("sequence", "kind", "state", "bytes", "attempts", "reason")
    return {
        "ledger_id": ledger.ledger_id,
        "backlog": asdict(ledger.outbox.backlog()),
        "pictures_owed": ledger.uploads.waiting(),
        "rows": ledger.statistics(),
        "outbox": [dict(zip(names, row, strict=True)) for row in ledger.outbox.rows()[:200]],
    }


def _receipts(ledger: Ledger) -> list[dict[str, Any]]:
    return [as_json.receipt_to_json(receipt) for receipt in ledger.recent_receipts(_RECEIPTS)]


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_MAX_BYTES))
        return file.read().decode("utf-8", "replace")
