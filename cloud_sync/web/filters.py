"""The filter that stands in the address: cameras, and days. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import BadRequest

from cloud_sync.deployments import Deployment
from cloud_sync.web.map_store import Span
from cloud_sync.web.texts import say

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

_YEARS: Final = range(1990, 2101)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for.

    Args:
        cameras: deployment keys; empty for all.
        first_day: inclusive, in headquarters' own offset from UTC.
        last_day: inclusive.
    """

    cameras: tuple[str, ...]
    first_day: date | None
    last_day: date | None
    utc_offset_min: int

    @property
    def span(self) -> Span:
        """The instants between the first day's beginning and the last day's end."""
        return Span(
            starts_at=self._begin(self.first_day) if self.first_day else None,
            ends_at=self._begin(self.last_day + timedelta(days=1)) if self.last_day else None,
        )

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), timezone(timedelta(minutes=self.utc_offset_min)))

    @property
    def is_open(self) -> bool:
        """Whether everything is asked for."""
        return not self.cameras and self.first_day is None and self.last_day is None

    def among(self, deployments: Sequence[Deployment]) -> list[Deployment]:
        """The deployments that are asked for.

        Raises:
            BadRequest: one of them is not known.
        """
        if not self.cameras:
            return list(deployments)
        chosen = [d for d in deployments if d.key in self.cameras]
        if len(chosen) != len(self.cameras):
            raise BadRequest(say("The address asks for a camera that is not known. Choose one from the list."))
        return chosen


def read(arguments: "MultiDict[str, str]", *, utc_offset_min: int) -> Filter:
    """Read a filter from an address.

    Raises:
        BadRequest: says what is wrong with it.
    """
    first_day, last_day = _day(arguments, "from"), _day(arguments, "to")
    if first_day and last_day and last_day < first_day:
        raise BadRequest(
            say("The last day, %(last)s, lies before the first, %(first)s.", last=last_day, first=first_day)
        )
    cameras = tuple(dict.fromkeys(filter(None, arguments.getlist("camera"))))
    return Filter(cameras=cameras, first_day=first_day, last_day=last_day, utc_offset_min=utc_offset_min)


def _day(arguments: "MultiDict[str, str]", name: str) -> date | None:
    text = arguments.get(name, "").strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as exc:
        raise BadRequest(
            say("%(field)s: %(text)s is not a day such as 2026-11-01.", field=name, text=repr(text[:40]))
        ) from exc
    if day.year not in _YEARS:
        raise BadRequest(
            say(
                "%(field)s: %(day)s is out of range: %(least)s to %(most)s.",
                field=name,
                day=day,
                least=_YEARS[0],
                most=_YEARS[-1],
            )
        )
    return day
