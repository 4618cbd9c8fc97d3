"""Deployments: a camera at a place for a time (Camtrap DP 1.0.2). Pure.

A picture belongs to a deployment by the camera's serial number in its EXIF first, then by its card, with its capture
time within the deployment's start and end.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cloud_sync import geo
from cloud_sync.geo import Position

TOLD_MAX: Final = 60
"""Deployments that a gateway is told of, the newest: some 250 bytes each, of the 32 KB that a twin has for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A camera at a place for a time.

    Args:
        deployment_id: Camtrap DP ``deploymentID``, chosen by people.
        name: of the place, ``locationName``; empty if it has none.
        starts_at: aware, keeps the offset it was written with.
        ends_at: exclusive; None while the camera stands.
        camera_id: the camera's serial number, ``cameraID``; empty if it writes none.
        card_id: of the card in it, for cameras that write no serial number; ``deploymentTags`` ``card:...``.
        gateway_id: that reads its cards; ``deploymentTags`` ``gateway:...``; may be empty.
        details: the other columns of Camtrap DP, as written.
    """

    deployment_id: str
    name: str
    position: Position
    starts_at: datetime
    ends_at: datetime | None
    camera_id: str = ""
    card_id: str = ""
    gateway_id: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Stands for `deployment_id`, in which anything may be written, in addresses and indexes."""
        return hashlib.sha256(self.deployment_id.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """What people read."""
        return self.name or self.deployment_id

    def meets(self, other: "Deployment") -> bool:
        """Whether the two last at the same time, if only for a moment."""
        return (other.ends_at is None or self.starts_at < other.ends_at) and (
            self.ends_at is None or other.starts_at < self.ends_at
        )


def faults_between(deployments: Sequence[Deployment]) -> list[str]:
    """Where a picture could belong to two deployments: one camera, or one card, at two places at the same time."""
    faults = []
    for column, says in (("camera_id", "camera"), ("card_id", "card")):
        by_value: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            if value := getattr(deployment, column):
                by_value.setdefault(value, []).append(deployment)
        for value, among in by_value.items():
            among.sort(key=lambda d: d.starts_at)
            faults += [
                f"{says} {value!r} stands at {one.label!r} and at {next_.label!r} at the same time: "
                f"end the first by {next_.starts_at.isoformat()}"
                for one, next_ in itertools.pairwise(among)
                if one.meets(next_)
            ]
    return faults


def deployment_key(
    row: Mapping[str, Any], candidates: Sequence[Deployment], assigned_key: str | None = None
) -> str | None:
    """The deployment that a row of `records` belongs to; None if it is unassigned.

    1. What people have assigned the reading's card to, if that deployment is known.
    2. The camera's serial number and the card, each with the capture time; where both name one they must agree.

    `deployments_store.SQL_ASSIGNMENT` says the same in SQL, for many rows at once; a test holds the two together.
    """
    if assigned_key and any(deployment.key == assigned_key for deployment in candidates):
        return assigned_key
    captured_at = row["captured_at"]
    if captured_at is None:
        return None
    found = []
    for column, value in (("camera_id", row["camera_serial"]), ("card_id", row["card_id"])):
        for deployment in candidates:
            if value and getattr(deployment, column) == value and _within(captured_at, deployment):
                found.append(deployment.key)
                break
    return found[0] if len(set(found)) == 1 else None


def _within(captured_at: datetime, deployment: Deployment) -> bool:
    return deployment.starts_at <= captured_at and (deployment.ends_at is None or captured_at < deployment.ends_at)


def for_twin(deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    """What a gateway is told, its desired property ``deployments``: the newest `TOLD_MAX`, places to half a degree."""
    newest = sorted(deployments, key=lambda d: (d.starts_at, d.deployment_id))[-TOLD_MAX:]
    told = []
    for deployment in newest:
        coarse = geo.for_gateway(deployment.position)
        told.append(
            {
                "deployment_key": deployment.key,
                "camera_serial": deployment.camera_id or None,
                "card_id": deployment.card_id or None,
                "starts_at": deployment.starts_at.isoformat(),
                "ends_at": deployment.ends_at.isoformat() if deployment.ends_at else None,
                "latitude_deg": coarse.latitude_deg,
                "longitude_deg": coarse.longitude_deg,
            }
        )
    return told


def digest_of(told: Sequence[Mapping[str, Any]]) -> bytes:
    """SHA-256 of what a gateway is told, to know whether it has been."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


def offset_min(instant: datetime) -> int:
    """Minutes east of UTC of an aware time."""
    return round((instant.utcoffset() or timedelta()).total_seconds() / 60)
