"""The estimate of what is being missed: right on average, and its interval as wide as it says."""

import math
import random

import pytest

from cloud_sync.missed import Drawn, missed


def sample(probability: float, pandas: int, others: int, unjudged: int = 0) -> list[Drawn]:
    return [
        *[Drawn(probability=probability, is_panda=True)] * pandas,
        *[Drawn(probability=probability, is_panda=False)] * others,
        *[Drawn(probability=probability, is_panda=None)] * unjudged,
    ]


def test_a_panda_in_the_sample_stands_for_as_many_as_its_probability_says() -> None:
    found = missed(sample(0.01, 1, 99) + sample(0.08, 3, 20))
    assert found.estimate == pytest.approx(1 / 0.01 + 3 / 0.08)
    assert (found.judged, found.found) == (123, 4)
    assert found.lowest < found.estimate < found.highest


def test_no_panda_found_is_not_no_panda_missed() -> None:
    found = missed(sample(0.01, 0, 300))
    assert (found.estimate, found.lowest) == (0, 0)
    assert found.highest == pytest.approx(100 * -math.log(0.025)), (
        "each stands for 100, and Poisson's limit at 0 is 3.7"
    )


def test_the_interval_of_one_probability_is_the_exact_one_of_a_count() -> None:
    found = missed(sample(0.5, 10, 0))
    assert found.lowest == pytest.approx(2 * 4.795, abs=0.01)
    assert found.highest == pytest.approx(2 * 18.39, abs=0.01)


def test_those_who_were_judged_stand_for_those_drawn_with_the_same_probability() -> None:
    assert missed(sample(0.1, 2, 8, unjudged=10)).estimate == pytest.approx(2 * missed(sample(0.1, 2, 8)).estimate)


def test_what_nobody_has_looked_at_may_all_be_pandas() -> None:
    assert missed(sample(0.1, 0, 0, unjudged=5)).highest == math.inf
    known, also = missed(sample(0.1, 1, 9)), missed(sample(0.1, 1, 9) + sample(0.5, 0, 0, unjudged=4))
    assert also.highest == pytest.approx(known.highest + 8)
    assert also.estimate == known.estimate


def test_nothing_drawn_tells_nothing() -> None:
    assert missed([]).judged == 0


@pytest.mark.parametrize("probability", [0, -0.1, 1.01, math.nan])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability of being drawn"):
        missed([Drawn(probability=probability, is_panda=False)])


def test_on_average_it_is_right_and_the_truth_lies_in_the_interval_at_least_as_often_as_is_said() -> None:
    bands = {0.01: (20_000, 60), 0.02: (5_000, 40), 0.04: (2_000, 60), 0.08: (500, 80)}
    truth = sum(pandas for _, pandas in bands.values())
    rng, estimates, within = random.Random(7), [], 0
    rounds = 400
    for _ in range(rounds):
        drawn = [
            Drawn(probability=p, is_panda=n < pandas)
            for p, (_, pandas) in bands.items()
            for n in range(pandas + 20)  # those that are no pandas change nothing but the count of the judged
            if rng.random() < p
        ]
        found = missed(drawn)
        estimates.append(found.estimate)
        within += found.lowest <= truth <= found.highest
    error = 3 * math.sqrt(sum(pandas * (1 - p) / p for p, (_, pandas) in bands.items()) / rounds)
    assert abs(sum(estimates) / rounds - truth) < error
    assert within / rounds > 0.95
