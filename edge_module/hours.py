"""The hours in which pictures travel. Pure."""

from datetime import datetime, timedelta, timezone

from edge_module.settings import Settings


def may_upload(at: datetime, settings: Settings) -> bool:
    """Whether pictures may travel at a time, by the hours that are set and the cameras' offset from UTC.

    From 22 until 4 passes midnight; the same hour twice is the whole day.
    """
    local = at.astimezone(timezone(timedelta(minutes=settings.camera_utc_offset_min)))
    first, last = settings.upload_from_h % 24, settings.upload_until_h % 24
    if first == last:
        return True
    return first <= local.hour < last if first < last else not last <= local.hour < first
