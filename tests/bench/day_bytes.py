"""What a day of 3,000 frames costs: ``python -m tests.bench.day_bytes [--days N --budget-bytes N --failing SHARE]``.

2,900 discards, 90 `review` and 10 `panda` at 12 MP, drawn by the project, on two cards, with the settings as they ship;
everything that is owed is sent, with word of the gateway's health each hour. Messages are those of the real ledger and
couriers, pictures are made of the originals; bytes are counted by who received them, headers included. From the second
day on crops are as large as crops may be, and frames those of one drawing. With `--failing` that share of what is sent
fails, and the process is cut off each midnight; `--budget-bytes` makes the day's budget bind. Prints one JSON object
and writes it to build/day_bytes.json.
"""

import argparse
import io
import json
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image

from edge_module.budget import PUT_HEADER_BYTES
from edge_module.domain import Fate, Record
from edge_module.frame import decode
from edge_module.variants import AUDIT_LONG_EDGE_PX, frame_jpeg, thumbnail_jpeg
from models.draw import Animal, Shot, draw
from tests.days import DAY_S, DayByDay, Frames

BAR_BYTES: Final = 8_000_000
_CARDS: Final = 2
_FRAMES: Final = Frames(discards=1450, reviews=45, pandas=5)
_ROOT: Final = Path(__file__).parents[2]
_MEASURES: Final[dict[str, float | str]] = {
    "activity": "waiting for a card", "messages_owed": 12, "verdicts_unpacked": 0, "unconfirmed_bytes": 120_000,
    "messages_buried": 0, "pictures_owed": 75, "card_errors": 0, "storage": "ok", "disk_free_bytes": 21_000_000_000,
    "disk_total_bytes": 31_000_000_000, "memory_rss_bytes": 118_000_000, "memory_available_bytes": 512_000_000,
    "temperature_c": 51.2, "throttled": "no", "work_lowered": 0, "model_id": "5b1e04d9c3aa", "version": "0.1.0",
    "boot_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "uptime_s": 86_400,
}  # fmt: skip


@cache
def _drawn(seed: int, animal: Animal | None, night: bool) -> bytes:
    """A frame of 12 MP as a camera writes it."""
    shot = Shot(seed=seed, animal=animal, night=night, width_px=4000, height_px=3000, animal_width=0.2, at=(0.45, 0.5))
    out = io.BytesIO()
    Image.fromarray(draw(shot)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _original(number: int, fate: Fate) -> bytes:
    """Of six drawings one, made another file by what follows its end."""
    animal = Animal.RED_PANDA if fate is Fate.PANDA else (Animal.DEER, Animal.BOAR)[number % 2]
    return _drawn(number % 3, animal, number % 2 == 0) + b"%d" % number


def measure(days: int, *, budget_bytes: int | None = None, failing: float = 0.0) -> dict[str, object]:
    """Let the days pass; what they cost.

    Args:
        days: how many.
        budget_bytes: of a day, where it is not the one that ships.
        failing: the share of sends that fail; if there are any, the gateway's process is cut off each midnight too.
    """
    thumbnail = thumbnail_jpeg(decode(_drawn(0, None, False)).image, long_edge_px=AUDIT_LONG_EDGE_PX)  # noqa: FBT003
    with tempfile.TemporaryDirectory() as folder:
        later: list[bytes] = []

        def ready(record: Record) -> bytes | None:
            return record.media_id.encode() + later[0] if later else None

        gateway = DayByDay(
            Path(folder), original=_original, thumbnail=thumbnail, ready=ready, failing=failing,
            values={} if budget_bytes is None else {"budget_bytes": budget_bytes},
        )  # fmt: skip
        try:
            for _ in range(days):
                if failing:
                    gateway.restart()
                for hour in range(24):
                    if hour in (8, 14):
                        gateway.card(_FRAMES)
                    gateway.status(_MEASURES)
                    gateway.carry()
                    gateway.pass_s(DAY_S / 24)
                later = later or [frame_jpeg(_drawn(0, Animal.RED_PANDA, False))]  # noqa: FBT003
            owed = gateway.ledger.uploads.waiting()
            allowed_bytes = gateway.settings.budget_bytes
        finally:
            gateway.ledger.close()
    pictures, bytes_of = Counter[str](), Counter[str]()
    for name, content in gateway.store.blobs.items():
        variant = name.split("/")[0]
        pictures[variant] += 1
        bytes_of[variant] += len(content) + PUT_HEADER_BYTES
    return {
        "frames_a_day": _CARDS * (_FRAMES.discards + _FRAMES.reviews + _FRAMES.pandas),
        "days": days,
        "first_day_bytes": gateway.by_day[0],
        "largest_day_bytes": max(gateway.by_day),
        "bar_bytes": BAR_BYTES,
        "budget_bytes": allowed_bytes,
        "failing": failing,
        "message_bytes_by_kind": dict(gateway.link.kinds),
        "pictures_by_variant": dict(pictures),
        "picture_bytes_by_variant": dict(bytes_of),
        "pictures_left_for_tomorrow": owed,
        "ok": gateway.by_day[0] <= BAR_BYTES and max(gateway.by_day) <= allowed_bytes,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--budget-bytes", type=int, metavar="N", help="of a day; that which ships unless given")
    parser.add_argument("--failing", type=float, default=0.0, metavar="SHARE", help="of what is sent")
    given = parser.parse_args()
    found = json.dumps(measure(given.days, budget_bytes=given.budget_bytes, failing=given.failing), indent=1)
    (_ROOT / "build").mkdir(exist_ok=True)
    (_ROOT / "build" / "day_bytes.json").write_text(found + "\n")
    print(found)  # noqa: T201


if __name__ == "__main__":
    main()
