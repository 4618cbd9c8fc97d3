"""Camtrap DP's ``deployments.csv`` (1.0.2), and the form with the same names, to deployments. Pure.

Whole or not at all, and every fault at once: people mend the file in one go.
"""

import csv
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cloud_sync import geo
from cloud_sync.deployments import Deployment, faults_between
from cloud_sync.geo import Box, Position
from cloud_sync.schema import ID_MAX
from edge_module.errors import ConfigError

FILE_MAX_BYTES: Final = 20_000_000
FAULTS_MAX: Final = 50
"""Faults named of one file; who has more has another problem than the fifty-first."""

_YEARS: Final = range(2000, 2101)
_MISSING: Final = frozenset({"", "NA", "NaN", "nan"})
_REQUIRED: Final = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
_CARD_TAG: Final = "card"
_GATEWAY_TAG: Final = "gateway"
_NUMBERS: Final = {
    "coordinateUncertainty": (1, 10_000_000),
    "cameraDelay": (0, 10_000_000),
    "cameraHeight": (0, 10_000),
    "cameraDepth": (0, 10_000),
    "cameraTilt": (-90, 90),
    "cameraHeading": (0, 360),
    "detectionDistance": (0, 10_000),
}
_BOOLEANS: Final = ("timestampIssues", "baitUse")
_TEXTS: Final = (
    "locationID",
    "setupBy",
    "cameraModel",
    "featureType",
    "habitat",
    "deploymentGroups",
    "deploymentTags",
    "deploymentComments",
)


def checked(values: Mapping[str, str], box: Box) -> Deployment:
    """Read a row of Camtrap DP's ``deployments.csv``, or a form with the same names.

    Args:
        values: texts by column; a column that is not known is an error, so that nothing is lost unnoticed.
        box: where cameras may stand.

    Raises:
        ConfigError: each fault as ``column: what is wrong``.
    """
    given = {name: value.strip() for name, value in values.items()}
    given = {name: "" if value in _MISSING else value for name, value in given.items()}
    reader = _Reader(given)
    tags, other_tags = _tags(given.pop("deploymentTags", ""))
    deployment_id = reader.text("deploymentID", needed=True)
    position = reader.position(box)
    starts_at, ends_at = reader.instant("deploymentStart", needed=True), reader.instant("deploymentEnd")
    if starts_at and ends_at and ends_at <= starts_at:
        reader.faults.append("deploymentEnd: must be later than deploymentStart")
    name, camera_id = reader.text("locationName"), reader.text("cameraID")
    details = reader.details()
    if other_tags:
        details["deploymentTags"] = other_tags
    card_id, gateway_id = tags.get(_CARD_TAG, ""), tags.get(_GATEWAY_TAG, "")
    if max(len(card_id), len(gateway_id)) > ID_MAX:
        reader.faults.append(f"deploymentTags: a card or gateway has at most {ID_MAX} characters")
    if not camera_id and not card_id:
        reader.faults.append(
            "cameraID: give the camera's serial number, or its card as the tag card:ID in deploymentTags; "
            "without either no picture finds its deployment"
        )
    if position:
        reader.faults += [
            f"{column}: gives the place away, and viewers read it: leave the coordinates out"
            for column, text in (("deploymentID", deployment_id), ("locationName", name))
            if geo.gives_away(text, position)
        ]
    if reader.faults or position is None or starts_at is None:
        raise ConfigError(reader.faults)
    return Deployment(
        deployment_id=deployment_id,
        name=name,
        position=position,
        starts_at=starts_at,
        ends_at=ends_at,
        camera_id=camera_id,
        card_id=card_id,
        gateway_id=gateway_id,
        details=details,
    )


