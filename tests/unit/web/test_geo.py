"""Where a red panda lives is a secret: the coarse grid, and what a gateway is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_sync import geo
from cloud_sync.accounts import Role
from cloud_sync.geo import Box, Position

HIMALAYA = Box(west_deg=78, south_deg=24, east_deg=105, north_deg=35)
latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
positions = st.builds(lambda y, x: Position(latitude_deg=y, longitude_deg=x), latitudes, longitudes)


def at(latitude_deg: float, longitude_deg: float) -> Position:
    return Position(latitude_deg=latitude_deg, longitude_deg=longitude_deg)


def test_a_coordinator_sees_the_exact_place() -> None:
    assert geo.shown(at(27.123456, 88.654321), Role.COORDINATOR) == at(27.123456, 88.654321)


@pytest.mark.parametrize(
    ("exact", "cell"),
    [
        (at(27.123456, 88.654321), at(27.15, 88.65)),
        (at(27.3, 88.7), at(27.35, 88.75)),  # on a line: 27.3 / 0.1 is less than 273 in binary
        (at(-0.01, -0.01), at(-0.05, -0.05)),
        (at(90, 180), at(89.95, 179.95)),
        (at(-90, -180), at(-89.95, -179.95)),
    ],
)
def test_a_viewer_sees_the_middle_of_the_cell(exact: Position, cell: Position) -> None:
    assert geo.shown(exact, Role.VIEWER) == cell


@given(positions)
def test_the_cell_holds_the_place_and_is_its_own_cell(exact: Position) -> None:
    cell = geo.shown(exact, Role.VIEWER)
    half = geo.CELL_DEG / 2 + 1e-6
    assert abs(cell.latitude_deg - exact.latitude_deg) <= half
    assert abs(cell.longitude_deg - exact.longitude_deg) <= half
    assert geo.shown(cell, Role.VIEWER) == cell


@given(positions, st.floats(0, 0.0999), st.floats(0, 0.0999))
def test_places_in_one_cell_cannot_be_told_apart(exact: Position, up_deg: float, right_deg: float) -> None:
    corner = geo.shown(exact, Role.VIEWER)
    other = at(corner.latitude_deg - 0.04995 + up_deg, corner.longitude_deg - 0.04995 + right_deg)
    assert geo.shown(other, Role.VIEWER) == corner


@given(positions)
def test_a_gateway_is_told_half_degrees(exact: Position) -> None:
    told = geo.for_gateway(exact)
    for value in (told.latitude_deg, told.longitude_deg):
        assert (2 * value).is_integer()
    assert abs(told.latitude_deg - exact.latitude_deg) <= 0.25
    assert abs(told.longitude_deg - exact.longitude_deg) <= 0.25


def test_swapped_coordinates_are_said_to_be_swapped() -> None:
    assert geo.fault_of(27.7, 85.3, HIMALAYA) == ""
    assert "swapped: did you mean latitude 27.7, longitude 85.3" in geo.fault_of(85.3, 27.7, HIMALAYA)
    assert "outside of the area of this survey: latitude 24 to 35" in geo.fault_of(-27.7, 85.3, HIMALAYA)
    assert "outside" in geo.fault_of(127.7, 85.3, HIMALAYA)


def test_a_box_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="west before east"):
        Box(west_deg=105, south_deg=24, east_deg=78, north_deg=35)
