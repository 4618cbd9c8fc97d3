"""The rules of verdict.py, by their numbers."""

import pytest

from edge_module.domain import Fate, Scores
from edge_module.verdict import DayNight, Thresholds, judge, withhold

LIMITS = DayNight(day=Thresholds(panda=0.8, review=0.3), night=Thresholds(panda=0.6, review=0.1))


def scores(*, night: bool = False, **probabilities: float) -> Scores:
    labels = {"red_panda": 0.0, "blank": 0.0, "human": 0.0, "deer": 0.0, "boar": 0.0} | probabilities
    return Scores(probabilities=labels, night=night, view="full")


def test_rule_1_a_probability_that_reaches_the_upper_threshold_is_a_panda() -> None:
    assert judge(scores(red_panda=0.8, deer=0.2), LIMITS) is Fate.PANDA


def test_rule_2_between_the_thresholds_a_person_should_look() -> None:
    assert judge(scores(red_panda=0.799, deer=0.201), LIMITS) is Fate.REVIEW
    assert judge(scores(red_panda=0.3, deer=0.7), LIMITS) is Fate.REVIEW


def test_rule_3_a_likeliest_person_is_human() -> None:
    assert judge(scores(red_panda=0.1, human=0.5, blank=0.4), LIMITS) is Fate.HUMAN


def test_rules_1_and_2_before_3_a_person_beside_a_panda_hides_nothing() -> None:
    assert judge(scores(red_panda=0.3, human=0.7), LIMITS) is Fate.REVIEW


def test_rule_4_nothing_likelier_than_any_animal_is_blank() -> None:
    assert judge(scores(red_panda=0.2, blank=0.3, deer=0.25, boar=0.25), LIMITS) is Fate.BLANK


def test_rule_5_all_that_remains_is_other() -> None:
    assert judge(scores(red_panda=0.2, deer=0.5, blank=0.3), LIMITS) is Fate.OTHER


@pytest.mark.parametrize(("night", "fate"), [(False, Fate.REVIEW), (True, Fate.PANDA)])
def test_day_and_night_have_their_own_thresholds(night: bool, fate: Fate) -> None:
    assert judge(scores(red_panda=0.7, deer=0.3, night=night), LIMITS) is fate


@pytest.mark.parametrize(("panda", "review"), [(0.3, 0.8), (1.1, 0.5), (0.5, 0), (0.5, -0.1)])
def test_thresholds_that_make_no_sense_are_refused(panda: float, review: float) -> None:
    with pytest.raises(ValueError, match="0 < review <= panda <= 1"):
        Thresholds(panda=panda, review=review)


def test_scores_name_the_red_panda_and_sum_to_one() -> None:
    for probabilities in ({"blank": 1.0}, {"red_panda": 0.5}, {"red_panda": 0.6, "blank": 0.6}):
        with pytest.raises(ValueError, match="must name red_panda and sum to 1"):
            Scores(probabilities=probabilities, night=False, view="full")


@pytest.mark.parametrize("fate", [Fate.PANDA, Fate.REVIEW])
def test_rule_6_where_a_person_may_be_what_would_leave_stays_for_review(fate: Fate) -> None:
    assert withhold(fate, person=True) == (Fate.REVIEW, True)
    assert withhold(fate, person=False) == (fate, False)


@pytest.mark.parametrize("fate", [Fate.OTHER, Fate.BLANK, Fate.HUMAN])
def test_rule_6_what_would_leave_for_the_audit_alone_keeps_its_verdict(fate: Fate) -> None:
    assert withhold(fate, person=True) == (fate, True)
    assert withhold(fate, person=False) == (fate, False)
