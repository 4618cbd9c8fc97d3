"""How values are written on pages. Times carry their own offset; nothing is rounded into another meaning."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from flask import Flask
from markupsafe import Markup

from cloud_sync import deployments
from cloud_sync.web.texts import plural, say

NONE: Final = "\N{EN DASH}"
_JOINERS: Final = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Not printable, and yet part of how Nepali is written."""
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def register(app: Flask, *, utc_offset_min: int) -> None:
    """Make the filters known to templates; `utc_offset_min` is of headquarters' own times."""

    def when(instant: datetime | None, offset_min: int | None = None) -> Markup:
        return _time(instant, utc_offset_min if offset_min is None else offset_min)

    def own(instant: datetime | None) -> Markup:
        return _time(instant, deployments.offset_min(instant) if instant else 0)

    app.jinja_env.filters.update(when=when, own=own)
    app.jinja_env.filters.update({f.__name__: f for f in (ago, duration, size, number, percent, offset, visible)})


def _time(instant: datetime | None, offset_min: int) -> Markup:
    if instant is None:
        return Markup("{}").format(NONE)
    local = instant.astimezone(timezone(timedelta(minutes=offset_min)))
    return Markup('<time datetime="{}" class="text-nowrap">{} <span class="offset">{}</span></time>').format(
        local.isoformat(), local.strftime("%Y-%m-%d %H:%M"), offset(offset_min)
    )


def visible(text: str) -> str:
    """A name from a card with what would hide in it, such as a change of the direction of writing, as its escape."""
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in text)


def offset(offset_min: int) -> str:
    """Minutes east of UTC as ISO 8601 writes them."""
    hours, minutes = divmod(abs(offset_min), 60)
    return f"{'-' if offset_min < 0 else '+'}{hours:02}:{minutes:02}"


def ago(instant: datetime | None) -> str:
    """How long ago, roughly."""
    if instant is None:
        return say("never")
    seconds = (datetime.now(UTC) - instant).total_seconds()
    return say("just now") if seconds < _MINUTE_S else say("%(duration)s ago", duration=duration(seconds))


def duration(seconds: float) -> str:
    """A time span by its largest unit."""
    if seconds >= _DAY_S:
        return plural("%(num)s day", "%(num)s days", int(seconds // _DAY_S))
    if seconds >= _HOUR_S:
        return plural("%(num)s hour", "%(num)s hours", int(seconds // _HOUR_S))
    if seconds >= _MINUTE_S:
        return plural("%(num)s minute", "%(num)s minutes", int(seconds // _MINUTE_S))
    return plural("%(num)s second", "%(num)s seconds", round(seconds))


def size(size_bytes: float | None) -> str:
    """Bytes in decimal units."""
    if size_bytes is None:
        return NONE
    value, unit = float(size_bytes), 0
    while value >= _THOUSAND and unit + 1 < len(_UNITS):
        value, unit = value / _THOUSAND, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def number(value: float | None) -> str:
    """A count, thousands apart."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float | None) -> str:
    """A probability."""
    return NONE if share is None else f"{100 * share:.1f} %"
