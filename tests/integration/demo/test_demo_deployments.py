"""The demo cameras' places: Camtrap DP, matched to the card, invented, and within Nepal."""

import csv

from cloud_sync.camtrap_dp import read_csv
from cloud_sync.geo import Box
from deployment.demo import card
from deployment.demo.headquarters import DEPLOYMENTS

EASTERN_NEPAL = Box(west_deg=86.8, south_deg=26.3, east_deg=88.3, north_deg=28.0)


def test_every_camera_of_the_card_has_a_place_for_all_of_its_pictures():
    by_camera = {d.camera_id: d for d in read_csv(DEPLOYMENTS.read_bytes(), EASTERN_NEPAL)}
    taken = {}
    for visit in card._VISITS:
        taken.setdefault(visit.camera, []).append(visit.taken)
    assert taken.keys() < by_camera.keys()
    for camera, times in taken.items():
        stood = by_camera[camera]
        assert stood.starts_at.isoformat(" ") < min(times)
        assert stood.ends_at is None or max(times) < stood.ends_at.isoformat(" ")


def test_the_file_says_that_the_places_are_invented():
    with DEPLOYMENTS.open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["locationName"].startswith("Invented ")
            assert "Invented for the demonstration" in row["deploymentComments"]
            assert all(len(row[name].partition(".")[2]) <= 2 for name in ("latitude", "longitude"))
