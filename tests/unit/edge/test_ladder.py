"""What travels of which verdict: the rules in ladder.py, the draws in audit.py, the hours in hours.py."""

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_module import audit, settings
from edge_module.domain import Box, Fate, Record, Scores, Variant
from edge_module.hours import may_upload
from edge_module.ladder import Policy, Rung, wanted

DEFAULT = Policy.of(settings.combine())
BOX = Box(left=0.1, top=0.2, right=0.5, bottom=0.6)
THUMBNAIL = b"a small picture"


def policy(**wanted_settings: object) -> Policy:
    return Policy.of(settings.combine(("test", wanted_settings)))


def record(fate: Fate, panda: float = 0.5, content: str = "x", **changes: object) -> Record:
    scores = Scores(
        probabilities={"red_panda": panda, "blank": round(1 - panda, 3)}, night=False, view="motion", box=BOX
    )
    made = Record(
        card_id="card", reading_id="card.1", path="a.jpg", media_id=hashlib.sha256(content.encode()).hexdigest(),
        model_id="model", fate=fate, scores=scores, size_bytes=1,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def variants(of: Record, under: Policy = DEFAULT, thumbnail: bytes | None = None) -> list[Variant]:
    return [want.variant for want in wanted(of, under, thumbnail)]


@pytest.mark.parametrize(
    ("fate", "travels"),
    [
        (Fate.PANDA, [Variant.CROP, Variant.FRAME]),
        (Fate.REVIEW, [Variant.CROP]),
        (Fate.OTHER, []),
        (Fate.BLANK, []),
        (Fate.HUMAN, []),
        (Fate.UNREADABLE, []),
    ],
)
def test_what_travels_unless_something_is_set(fate: Fate, travels: list[Variant]) -> None:
    assert variants(record(fate)) == travels


def test_everything_can_be_set() -> None:
    generous = policy(crop_of="panda", frame_of="panda_and_review", original_of="panda_and_review")
    assert variants(record(Fate.PANDA), generous) == [Variant.CROP, Variant.FRAME, Variant.ORIGINAL]
    assert variants(record(Fate.REVIEW), generous) == [Variant.FRAME, Variant.ORIGINAL]
    assert variants(record(Fate.PANDA), policy(crop_of="none", frame_of="none")) == []


def test_a_crop_shows_what_was_judged_and_the_likeliest_goes_first() -> None:
    crop, frame = wanted(record(Fate.PANDA, 0.9), DEFAULT)
    assert (crop.box, crop.worth, frame.box) == (BOX, 0.9, None)
    (of_review,) = wanted(record(Fate.REVIEW, 0.9), DEFAULT)
    assert crop.rung < of_review.rung < frame.rung


@pytest.mark.parametrize(
    "of", [record(Fate.HUMAN), record(Fate.REVIEW, withheld=True), record(Fate.PANDA, withheld=True)]
)
def test_rule_1_what_stays_here_sends_nothing_but_48_px_where_that_is_set(of: Record) -> None:
    generous = policy(frame_of="panda_and_review", original_of="panda_and_review", withheld_pictures=True)
    assert variants(of, DEFAULT, THUMBNAIL) == []
    assert variants(of, generous, None) == []
    (small,) = wanted(of, generous, THUMBNAIL)
    assert (small.variant, small.rung, small.picture) == (Variant.WITHHELD, Rung.WITHHELD, THUMBNAIL)


def test_rule_2_what_could_not_be_scored_sends_nothing_unasked() -> None:
    assert variants(record(Fate.REVIEW, reason="video: not scored", scores=None)) == []


def test_rule_4_a_discard_that_was_drawn_sends_its_thumbnail() -> None:
    assert variants(record(Fate.BLANK, audit_probability=0.02), DEFAULT, THUMBNAIL) == [Variant.AUDIT]
    assert variants(record(Fate.BLANK), DEFAULT, THUMBNAIL) == []


# --- the audit sample ---


@pytest.mark.parametrize(
    ("panda", "probability"),
    [(0.0, 0.01), (0.001, 0.01), (0.002, 0.02), (0.01, 0.04), (0.049, 0.04), (0.05, 0.08), (1, 0.08)],
)
def test_the_likelier_a_panda_was_missed_the_more_is_drawn(panda: float, probability: float) -> None:
    assert audit.probability(panda, 10) == probability
    assert audit.probability(panda, 1000) == 1
    assert audit.probability(panda, 0) == 0


def test_as_many_are_drawn_as_their_probability_says_and_always_the_same() -> None:
    discards = [record(Fate.BLANK, 0.02, content=str(n)) for n in range(20_000)]
    drawn = [audit.drawn(discard, 10) for discard in discards]
    assert set(drawn) == {None, 0.04}
    assert 700 < sum(probability is not None for probability in drawn) < 900, "800 expected, 28 of deviation"
    assert [audit.drawn(discard, 10) for discard in discards] == drawn


@given(content=st.text(), panda=st.floats(0, 1), lower=st.floats(0, 1000), more=st.floats(0, 1000))
def test_whoever_is_drawn_is_drawn_also_where_more_are(content: str, panda: float, lower: float, more: float) -> None:
    discard = record(Fate.OTHER, round(panda, 3), content=content)
    if audit.drawn(discard, lower) is not None:
        assert audit.drawn(discard, lower + more) is not None


@pytest.mark.parametrize("fate", [Fate.PANDA, Fate.REVIEW, Fate.HUMAN, Fate.UNREADABLE, Fate.DUPLICATE, Fate.IGNORED])
def test_only_discards_are_drawn_and_nobody_who_may_be_in_them(fate: Fate) -> None:
    assert audit.drawn(record(fate), 1000) is None
    assert audit.drawn(record(Fate.BLANK, withheld=True), 1000) is None
    assert audit.drawn(record(Fate.BLANK), 1000) == 1


# --- hours ---


@pytest.mark.parametrize(
    ("first", "until", "open_hours"),
    [
        (0, 24, set(range(24))),
        (6, 6, set(range(24))),
        (0, 0, set(range(24))),
        (8, 17, set(range(8, 17))),
        (22, 4, {22, 23, 0, 1, 2, 3}),
        (23, 24, {23}),
        (1, 24, set(range(1, 24))),
    ],
)
def test_pictures_travel_in_the_hours_that_are_set_where_the_cameras_are(
    first: int, until: int, open_hours: set[int]
) -> None:
    given_hours = settings.combine(("test", {"upload_from_h": first, "upload_until_h": until}))
    midnight = datetime(2026, 3, 14, tzinfo=UTC) - timedelta(minutes=345)
    hours = {hour for hour in range(24) if may_upload(midnight + timedelta(hours=hour, minutes=59), given_hours)}
    assert hours == open_hours