class _Reader:
    """Takes values out of a row one by one, and gathers what is wrong with them."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self.faults: list[str] = []

    def text(self, name: str, *, needed: bool = False, longest: int = ID_MAX) -> str:
        value = self._values.pop(name, "")
        if needed and not value:
            self.faults.append(f"{name}: is needed")
        if len(value) > longest or not value.isprintable():
            self.faults.append(f"{name}: at most {longest} characters, none of them a control character")
        return value

    def number(self, name: str) -> float:
        value = self._values.pop(name, "")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.faults.append(f"{name}: {value[:40]!r} is not a number in decimal degrees, such as 27.68")
            return math.nan
        return number

    def position(self, box: Box) -> Position | None:
        latitude_deg, longitude_deg = self.number("latitude"), self.number("longitude")
        if not math.isfinite(latitude_deg + longitude_deg):
            return None
        if fault := geo.fault_of(latitude_deg, longitude_deg, box):
            self.faults.append(f"latitude: {fault}")
            return None
        return Position(latitude_deg=latitude_deg, longitude_deg=longitude_deg)

    def instant(self, name: str, *, needed: bool = False) -> datetime | None:
        value = self._values.pop(name, "")
        if not value:
            if needed:
                self.faults.append(f"{name}: is needed")
            return None
        try:
            instant = datetime.fromisoformat(value)
            instant.astimezone(UTC)
        except (ValueError, OverflowError):
            instant = None
        if instant is None or instant.tzinfo is None or instant.year not in _YEARS:
            self.faults.append(f"{name}: {value[:40]!r} is no time with its offset, such as 2026-11-01T09:30:00+05:45")
            return None
        return instant

    def details(self) -> dict[str, str]:
        kept = {name: value for name, value in self._values.items() if value}
        for name, value in kept.items():
            if name in _NUMBERS:
                least, most = _NUMBERS[name]
                try:
                    fits = least <= float(value) <= most
                except ValueError:
                    fits = False
                if not fits:
                    self.faults.append(f"{name}: {value[:40]!r} is not a number from {least} to {most}")
            elif name in _BOOLEANS:
                if value.lower() not in {"true", "false"}:
                    self.faults.append(f"{name}: must be true or false")
            elif name not in _TEXTS:
                self.faults.append(f"{name[:80]}: is no column of Camtrap DP's deployments")
        return kept


def _tags(text: str) -> tuple[dict[str, str], str]:
    """Camtrap DP's ``a|key:value`` -> our two keys, and the rest as it was written."""
    ours: dict[str, str] = {}
    others = []
    for tag in filter(None, (t.strip() for t in text.split("|"))):
        name, _, value = tag.partition(":")
        if name.strip() in (_CARD_TAG, _GATEWAY_TAG) and value.strip():
            ours[name.strip()] = value.strip()
        else:
            others.append(tag)
    return ours, "|".join(others)


def read_csv(content: bytes, box: Box) -> list[Deployment]:
    """Read Camtrap DP's ``deployments.csv``, whole or not at all.

    Raises:
        ConfigError: each fault with its line.
    """
    if len(content) > FILE_MAX_BYTES:
        raise ConfigError([f"{len(content)} bytes; a deployments.csv has at most {FILE_MAX_BYTES}"])
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if lacking := [name for name in _REQUIRED if name not in header]:
            raise ConfigError([f"line 1: not Camtrap DP's deployments.csv: it lacks the columns {', '.join(lacking)}"])
        if len(set(header)) != len(header):
            raise ConfigError(["line 1: a column stands there twice"])
        found, faults = _read_rows(rows, header, box)
    except UnicodeDecodeError as exc:
        raise ConfigError([f"not UTF-8 at byte {exc.start}: save it as CSV in UTF-8"]) from exc
    except csv.Error as exc:
        raise ConfigError([f"not CSV: {exc}"]) from exc
    faults += faults_between(found)
    if not found and not faults:
        faults.append("no deployment stands in it")
    if faults:
        more = [f"and {len(faults) - FAULTS_MAX} more faults"] if len(faults) > FAULTS_MAX else []
        raise ConfigError(faults[:FAULTS_MAX] + more)
    return found


def _read_rows(rows: Any, header: list[str], box: Box) -> tuple[list[Deployment], list[str]]:
    found: dict[str, Deployment] = {}
    faults: list[str] = []
    for row in rows:
        line = f"line {rows.line_num}"
        if not any(row):
            continue
        if len(row) != len(header):
            faults.append(f"{line}: {len(row)} values for {len(header)} columns")
            continue
        try:
            deployment = checked(dict(zip(header, row, strict=True)), box)
        except ConfigError as exc:
            faults += [f"{line}: {fault}" for fault in exc.faults]
            continue
        if deployment.deployment_id in found:
            faults.append(f"{line}: deploymentID {deployment.deployment_id!r} stands there twice")
        found[deployment.deployment_id] = deployment
    return list(found.values()), faults
