# SPDX-License-Identifier: Apache-2.0
"""The interval of the ratio of two stored results, from the medians of their processes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.floor import Floor
from pyperf_infer.statistics.holm import Verdict, verdict_of
from pyperf_infer.statistics.stored import (
    LEAST_PROCESSES,
    geometric_mean,
    ratio_of_processes,
    relative_sd,
    spread_exceeds_floor,
)

TIMES = st.floats(0.01, 1e4)
MANY = st.lists(TIMES, min_size=LEAST_PROCESSES, max_size=9)
CONFIDENCES = st.floats(0.5, 0.9999)
FLOORS = st.none() | st.builds(Floor, st.floats(0.0001, 0.05), st.integers(3, 40))


def normal(source: random.Random, count: int, sd: float, level: float = 0.0) -> list[float]:
    return [math.exp(source.gauss(level, sd)) for _ in range(count)]


def test_is_the_interval_of_welchs_t_test_of_the_logs() -> None:
    baseline, contender = [50.0, 51.0, 49.5, 50.2, 50.9], [47.0, 46.1, 47.9, 46.6, 47.3, 46.8]
    found = ratio_of_processes(baseline, contender)(0.95)
    from scipy.stats import ttest_ind

    theirs = ttest_ind(*([math.log(one) for one in side] for side in (baseline, contender)), equal_var=False)
    expected = theirs.confidence_interval(0.95)
    assert found == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-9)


@pytest.mark.parametrize(
    ("spread", "counts"), [((0.01, 0.01), (5, 5)), ((0.002, 0.02), (5, 8)), ((0.05, 0.01), (6, 5))]
)
def test_identical_code_is_covered_as_often_as_it_says(spread: tuple[float, float], counts: tuple[int, int]) -> None:
    source, trials, covered = random.Random(20_251), 1500, 0
    for _ in range(trials):
        sides = [normal(source, count, sd) for count, sd in zip(counts, spread, strict=True)]
        low, high = ratio_of_processes(*sides)(0.95) or (math.nan, math.nan)
        covered += low <= 1 <= high
    assert 0.93 <= covered / trials <= 0.975  # three standard errors of the share around 95%, Welch being approximate


def test_a_floor_covers_identical_code_with_a_single_process_a_side() -> None:
    """The floor is itself an estimate, from twelve processes, and t of its degrees of freedom makes up for that."""
    source, trials, covered = random.Random(7), 1500, 0
    for _ in range(trials):
        sample = [math.log(one) for one in normal(source, 12, 0.01)]
        mean = sum(sample) / 12
        floor = Floor(math.sqrt(sum((one - mean) ** 2 for one in sample) / 11), 12)
        low, high = ratio_of_processes(normal(source, 1, 0.01), normal(source, 1, 0.01), floor=floor)(0.95) or (
            2.0,
            2.0,
        )
        covered += low <= 1 <= high
    assert 0.93 <= covered / trials <= 0.97


@given(MANY, MANY, FLOORS, CONFIDENCES)
def test_swapping_the_sides_inverts_ratio_and_interval_and_mirrors_the_verdict(
    baseline: list[float], contender: list[float], floor: Floor | None, confidence: float
) -> None:
    one = ratio_of_processes(baseline, contender, floor=floor)(confidence)
    other = ratio_of_processes(contender, baseline, floor=floor)(confidence)
    assert one is not None
    assert other is not None
    assert one == pytest.approx((1 / other[1], 1 / other[0]), rel=1e-9)
    mirrored: dict[Verdict, Verdict] = {
        "faster": "slower",
        "slower": "faster",
        "same": "same",
        "undecided": "undecided",
    }
    edges = [abs(math.log(end)) for end in one]
    if all(abs(edge - math.log(1.01)) > 1e-9 for edge in edges):  # where rounding does not decide
        assert verdict_of(*one, 0.01)[0] == mirrored[verdict_of(*other, 0.01)[0]]


@given(MANY, MANY, FLOORS, CONFIDENCES, st.floats(1e-3, 1e3))
def test_the_unit_of_the_times_changes_nothing(
    baseline: list[float], contender: list[float], floor: Floor | None, confidence: float, factor: float
) -> None:
    one = ratio_of_processes(baseline, contender, floor=floor)(confidence)
    scaled = ratio_of_processes([x * factor for x in baseline], [x * factor for x in contender], floor=floor)(
        confidence
    )
    assert one == pytest.approx(scaled, rel=1e-6)


@given(
    st.lists(TIMES, min_size=1, max_size=9), st.lists(TIMES, min_size=1, max_size=9), FLOORS, CONFIDENCES, CONFIDENCES
)
def test_a_lower_confidence_gives_an_interval_within(
    baseline: list[float], contender: list[float], floor: Floor | None, one: float, other: float
) -> None:
    interval = ratio_of_processes(baseline, contender, floor=floor, within=1e-6, resolution=1e-6)
    inner, outer = interval(min(one, other)), interval(max(one, other))
    if inner is None or outer is None:
        assert inner is outer
        return
    assert outer[0] <= inner[0] <= geometric_mean(baseline) / geometric_mean(contender) * (1 + 1e-9)
    assert inner[1] <= outer[1]


@given(MANY, MANY, st.builds(Floor, st.floats(0.0001, 0.5), st.integers(3, 40)), CONFIDENCES)
def test_with_enough_processes_a_floor_only_ever_widens(
    baseline: list[float], contender: list[float], floor: Floor, confidence: float
) -> None:
    without = ratio_of_processes(baseline, contender)(confidence)
    given_floor = ratio_of_processes(baseline, contender, floor=floor)(confidence)
    assert without is not None
    assert given_floor is not None
    assert given_floor[0] <= without[0]
    assert given_floor[1] >= without[1]


def test_a_floor_wider_than_the_spread_seen_decides() -> None:
    tight = [50.0, 50.01, 49.99, 50.02, 49.98]
    low, high = ratio_of_processes(tight, tight, floor=Floor(0.02, 30))(0.95) or (1.0, 1.0)
    half = 0.02 * math.sqrt(2 / 5) * 2.0452296  # t of 29 degrees of freedom
    assert (low, high) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-6)


def test_the_floors_interval_adds_what_iterations_leave() -> None:
    low, high = ratio_of_processes([50.0], [50.0], floor=Floor(0.01, 30), within=0.0004)(0.95) or (1.0, 1.0)
    half = math.sqrt(2 * 0.0001 + 0.0004) * 2.0452296
    assert (low, high) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-6)


@pytest.mark.parametrize("counts", [(1, 1), (4, 5), (5, 4), (4, 100)])
def test_too_few_processes_on_either_side_give_no_interval_without_a_floor(counts: tuple[int, int]) -> None:
    source = random.Random(3)
    sides = [normal(source, count, 0.01) for count in counts]
    assert ratio_of_processes(*sides)(0.5) is None
    assert ratio_of_processes(*sides, floor=Floor(0.01, 20))(0.95) is not None


def test_few_processes_that_lie_further_apart_than_the_floor_are_not_judged_by_it() -> None:
    wild, floor = [50.0, 58.0, 44.0], Floor(0.005, 20)
    assert spread_exceeds_floor(wild, [50.0], floor)
    assert ratio_of_processes(wild, [50.0], floor=floor)(0.95) is None
    calm = [50.0, 50.2, 49.9]
    assert not spread_exceeds_floor(calm, [50.0], floor)
    assert ratio_of_processes(calm, [50.0], floor=floor)(0.95) is not None


def test_a_floor_of_nothing_does_not_explain_processes_that_differ() -> None:
    assert spread_exceeds_floor([50.0, 50.1], [50.0], Floor(0.0, 10))
    assert not spread_exceeds_floor([50.0], [51.0], Floor(0.0, 10))  # one process a side shows no spread
    assert not spread_exceeds_floor([50.0, 50.0], [51.0], Floor(0.0, 10))


def test_processes_that_agree_to_the_last_digit_give_an_interval_of_one_clock_step() -> None:
    exact = [2.0] * 5
    assert ratio_of_processes(exact, exact)(0.95) == (1.0, 1.0)
    assert ratio_of_processes(exact, exact, resolution=0.001)(0.95) == pytest.approx(
        (math.exp(-0.001), math.exp(0.001))
    )


def test_a_spread_of_the_last_digits_only_still_has_degrees_of_freedom() -> None:
    nearly = [1.0, 1.0, 1.0, 1.0, 1.0 + 2e-16]
    low, high = ratio_of_processes(nearly, [1.0] * 5)(0.95) or (0.0, 0.0)
    assert low == pytest.approx(1, abs=1e-12)
    assert high == pytest.approx(1, abs=1e-12)


def test_arrays_are_as_good_as_lists() -> None:
    one, other = [1.0, 1.1, 1.2, 1.1, 1.0], [2.0] * 5
    assert ratio_of_processes(np.array(one), np.array(other))(0.95) == ratio_of_processes(one, other)(0.95)


@pytest.mark.parametrize("bad", [[], [0.0] * 5, [-1.0] * 5, [math.nan] * 5, [math.inf] * 5])
@pytest.mark.parametrize("first", [True, False])
def test_medians_that_are_no_times_are_refused(bad: Sequence[float], first: bool) -> None:
    sides = (bad, [1.0] * 5) if first else ([1.0] * 5, bad)
    with pytest.raises(ValueError, match="above 0"):
        ratio_of_processes(*sides)


def test_the_spread_of_a_single_process_is_not_known() -> None:
    assert relative_sd([3.0]) is None
    assert relative_sd([math.exp(0.01), math.exp(-0.01)]) == pytest.approx(0.01 * math.sqrt(2))
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


@pytest.mark.parametrize("sides", [([1e-300, 1e300] * 3, [1.0] * 5), ([1e300] * 5, [1e-300] * 5)])
def test_an_interval_whose_ends_no_float_holds_is_none(sides: tuple[list[float], list[float]]) -> None:
    for one in (sides, sides[::-1]):
        assert ratio_of_processes(*one)(0.95) is None


@pytest.mark.parametrize("sd", [1e300, 1e-300])
def test_a_floor_beyond_all_measure_ends_in_no_error(sd: float) -> None:
    floor = Floor(sd, 10)
    assert ratio_of_processes([50.0, 50.1], [50.0], floor=floor)(0.95) is None
    assert spread_exceeds_floor([50.0, 50.1], [50.0], floor) == (sd < 1)


def test_single_processes_are_not_judged_by_a_floor_of_nothing() -> None:
    assert ratio_of_processes([50.0], [50.1], floor=Floor(0.0, 10), within=1e-8)(0.95) is None
    assert ratio_of_processes([50.0] * 5, [50.1] * 5, floor=Floor(0.0, 10))(0.95) is not None


def test_the_mean_of_equal_medians_is_what_they_are() -> None:
    assert geometric_mean([400.1]) == 400.1
    assert geometric_mean([0.1] * 7) == 0.1
