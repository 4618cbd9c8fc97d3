"""Identities and their twins, on disk."""

import base64
import json
import os
import re
import sqlite3
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from deployment.local import twin
from deployment.local.database import transaction
from deployment.local.errors import RefusedError, invalid
from deployment.local.sas import decoded
from edge_module.merge_patch import merged

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS identity (
    device_id TEXT NOT NULL, module_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (device_id, module_id)
);
"""
_ID: Final = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")
"""Source: "Identity registry" in Azure's documentation."""

Key = tuple[str, str]
"""Device id and module id; the latter is empty for the device itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device or module, and its twin."""

    device_id: str
    module_id: str
    generation_id: str
    primary_key: str
    secondary_key: str
    status: str = "enabled"
    managed_by: str = ""
    iot_edge: bool = False
    identity_version: int = 1
    tags: twin.Section = field(default_factory=dict)
    desired: twin.Section = field(default_factory=dict)
    desired_metadata: twin.Section = field(default_factory=dict)
    desired_version: int = 1
    reported: twin.Section = field(default_factory=dict)
    reported_metadata: twin.Section = field(default_factory=dict)
    reported_version: int = 1
    twin_version: int = 1
    last_activity: str = "0001-01-01T00:00:00Z"

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.device_id, self.module_id

    @property
    def identity_etag(self) -> str:
        """ETag of the registry's entry."""
        return _etag(self.identity_version)

    @property
    def twin_etag(self) -> str:
        """ETag of the twin."""
        return _etag(self.twin_version)

    def keys(self) -> list[bytes]:
        """Both keys, decoded."""
        return [decoded(self.primary_key), decoded(self.secondary_key)]

    def with_desired(self, desired: twin.Section, patch: twin.Section) -> "Identity":
        """The identity with other desired properties; ``patch`` says what was written."""
        twin.check_size(desired, "Properties.Desired", twin.PROPERTIES_BYTES)
        version = self.desired_version + 1
        return replace(
            self,
            desired=desired,
            desired_version=version,
            desired_metadata=twin.stamp(self.desired_metadata, patch, version),
        )


