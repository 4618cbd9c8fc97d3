"""A hundred days on a link that fails, with restarts and a clock that is set: no day's budget is ever exceeded."""

from tests.days import DayByDay, Frames

THUMBNAIL = b"\xff\xd8 a discard \xff\xd9" + bytes(5_000)
MADE = bytes(range(256)) * 2000


def test_a_hundred_days_stay_within_their_budgets_and_everything_arrives_in_the_end(tmp_path):
    budget_bytes = 2_000_000
    days = DayByDay(
        tmp_path,
        original=lambda number, fate: f"{fate} {number}".encode(),
        thumbnail=THUMBNAIL,
        ready=lambda record: record.media_id.encode() + MADE,
        values={
            "budget_bytes": budget_bytes, "review_crops_per_day": 10, "audit_per_mille": 30, "retry_longest_s": 60,
            "confirm_interval_s": 0, "resend_after_s": 3600,
        },
        failing=0.05,
    )  # fmt: skip
    try:
        for day in range(100):
            if day < 60:
                days.card(Frames(discards=30, reviews=6, pandas=3))
            for hour in range(0, 24, 8):
                days.status({"uptime_s": 3600 * hour, "activity": "waiting for a card"})
                days.carry()
                if days.random.random() < 0.2:
                    days.restart()
                if days.random.random() < 0.2:  # somebody, or a time server, sets the clock
                    days.clock.wall = days.clock.wall.replace(year=days.random.choice([1971, 2025, 2026, 2027, 2090]))
                days.pass_s(8 * 3600)
        days.carry()
        owed = days.ledger.uploads.waiting()
    finally:
        days.ledger.close()
    assert len(days.by_day) == 101
    assert max(days.by_day) <= budget_bytes
    assert max(days.by_day) > 0.8 * budget_bytes, "or the budget was never put to the test"
    assert owed == 0
    variants = [name.split("/")[0] for name in days.store.blobs]
    assert variants.count("frame") == 60 * 3
    assert variants.count("crop") == 60 * 9


def test_the_count_of_the_ledger_is_the_count_of_who_received(tmp_path):
    days = DayByDay(
        tmp_path, original=lambda number, fate: f"{fate} {number}".encode(), thumbnail=THUMBNAIL,
        ready=lambda record: record.media_id.encode() + MADE, failing=0.1,
    )  # fmt: skip
    try:
        days.card(Frames(discards=50, reviews=5, pandas=2))
        for _ in range(20):
            days.carry()
            days.pass_s(60)
        (used,) = days.ledger._database.read("SELECT used_bytes FROM budget")
    finally:
        days.ledger.close()
    assert used == (days.sent_bytes,), "to the byte, failed attempts too"
