"""What the map says: cameras with their state, and sightings, as one role may see them. Pure."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from cloud_sync import geo
from cloud_sync.accounts import Role
from cloud_sync.deployments import Deployment, offset_min
from cloud_sync.web.map_store import Seen
from edge_module.domain import Fate


class State(StrEnum):
    """What is most worth knowing of a camera, in this order."""

    PANDA = "panda"
    REVIEW = "review"
    QUIET = "quiet"
    """It has taken pictures, of something else."""
    EMPTY = "empty"
    """Nothing has come from it in the time asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A deployment and what it has seen."""

    deployment: Deployment
    seen: Seen

    @property
    def state(self) -> State:
        """Its colour on the map."""
        if self.seen.counts.get(Fate.PANDA):
            return State.PANDA
        if self.seen.counts.get(Fate.REVIEW):
            return State.REVIEW
        return State.QUIET if self.seen.pictures else State.EMPTY

    @property
    def offset_min(self) -> int:
        """Of the camera's times."""
        return offset_min(self.deployment.starts_at)

    def has_ended(self, now: datetime) -> bool:
        """Whether it stands there no longer."""
        return self.deployment.ends_at is not None and self.deployment.ends_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Panda pictures of one event at one camera; `first` is the latest of them."""

    deployment: Deployment
    first: Row[Any]
    pictures: int


def cameras(deployments: Sequence[Deployment], seen: Mapping[str | None, Seen]) -> list[Camera]:
    """Deployments with what they have seen."""
    return [Camera(deployment=d, seen=seen.get(d.key) or Seen()) for d in deployments]


def sightings(rows: Sequence[Row[Any]], deployments: Sequence[Deployment]) -> list[Sighting]:
    """Panda pictures, the latest first -> events."""
    by_key = {d.key: d for d in deployments}
    known = (row for row in rows if row.deployment_key in by_key)  # one may have been removed a moment ago
    found = []
    for (key, _), group in itertools.groupby(known, key=lambda r: (r.deployment_key, r.event_id or r.record_key)):
        pictures = list(group)
        found.append(Sighting(deployment=by_key[key], first=pictures[0], pictures=len(pictures)))
    return found


def geojson(cameras: Sequence[Camera], sightings: Sequence[Sighting], *, role: Role, now: datetime) -> dict[str, Any]:
    """The map as GeoJSON (RFC 7946), with places as `role` may see them.

    Features are of `kind` ``camera`` and ``sighting``; for a viewer also ``cell``, the squares that cameras stand in.
    """
    features = [_camera(c, role, now) for c in cameras] + [_sighting(s, role) for s in sightings]
    if role is not Role.COORDINATOR:
        features += _cells(cameras, role)
    return {"type": "FeatureCollection", "features": features}


def _camera(camera: Camera, role: Role, now: datetime) -> dict[str, Any]:
    deployment, seen = camera.deployment, camera.seen
    return _feature(
        _point(deployment, role),
        kind="camera",
        key=deployment.key,
        label=deployment.label,
        state=camera.state,
        ended=camera.has_ended(now),
        pictures=seen.pictures,
        panda=seen.counts.get(Fate.PANDA, 0),
        review=seen.counts.get(Fate.REVIEW, 0),
        latest_panda_at=_iso(seen.latest_panda_at),
    )


def _sighting(sighting: Sighting, role: Role) -> dict[str, Any]:
    return _feature(
        _point(sighting.deployment, role),
        kind="sighting",
        key=sighting.deployment.key,
        at=_iso(sighting.first.captured_at),
        pictures=sighting.pictures,
        record=bytes(sighting.first.record_key).hex(),
    )


def _cells(cameras: Sequence[Camera], role: Role) -> list[dict[str, Any]]:
    centres = dict.fromkeys(geo.shown(c.deployment.position, role) for c in cameras)
    return [_feature(_square(centre), kind="cell") for centre in centres]


def _square(centre: geo.Position) -> dict[str, Any]:
    half = geo.CELL_DEG / 2
    corners = ((-half, -half), (half, -half), (half, half), (-half, half), (-half, -half))
    ring = [[round(centre.longitude_deg + x, 6), round(centre.latitude_deg + y, 6)] for x, y in corners]
    return {"type": "Polygon", "coordinates": [ring]}


def _point(deployment: Deployment, role: Role) -> dict[str, Any]:
    position = geo.shown(deployment.position, role)
    return {"type": "Point", "coordinates": [position.longitude_deg, position.latitude_deg]}


def _feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
