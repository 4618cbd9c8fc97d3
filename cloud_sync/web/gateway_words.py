"""What gateways say in codes and names (docs/wire.md), as people read it; what is not known is called what it is."""

from collections.abc import Mapping
from typing import Final

from cloud_sync.web.formats import duration, number, percent, size
from cloud_sync.web.texts import mark, say

MEASURES: Final[Mapping[str, str]] = {
    "activity": mark("Activity"),
    "messages_owed": mark("Messages in the queue"),
    "verdicts_unpacked": mark("Verdicts not yet in a message"),
    "unconfirmed_bytes": mark("Not confirmed yet"),
    "messages_buried": mark("Messages given up"),
    "pictures_owed": mark("Pictures in the queue"),
    "budget_left_bytes": mark("Data left today"),
    "card_errors": mark("Cards whose reading broke off"),
    "storage": mark("State of its disk"),
    "disk_free_bytes": mark("Free on its disk"),
    "disk_free_share": mark("Free share of its disk"),
    "memory_used_bytes": mark("Memory in use"),
    "memory_free_bytes": mark("Memory left"),
    "cpu_temperature_c": mark("Temperature of the processor"),
    "cpu_throttled": mark("Processor held back"),
    "work_lowered": mark("Work lowered for the heat"),
    "model_id": mark("Model"),
    "version": mark("Software"),
    "boot_id": mark("Boot"),
    "uptime_s": mark("Running for"),
}
"""Measures of the status, in the order in which a page has them."""

_YES_OR_NO: Final = frozenset({"cpu_throttled", "work_lowered"})
_YES: Final = mark("yes")
_NO: Final = mark("no")
_STORAGE: Final[Mapping[str, str]] = {
    "ok": mark("in order"),
    "full": mark("full: no card is read"),
    "read-only": mark("read-only: no card is read"),
    "failing": mark("failing: no card is read"),
}

ALERTS: Final[Mapping[str, str]] = {
    "card_interrupted": mark("card interrupted"),
    "card_hangs": mark("card hangs"),
    "card_conflict": mark("two cards with one identity"),
    "worker_stalled": mark("stalled, started again"),
    "worker_failed": mark("failed, started again"),
    "storage_full": mark("disk full"),
    "storage_read_only": mark("disk read-only"),
    "storage_failing": mark("disk failing"),
    "storage_recovered": mark("disk in order again"),
    "job_done": mark("done as asked"),
    "job_failed": mark("could not be done"),
    "ledger_rebuilt": mark("ledger rebuilt"),
    "model_refused": mark("model refused"),
    "model_rolled_back": mark("model rolled back"),
    "originals_ceiling": mark("no room for originals"),
    "picture_undeliverable": mark("picture cannot be stored"),
    "unregistered_sender": mark("unknown sender"),
    "malformed": mark("malformed message"),
    "oversize": mark("message too large"),
    "refused": mark("refused by the database"),
    "another_body": mark("another body, one number"),
    "another_records_body": mark("another judgement"),
    "another_media_body": mark("another picture, one name"),
    "blob_absent": mark("picture is not in storage"),
    "blob_unknown": mark("storage of another"),
    "blob_differs": mark("picture differs from its word"),
    "buried": mark("message given up"),
    "record_behind_confirmation": mark("record behind what was confirmed"),
}
"""Alerts and reasons for setting a message aside, by code."""


def alert(code: str) -> str:
    """What an alert is called."""
    return say(ALERTS.get(code, code))


def measures(told: Mapping[str, float | str]) -> list[tuple[str, str]]:
    """A status as a page has it: what each measure is called, and its value with its unit."""
    known = [name for name in MEASURES if name in told]
    others = [name for name in told if name not in MEASURES]
    return [(say(MEASURES.get(name, name.replace("_", " "))), _value(name, told[name])) for name in known + others]


def _value(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return say(_STORAGE.get(value, value)) if name == "storage" else value
    if name in _YES_OR_NO:
        return say(_YES if value else _NO)
    for end, written in (("_bytes", size), ("_s", duration), ("_share", percent), ("_c", _celsius)):
        if name.endswith(end):
            return written(value)
    return number(value)


def _celsius(value: float) -> str:
    return f"{value:.1f} °C"
