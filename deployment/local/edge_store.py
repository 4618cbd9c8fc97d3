"""What an edge hub keeps on disk: its queue towards the hub, its modules' keys and twins, their MQTT sessions."""

import base64
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deployment.local import twin
from deployment.local.database import open_database, transaction
from deployment.local.errors import RefusedError
from deployment.local.sas import decoded
from edge_module.merge_patch import merged

if TYPE_CHECKING:
    import sqlite3

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT, created_ms INTEGER NOT NULL, kind TEXT NOT NULL, item TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS module (module_id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS session (module_id TEXT PRIMARY KEY, filters TEXT NOT NULL);
"""
_BATCH_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module as the hub told of it, and its twin as the edge hub has it.

    The edge hub is the only writer of ``reported``, and the hub the only one of ``desired``.
    """

    module_id: str
    generation_id: str
    keys: list[str]
    desired: twin.Section
    desired_version: int
    reported: twin.Section
    reported_version: int

    def key_bytes(self) -> list[bytes]:
        """Primary and secondary key, decoded."""
        return [decoded(key) for key in self.keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A module's desired properties have changed by ``patch``."""

    module_id: str
    patch: twin.Section
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An entry of the queue."""

    number: int
    item: dict[str, Any]


class EdgeStore:
    """The database of one edge hub. Whatever a method has written is on disk when it returns."""

    def __init__(self, path: Path, on_queued: Callable[[], None] = lambda: None) -> None:
        self._database: sqlite3.Connection = open_database(path, SCHEMA)
        self.on_queued = on_queued
        """Called after something was put into the queue."""
        self._modules = {
            name: Module(**json.loads(body)) for name, body in self._database.execute("SELECT * FROM module")
        }

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def module(self, module_id: str) -> Module:
        """Look a module up.

        Raises:
            RefusedError: 404; also before the hub was reached for the first time.
        """
        if module_id not in self._modules:
            raise RefusedError(404, "ModuleNotFound", 404010, f"module {module_id} is not known here")
        return self._modules[module_id]

    def knows(self, module_id: str) -> bool:
        """Whether the hub has told of a module."""
        return module_id in self._modules

    def put_event(self, module_id: str, body: bytes, system: dict[str, str], application: dict[str, str]) -> None:
        """Queue a message for the hub."""
        text = base64.b64encode(body).decode()
        with transaction(self._database):
            self._queue("event", {"module": module_id, "body": text, "system": system, "application": application})
        self.on_queued()

    def patch_reported(self, module_id: str, given: Any) -> int:
        """Merge what a module reports, and queue it for the hub; returns the new version.

        Raises:
            RefusedError: 400, 403 too large, 404.
        """
        module = self.module(module_id)
        patch = twin.check_patch(given, "properties.reported")
        reported = merged(module.reported, patch)
        twin.check_size(reported, "Properties.Reported", twin.PROPERTIES_BYTES)
        version = module.reported_version + 1
        with transaction(self._database):
            self._save(replace(module, reported=reported, reported_version=version))
            self._queue("reported", {"module": module_id, "patch": patch})
        self.on_queued()
        return version

    def batch(self, limit: int) -> list[Queued]:
        """The oldest entries, some megabytes at most."""
        batch: list[Queued] = []
        size = 0
        for number, kind, item in self._database.execute(
            "SELECT number, kind, item FROM queue ORDER BY number LIMIT ?", (limit,)
        ):
            size += len(item)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(Queued(number=number, item={**json.loads(item), "kind": kind}))
        return batch

    def done(self, batch: Iterable[Queued]) -> None:
        """Drop entries that the hub has on its disk."""
        with transaction(self._database):
            self._database.executemany("DELETE FROM queue WHERE number = ?", [(one.number,) for one in batch])

    def waiting(self) -> int:
        """How many entries are queued."""
        return int(self._database.execute("SELECT count(*) FROM queue").fetchone()[0])

    def expire(self, time_to_live_s: float) -> int:
        """Drop messages older than the time to live, as IoT Edge does; returns how many. Reported patches stay."""
        limit = _now_ms() - int(time_to_live_s * 1000)
        with transaction(self._database):
            return self._database.execute(
                "DELETE FROM queue WHERE kind = 'event' AND created_ms < ?", (limit,)
            ).rowcount

    def set_modules(self, given: list[dict[str, Any]]) -> list[Change]:
        """Take over what the hub says of all modules; returns where desired properties differ from before.

        Raises:
            TypeError, KeyError: not what the hub sends.
        """
        fresh = {one["module"]: _module(one) for one in given}
        changes = []
        with transaction(self._database):
            waiting = {
                json.loads(item)["module"]
                for (item,) in self._database.execute("SELECT item FROM queue WHERE kind = 'reported'")
            }
            self._database.execute("DELETE FROM module")
            for name, module in list(fresh.items()):
                before = self._modules.get(name)
                if before and before.generation_id == module.generation_id:
                    if name in waiting:
                        # The hub has not heard yet what was reported while the link was down.
                        fresh[name] = replace(
                            module, reported=before.reported, reported_version=before.reported_version
                        )
                    if before.desired_version != module.desired_version:
                        patch = twin.difference(before.desired, module.desired)
                        changes.append(Change(module_id=name, patch=patch, version=module.desired_version))
                self._save(fresh[name])
        self._modules = fresh
        return changes

    def patch_desired(self, module_id: str, patch: twin.Section, version: int) -> bool:
        """Merge a patch from the hub; False where one before it was missed."""
        module = self._modules.get(module_id)
        if module is None or version != module.desired_version + 1:
            return False
        with transaction(self._database):
            self._save(replace(module, desired=merged(module.desired, patch), desired_version=version))
        return True

    def session(self, module_id: str) -> dict[str, int] | None:
        """Filters a module has subscribed to, with their QoS; None where there is no session."""
        row = self._database.execute("SELECT filters FROM session WHERE module_id = ?", (module_id,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def save_session(self, module_id: str, filters: dict[str, int]) -> None:
        """Keep a session."""
        with transaction(self._database):
            self._database.execute("INSERT OR REPLACE INTO session VALUES (?, ?)", (module_id, json.dumps(filters)))

    def drop_sessions(self) -> None:
        """Forget every session."""
        with transaction(self._database):
            self._database.execute("DELETE FROM session")

    def _queue(self, kind: str, item: dict[str, Any]) -> None:
        self._database.execute(
            "INSERT INTO queue (created_ms, kind, item) VALUES (?, ?, ?)", (_now_ms(), kind, json.dumps(item))
        )

    def _save(self, module: Module) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO module VALUES (?, ?)", (module.module_id, json.dumps(asdict(module)))
        )
        self._modules[module.module_id] = module


def _module(given: dict[str, Any]) -> Module:
    return Module(module_id=given["module"], **{key: value for key, value in given.items() if key != "module"})


def _now_ms() -> int:
    return int(time.time() * 1000)
