"""What the map may show to whom, and what a gateway may know of where it stands. Pure.

Where a red panda lives is a secret (design, guarantee 9). A coarse position depends on the exact one alone: never on a
filter, a role's other rights, or chance. So averaging answers, or asking again in other words, gives nothing sharper
than the cell.
"""

import re
from dataclasses import dataclass
from typing import Final

from cloud_sync.accounts import Role

CELL_DEG: Final = 0.1
"""Edge of a viewer's cell: some 11 km from north to south."""

_DEGREES: Final = re.compile(r"(?<![\d.,])\d{1,3}[.,]\d{2,}(?![.,]?\d)", re.ASCII)
"""Degrees written finer than a cell; a version such as 2.27.10 is none."""

_MICRO: Final = 1_000_000
_CELL_MICRODEG: Final = round(CELL_DEG * _MICRO)
_GATEWAY_STEPS_PER_DEG: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place on Earth, WGS84."""

    latitude_deg: float
    longitude_deg: float

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude_deg <= 90 and -180 <= self.longitude_deg <= 180):  # noqa: PLR2004 - degrees
            raise ValueError("latitude must be from -90 to 90, longitude from -180 to 180")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The part of Earth where cameras may stand; does not cross the date line."""

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float

    def __post_init__(self) -> None:
        if not (-180 <= self.west_deg < self.east_deg <= 180 and -90 <= self.south_deg < self.north_deg <= 90):  # noqa: PLR2004
            raise ValueError("a box is west, south, east, north in degrees, west before east and south before north")

    def holds(self, position: Position) -> bool:
        """Whether a position lies within."""
        return (
            self.south_deg <= position.latitude_deg <= self.north_deg
            and self.west_deg <= position.longitude_deg <= self.east_deg
        )


def fault_of(latitude_deg: float, longitude_deg: float, box: Box) -> str:
    """Why a camera cannot stand there, for people; empty if it can."""
    where = (
        f"the area of this survey: latitude {box.south_deg:g} to {box.north_deg:g}, "
        f"longitude {box.west_deg:g} to {box.east_deg:g}"
    )
    if _is_in(latitude_deg, longitude_deg, box):
        return ""
    if _is_in(longitude_deg, latitude_deg, box):
        return (
            f"latitude and longitude look swapped: did you mean latitude {longitude_deg:g}, "
            f"longitude {latitude_deg:g}? As given they lie outside of {where}"
        )
    return f"latitude {latitude_deg:g}, longitude {longitude_deg:g} lies outside of {where}"


def _is_in(latitude_deg: float, longitude_deg: float, box: Box) -> bool:
    try:
        return box.holds(Position(latitude_deg=latitude_deg, longitude_deg=longitude_deg))
    except ValueError:
        return False


def shown(position: Position, role: Role) -> Position:
    """Where somebody sees a camera: coordinators exactly, everyone else at the centre of its cell."""
    if role is Role.COORDINATOR:
        return position
    return Position(
        latitude_deg=_centre_deg(position.latitude_deg, 90), longitude_deg=_centre_deg(position.longitude_deg, 180)
    )


def for_gateway(position: Position) -> Position:
    """Where a gateway is told that a camera stands: to half a degree, enough for the hours of the sun."""
    return Position(
        latitude_deg=round(position.latitude_deg * _GATEWAY_STEPS_PER_DEG) / _GATEWAY_STEPS_PER_DEG,
        longitude_deg=round(position.longitude_deg * _GATEWAY_STEPS_PER_DEG) / _GATEWAY_STEPS_PER_DEG,
    )


def gives_away(text: str, position: Position) -> bool:
    """Whether a text that everybody reads says more of a place than its cell does: its latitude or longitude."""
    said_deg = [float(number.replace(",", ".")) for number in _DEGREES.findall(text)]
    exact_deg = (abs(position.latitude_deg), abs(position.longitude_deg))
    return any(abs(said - exact) < CELL_DEG / 2 for said in said_deg for exact in exact_deg)


def _centre_deg(value_deg: float, edge_deg: int) -> float:
    # In whole microdegrees: 27.3 / 0.1 is 272.99... in binary, and a position on a line would fall into both cells.
    microdeg = min(round(value_deg * _MICRO), edge_deg * _MICRO - 1)
    return (microdeg // _CELL_MICRODEG * _CELL_MICRODEG + _CELL_MICRODEG // 2) / _MICRO
