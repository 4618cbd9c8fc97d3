"""Which camera, and so which deployment, a card belongs to. Pure; its rules are numbered.

Cards wander between cameras. What says where one was, best first: the camera's serial number in its pictures, then the
card's own id (its marker, else its file system), each only for pictures that were taken while the deployment lasted.

1. What headquarters has decided for a card holds for as long as the same cameras' pictures lie on it.
2. A camera's serial number names the deployment in which *all* of its pictures were taken.
3. The card's id names the deployment in which all of the card's pictures were taken.
4. Where both name one it must be the same; pictures of two cameras, or of two deployments, belong to neither.
5. Anything else is *unassigned*, with the reason, until headquarters decides.

Headquarters finds each record's deployment by the same order (docs/decisions/0011).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from edge_module.domain import Belonging, BelongingSource
from edge_module.errors import WireError
from edge_module.fields import Fields

DEPLOYMENTS_MAX: Final = 1000
"""The twin holds some 60; more is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a gateway is told of a camera at a place for a time; `ends_at` is exclusive, None while it stands."""

    deployment_key: str
    camera_serial: str | None
    card_id: str | None
    starts_at: datetime
    ends_at: datetime | None

    def holds(self, camera: "Camera") -> bool:
        """Whether all of a camera's pictures were taken while this lasted."""
        return self.starts_at.timestamp() <= camera.first_s and (
            self.ends_at is None or camera.last_s < self.ends_at.timestamp()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What a card's pictures say of one camera: its serial number, if it writes one, and when it took them (UTC)."""

    serial: str | None
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What headquarters decided, and the cameras whose pictures lay on the card then."""

    deployment_key: str
    serials: frozenset[str]


def deployments_from_twin(value: object) -> tuple[Deployment, ...]:
    """Read the desired property ``deployments``.

    Raises:
        WireError: it does not have the form that docs/wire.md gives it.
    """
    if not isinstance(value, list) or len(value) > DEPLOYMENTS_MAX:
        raise WireError(f"deployments: must be an array of at most {DEPLOYMENTS_MAX}")
    return tuple(_deployment(Fields.of(item, "deployments")) for item in value)


def _deployment(fields: Fields) -> Deployment:
    return Deployment(
        deployment_key=fields.text("deployment_key", longest=200),
        camera_serial=fields.optional_text("camera_serial"),
        card_id=fields.optional_text("card_id"),
        starts_at=fields.instant("starts_at"),
        ends_at=fields.instant("ends_at") if fields.has("ends_at") else None,
    )


def to_json(deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    """The inverse of `deployments_from_twin`, without the places: they are nobody's business here."""
    return [
        {
            "deployment_key": d.deployment_key,
            "camera_serial": d.camera_serial,
            "card_id": d.card_id,
            "starts_at": d.starts_at.isoformat(),
            "ends_at": d.ends_at.isoformat() if d.ends_at else None,
        }
        for d in deployments
    ]


def serials_of(cameras: Sequence[Camera]) -> frozenset[str]:
    """The serial numbers among a card's pictures."""
    return frozenset(camera.serial for camera in cameras if camera.serial)


def decide(
    card_id: str, cameras: Sequence[Camera], deployments: Sequence[Deployment], assigned: Assignment | None
) -> Belonging:
    """Say which deployment a card belongs to, or why none."""
    serials = serials_of(cameras)
    if assigned and assigned.serials == serials:
        return Belonging(deployment_key=assigned.deployment_key, source=BelongingSource.HEADQUARTERS)
    if len(serials) > 1:
        return Belonging(why=f"pictures of {len(serials)} cameras lie on it")
    if not cameras:
        return Belonging(why="no picture says when it was taken")
    by_serial, serial_fault = _named(
        [d for d in deployments if d.camera_serial in serials], [c for c in cameras if c.serial], "its camera"
    )
    by_card, card_fault = _named([d for d in deployments if d.card_id == card_id], cameras, "the card")
    if by_serial and by_card and by_serial != by_card:
        return Belonging(why="its camera's serial number and the card itself name two deployments")
    if serial_fault or card_fault:
        return Belonging(why=serial_fault or card_fault)
    if by_serial:
        return Belonging(deployment_key=by_serial, source=BelongingSource.SERIAL)
    if by_card:
        source = BelongingSource.MARKER if card_id.startswith("marker-") else BelongingSource.VOLUME
        return Belonging(deployment_key=by_card, source=source)
    return Belonging(why="neither its camera's serial number nor the card is of a known deployment")


def _named(among: Sequence[Deployment], cameras: Sequence[Camera], what: str) -> tuple[str | None, str]:
    """The one deployment of those that a serial number or card names in which all pictures were taken, or a fault."""
    if not among or not cameras:
        return None, ""
    holding = {d.deployment_key for d in among if all(d.holds(camera) for camera in cameras)}
    if len(holding) == 1:
        return holding.pop(), ""
    if holding:
        return None, f"{what} stands in {len(holding)} deployments at once"
    return None, f"not all pictures were taken while {what} stood in one known deployment"