class Registry:
    """All identities: kept in memory, written through to disk."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(SCHEMA)
        bodies = [row[0] for row in database.execute("SELECT body FROM identity ORDER BY device_id, module_id")]
        self._all: dict[Key, Identity] = {one.key: one for one in (Identity(**json.loads(body)) for body in bodies)}

    def get(self, device_id: str, module_id: str = "") -> Identity:
        """Look one up.

        Raises:
            RefusedError: 404.
        """
        if (device_id, "") not in self._all:
            raise RefusedError(404, "DeviceNotFound", 404001, f"device {device_id} is not registered")
        if (device_id, module_id) not in self._all:
            raise RefusedError(404, "ModuleNotFound", 404010, f"module {device_id}/{module_id} is not registered")
        return self._all[device_id, module_id]

    def has(self, device_id: str, module_id: str = "") -> bool:
        """Whether it is registered."""
        return (device_id, module_id) in self._all

    def every(self, *, modules: bool) -> list[Identity]:
        """All devices, or all modules."""
        return [one for key, one in sorted(self._all.items()) if bool(key[1]) == modules]

    def modules(self, device_id: str) -> list[Identity]:
        """The modules of a device."""
        self.get(device_id)
        return [one for one in self.every(modules=True) if one.device_id == device_id]

    def put(self, device_id: str, module_id: str, body: Any, if_match: str | None) -> Identity:
        """Create an identity, or with ``if_match`` change one.

        Raises:
            RefusedError: 400 malformed, 404, 409 exists already, 412 changed meanwhile.
        """
        if not isinstance(body, dict):
            raise invalid("an identity is a JSON object")
        if self.has(device_id, module_id):
            before = self.get(device_id, module_id)
            if if_match is None:
                kind, number = ("ModuleAlreadyExistsOnDevice", 409301) if module_id else ("DeviceAlreadyExists", 409001)
                raise RefusedError(409, kind, number, f"{device_id}/{module_id} exists already")
            check_etag(if_match, before.identity_etag)
            return self._save(_described(replace(before, identity_version=before.identity_version + 1), body))
        if if_match is not None or module_id:
            self.get(device_id)
            if if_match is not None:
                self.get(device_id, module_id)
        return self.create(device_id, module_id, body)

    def create(self, device_id: str, module_id: str, body: dict[str, Any]) -> Identity:
        """Register an identity; a gateway gets IoT Edge's two modules of its own with it."""
        for one in filter(None, (device_id, module_id)):
            if not _ID.fullmatch(one):
                raise invalid(f"{one!r} is no id: 1 to 128 of A-Z a-z 0-9 - . % _ * ? ! ( ) , : = @ $ '")
        fresh = Identity(
            device_id=device_id,
            module_id=module_id,
            # IoT Hub's is a number of 18 digits; it tells a device from a later one of the same name.
            generation_id=str(uuid.uuid4().int)[:18],
            primary_key=_new_key(),
            secondary_key=_new_key(),
        )
        identity = self._save(_described(fresh, body))
        if identity.iot_edge and not module_id:
            for system in ("$edgeAgent", "$edgeHub"):
                self.create(device_id, system, {"managedBy": "iotEdge"})
        return identity

    def delete(self, device_id: str, module_id: str, if_match: str) -> None:
        """Remove an identity and, with a device, its modules."""
        check_etag(if_match, self.get(device_id, module_id).identity_etag)
        gone = [key for key in self._all if key[0] == device_id and (not module_id or key[1] == module_id)]
        with transaction(self._database):
            self._database.executemany("DELETE FROM identity WHERE device_id = ? AND module_id = ?", gone)
        for key in gone:
            del self._all[key]

    def patch_twin(self, key: Key, body: Any, if_match: str, *, whole: bool) -> Identity:
        """Write tags and desired properties from the service side; ``whole`` replaces instead of merging.

        Raises:
            RefusedError: 400, 403 too large, 404, 412.
        """
        before = self.get(*key)
        check_etag(if_match, before.twin_etag)
        given = body if isinstance(body, dict) else {}
        tags = twin.check_patch(_without_system(given.get("tags") or {}), "tags")
        properties = given.get("properties") or {}
        if not isinstance(body, dict) or not isinstance(properties, dict):
            raise invalid("a twin is a JSON object, and so are its properties")
        after = replace(before, tags=merged({} if whole else before.tags, tags), twin_version=before.twin_version + 1)
        twin.check_size(after.tags, "Tags", twin.TAGS_BYTES)
        if properties.get("desired") is not None:
            desired = twin.check_patch(_without_system(properties["desired"]), "properties.desired")
            after = after.with_desired(merged({} if whole else before.desired, desired), desired)
        elif whole:
            after = after.with_desired({}, {})
        return self._save(after)

    def set_desired(self, key: Key, desired: twin.Section) -> Identity:
        """Replace all desired properties, as a deployment does."""
        before = self.get(*key)
        changed = before.with_desired(desired, twin.difference(before.desired, desired))
        return self._save(replace(changed, twin_version=before.twin_version + 1))

    def patch_reported(self, key: Key, patch: Any) -> Identity:
        """Merge what a module reports.

        Raises:
            RefusedError: 400, 403 too large, 404.
        """
        before = self.get(*key)
        checked = twin.check_patch(patch, "properties.reported")
        reported = merged(before.reported, checked)
        twin.check_size(reported, "Properties.Reported", twin.PROPERTIES_BYTES)
        version = before.reported_version + 1
        return self._save(
            replace(
                before,
                reported=reported,
                reported_version=version,
                reported_metadata=twin.stamp(before.reported_metadata, checked, version),
                twin_version=before.twin_version + 1,
                last_activity=now_text(),
            )
        )

    def _save(self, identity: Identity) -> Identity:
        with transaction(self._database):
            self._database.execute(
                "INSERT OR REPLACE INTO identity VALUES (?, ?, ?)", (*identity.key, json.dumps(asdict(identity)))
            )
        self._all[identity.key] = identity
        return identity


def check_etag(if_match: str, etag: str) -> None:
    """Compare an ``If-Match`` header.

    Raises:
        RefusedError: 412.
    """
    if if_match.strip('"') not in {"*", "", etag}:
        raise RefusedError(412, "PreconditionFailed", 412002, "changed since it was read: read it again")


def now_text() -> str:
    """Now, as IoT Hub writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _described(identity: Identity, body: dict[str, Any]) -> Identity:
    """The identity as the service's request describes it; what is not said stays."""
    keys = _object(_object(body, "authentication"), "symmetricKey")
    primary, secondary = keys.get("primaryKey"), keys.get("secondaryKey")
    for one in filter(None, (primary, secondary)):
        try:
            decoded(one)
        except (ValueError, TypeError) as exc:
            raise invalid("authentication.symmetricKey: keys are base64") from exc
    status = body.get("status") or identity.status
    if status not in ("enabled", "disabled"):
        raise invalid(f"status: {status!r} is neither enabled nor disabled")
    return replace(
        identity,
        status=status,
        primary_key=primary or identity.primary_key,
        secondary_key=secondary or identity.secondary_key,
        managed_by=str(body.get("managedBy") or identity.managed_by),
        iot_edge=bool(_object(body, "capabilities").get("iotEdge", identity.iot_edge)),
    )


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name) or {}
    if not isinstance(found, dict):
        raise invalid(f"{name} must be a JSON object")
    return found


def _without_system(section: Any) -> Any:
    """A section without ``$version`` and ``$metadata``, which people send back as they were read."""
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in {"$version", "$metadata"}}


def _new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _etag(version: int) -> str:
    return base64.b64encode(version.to_bytes(8, "big")).decode()
