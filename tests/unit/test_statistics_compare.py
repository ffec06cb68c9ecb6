# SPDX-License-Identifier: Apache-2.0
"""Verdicts on two targets: what the interval says against the margin, and when nothing is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.compare import ClockLimits, compare_all_rounds, compare_rounds

ROUNDS = st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(0.9, 1.1)), min_size=6, max_size=40)
OPPOSITE = {"faster": "slower", "slower": "faster", "same": "same", "undecided": "undecided"}


def _split(rounds: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [1e6 * one for one, _ in rounds], [1e6 * other for _, other in rounds]


@given(ROUNDS, st.floats(0.001, 0.2))
def test_the_verdict_follows_from_the_interval_and_the_margin(rounds: list[tuple[float, float]], margin: float) -> None:
    found = compare_rounds(*_split(rounds), margin=margin)
    ratios = sorted(one / other for one, other in rounds)
    middle = math.sqrt(ratios[(len(ratios) - 1) // 2] * ratios[len(ratios) // 2])
    assert found.ratio == pytest.approx(middle)
    assert found.rounds == len(rounds)
    assert found.interval is not None
    low, high = found.interval
    assert low <= found.ratio <= high
    for value in (low, high):
        assert any(math.isclose(value, ratio) for ratio in ratios)
    inside = 1 / (1 + margin) <= low and high <= 1 + margin
    expected = "faster" if low > 1 + margin else "slower" if high < 1 / (1 + margin) else "same" if inside else None
    assert found.verdict == (expected or "undecided")
    assert (found.reason is None) == (expected is not None)


@given(ROUNDS)
def test_exchanging_the_two_turns_the_verdict_around(rounds: list[tuple[float, float]]) -> None:
    one, other = _split(rounds)
    found, turned = compare_rounds(one, other), compare_rounds(other, one)
    assert turned.verdict == OPPOSITE[found.verdict]
    assert found.interval is not None
    assert turned.interval == pytest.approx((1 / found.interval[1], 1 / found.interval[0]))
    assert turned.ratio == pytest.approx(1 / found.ratio)


def test_arrays_are_as_good_as_lists() -> None:
    one, other = [2e6, 2.1e6] * 5, [1e6] * 10
    assert compare_rounds(np.array(one), np.array(other)) == compare_rounds(one, other)


@pytest.mark.parametrize(("ratio", "verdict"), [(2.1, "faster"), (0.5, "slower"), (1.0, "same"), (1.009, "same")])
def test_rounds_that_agree_give_a_verdict_on_the_second(ratio: float, verdict: str) -> None:
    found = compare_rounds([ratio * 1e6] * 8, [1e6] * 8)
    assert (found.verdict, found.reason) == (verdict, None)
    assert found.ratio == pytest.approx(ratio)


@pytest.mark.parametrize(("rounds", "said"), [(1, "1 round is too few"), (5, "5 rounds are too few")])
def test_too_few_rounds_for_an_interval_decide_nothing(rounds: int, said: str) -> None:
    found = compare_rounds([2e6] * rounds, [1e6] * rounds)
    assert (found.verdict, found.interval, found.rounds) == ("undecided", None, rounds)
    assert found.ratio == pytest.approx(2)
    assert said in (found.reason or "")


def test_without_a_round_the_ratio_is_that_of_each_alone() -> None:
    found = compare_rounds([], [], alone_interval=(1.0, 4.0))
    assert (found.ratio, found.interval, found.verdict, found.rounds) == (2.0, None, "undecided", 0)


@pytest.mark.parametrize(
    ("alone", "interferes"), [((2.0, 2.2), False), ((2.11, 2.2), False), ((2.2, 2.3), True), ((0.9, 1.9), True)]
)
def test_targets_that_disturb_each_other_are_undecided(alone: tuple[float, float], interferes: bool) -> None:
    """Interleaved it is 2.1; the margin is 1%."""
    found = compare_rounds([2.1e6] * 8, [1e6] * 8, alone_interval=alone)
    assert found.verdict == ("undecided" if interferes else "faster")
    assert ("interference" in (found.reason or "")) == interferes
    assert found.interval is not None


@pytest.mark.parametrize(
    ("one", "other"), [([], []), ([1e6], []), ([1e6] * 7, [1e6] * 6), ([0] * 6, [1] * 6), ([1] * 6, [0] * 6)]
)
def test_what_cannot_be_compared_is_refused(one: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match=r"a comparison|nothing to compare"):
        compare_rounds(one, other)


CLOCK = ClockLimits(overhead_ns=25.0, step_ns=1.0)


def test_no_interval_is_narrower_than_a_step_of_the_clock() -> None:
    found = compare_all_rounds([[100.0] * 20] * 2, alone=[None], clocks=[ClockLimits(0.0, 10.0)] * 2)[0]
    assert found.interval == pytest.approx((0.9, 1.1))  # half a step of 5% on either side
    assert found.verdict == "undecided"


def test_the_ratio_may_be_that_of_the_calls_without_what_timing_adds() -> None:
    """75 against 50 ns look like 100 against 75."""
    found = compare_all_rounds([[100.0] * 20, [75.0] * 20], alone=[None], clocks=[CLOCK] * 2)[0]
    assert found.ratio == pytest.approx(100 / 75)
    assert found.interval is not None
    assert found.interval[0] < 100 / 75 < 75 / 50 < found.interval[1]
    assert found.verdict == "faster"


def test_of_long_calls_the_clock_takes_nothing_away() -> None:
    rounds = [[1e6] * 20, [1.02e6] * 20]
    with_clock = compare_all_rounds(rounds, alone=[None], clocks=[CLOCK] * 2)[0]
    assert with_clock.interval == pytest.approx((1 / 1.02, 1 / 1.02), rel=1e-5)
    assert with_clock.verdict == "slower"


@pytest.mark.parametrize("times_ns", [(25.0, 100.0), (100.0, 26.0), (10.0, 10.0)])
def test_calls_that_take_no_longer_than_timing_nothing_decide_nothing(times_ns: tuple[float, float]) -> None:
    found = compare_all_rounds([[one] * 20 for one in times_ns], alone=[None], clocks=[CLOCK] * 2)[0]
    assert (found.verdict, found.interval) == ("undecided", None)
    assert "no longer than timing nothing" in (found.reason or "")
