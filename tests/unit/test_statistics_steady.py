# SPDX-License-Identifier: Apache-2.0
"""Whether samples keep their level, from when on, and how many calls the warm-up took."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_samples import STEADY, normal, to_ns
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.statistics.steady import FEWEST, end_of_warmup, examine

NEAR = 5
NOT_SAMPLES = [
    np.array([], np.int64),
    np.array([np.nan] * 40),
    np.array([1.0] * 40),
    np.array([-1] * 40),
    np.ones((6, 6), np.int64),
]
NAMES = ["empty", "NaN", "floats", "negative", "2-D"]


def after(values: Any, begin: int, size: float) -> Any:
    values = values.copy()
    values[begin:] += size
    return values


@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("count", [30, 100, 1000])
def test_steady_noise_is_steady(kind: str, count: int) -> None:
    trials = 120 if count < 1000 else 40
    found = [examine(to_ns(STEADY[kind](seed, count))) for seed in range(trials)]
    assert sum(one.status == "never steady" for one in found) <= 0.02 * trials
    assert sum(one.status != "steady" for one in found) <= 0.03 * trials


def test_constant_samples_are_steady_at_their_value() -> None:
    found = examine(np.full(100_000, 42))
    assert (found.status, found.steady_from, found.step) == ("steady", 0, None)
    assert found.levels == ((0, 100_000, 42.0),)


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_few_samples_tell_nothing(count: int) -> None:
    found = examine(np.arange(1, count + 1))
    assert (found.status, found.steady_from, len(found.levels)) == ("too few samples", None, 1)


@pytest.mark.parametrize(("count", "warm"), [(100, 30), (1000, 7), (1000, 700), (30_000, 40)])
def test_the_end_of_a_warm_up_is_the_first_sample_of_the_level_that_lasts(count: int, warm: int) -> None:
    found = examine(to_ns(after(normal(1, count) + 10, warm, -10)))
    assert found.status == "warming up"
    assert found.steady_from is not None
    assert abs(found.steady_from - warm) <= NEAR
    assert found.step == pytest.approx(0.1, abs=0.02)
    assert [level.begin for level in found.levels] == [0, found.steady_from]
    assert sum(level.length for level in found.levels) == count


def test_a_slow_down_has_a_step_below_zero() -> None:
    found = examine(to_ns(after(normal(1, 1000), 400, 10)))
    assert found.status == "warming up"
    assert found.step == pytest.approx(-0.09, abs=0.02)


def test_a_level_that_holds_less_than_a_quarter_does_not_last() -> None:
    late, early = (examine(to_ns(after(normal(2, 1000), begin, 10))) for begin in (800, 700))
    assert (late.status, late.steady_from) == ("never steady", None)
    assert late.step == pytest.approx(0.1, abs=0.02)
    assert early.status == "warming up"


def test_levels_that_come_and_go_are_never_steady() -> None:
    values = normal(3, 2000) + 8 * (np.arange(2000) // 100 % 2)
    found = examine(to_ns(values))
    assert (found.status, found.steady_from) == ("never steady", None)
    assert len(found.levels) == 20


def test_a_ramp_is_never_steady() -> None:
    assert examine(to_ns(normal(4, 2000) + np.linspace(0, 30, 2000))).status == "never steady"


@pytest.mark.parametrize("seed", range(3))
def test_a_walk_at_random_is_never_steady(seed: int) -> None:
    assert examine(to_ns(np.cumsum(normal(seed, 3000)) * 0.3 + 60)).status == "never steady"


def test_a_decay_ends_where_it_is_within_the_noise() -> None:
    found = examine(to_ns(normal(5, 3000) + 50 * np.exp(-np.arange(3000) / 100)))
    assert found.status == "warming up"
    assert found.steady_from is not None
    assert 300 <= found.steady_from <= 600  # where 50 exp(-x / 100) falls below 2.5 and 0.12


@pytest.mark.parametrize("length", [3, 8])
def test_a_short_excursion_is_no_level(length: int) -> None:
    values = normal(6, 1000)
    values[500 : 500 + length] += 30
    found = examine(to_ns(values))
    assert (found.status, found.steady_from) == ("steady", 0)


@pytest.mark.parametrize(("count", "length"), [(100, 5), (200, 10), (1000, 5), (1000, 20), (5000, 100)])
def test_a_short_excursion_at_the_very_end_is_no_level(count: int, length: int) -> None:
    values = normal(6, count)
    values[-length:] += 30
    found = examine(to_ns(values))
    assert (found.status, found.steady_from) == ("steady", 0)
    assert [level.begin for level in found.levels] == [0, count - length]  # it is told all the same
    values[: count // 3] += 10
    found = examine(to_ns(values))
    assert found.status == "warming up"
    assert found.steady_from is not None
    assert abs(found.steady_from - count // 3) <= NEAR


@pytest.mark.parametrize(("count", "length"), [(30, 6), (100, 6), (200, 11), (1000, 21), (5000, 101)])
def test_more_than_an_excursion_at_the_very_end_is_another_level(count: int, length: int) -> None:
    values = normal(6, count)
    values[-length:] += 30
    assert examine(to_ns(values)).status == "never steady"


@pytest.mark.parametrize("size", [-2, 2])
@pytest.mark.parametrize(("count", "change"), [(30, 7), (30, 20), (1000, 5), (1000, 600)])
def test_a_change_between_samples_that_are_all_alike_is_found(count: int, change: int, size: float) -> None:
    found = examine(to_ns(after(np.zeros(count), change, size)))
    assert (found.status, found.steady_from) == ("warming up", change)


def test_the_first_calls_are_no_excursion() -> None:
    values = normal(6, 100)
    values[:5] += 30
    found = examine(to_ns(values))
    assert (found.status, found.steady_from) == ("warming up", 5)


def test_a_long_excursion_is_the_end_of_what_came_before() -> None:
    values = normal(7, 1000)
    values[300:500] += 10
    found = examine(to_ns(values))
    assert found.status == "warming up"
    assert found.steady_from is not None
    assert abs(found.steady_from - 500) <= NEAR


def test_levels_within_the_tolerance_count_as_one() -> None:
    samples = to_ns(after(normal(8, 2000) / 10, 800, 0.5))  # half a percent
    found = examine(samples)
    assert (found.status, found.steady_from, len(found.levels)) == ("steady", 0, 2)
    strict = examine(samples, tolerance=0.001)
    assert strict.status == "warming up"
    assert strict.steady_from is not None
    assert abs(strict.steady_from - 800) <= NEAR


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.integers(2, 10**5), change=st.integers(10, 290), size=st.floats(0, 50))
def test_the_unit_of_time_changes_no_index(seed: int, factor: int, change: int, size: float) -> None:
    samples = to_ns(after(normal(seed, 300) + size, change, -size))
    one, other = examine(samples), examine(factor * samples)
    assert (one.status, one.steady_from) == (other.status, other.steady_from)
    assert [factor * level.median_ns for level in one.levels] == [level.median_ns for level in other.levels]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=200))
def test_levels_cover_all_samples_in_order(times: list[int]) -> None:
    found = examine(np.array(times))
    begin = 0
    for level in found.levels:
        assert (level.begin, level.median_ns) == (
            begin,
            sorted(times[begin : begin + level.length])[(level.length - 1) // 2],
        )
        begin += level.length
    assert begin == len(times)
    assert (found.steady_from is None) == (found.status in ("never steady", "too few samples"))
    assert (found.steady_from == 0) == (found.status == "steady")


@pytest.mark.parametrize("wrong", NOT_SAMPLES, ids=NAMES)
def test_what_are_no_samples_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"samples are|a time is"):
        examine(wrong)
    with pytest.raises(ValueError, match=r"samples are|a time is"):
        end_of_warmup(np.array([], np.int64), wrong)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_tolerance_below_zero_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance"):
        examine(np.arange(40), tolerance=tolerance)


def test_the_warm_up_ended_where_no_change_follows_in_it_or_in_the_samples() -> None:
    warm, samples = to_ns(after(normal(9, 60) + 20, 25, -20)), to_ns(normal(10, 500))
    found = end_of_warmup(warm, samples)
    assert found is not None
    assert abs(found - 25) <= NEAR


def test_a_warm_up_that_went_on_in_the_samples_is_counted_on() -> None:
    warm, samples = to_ns(normal(9, 60) + 20), to_ns(after(normal(10, 500) + 20, 100, -20))
    found = end_of_warmup(warm, samples)
    assert found is not None
    assert abs(found - 160) <= NEAR
    assert end_of_warmup(warm, samples, calls=1060) == found + 1000  # of which the first 60 were kept


def test_calls_that_were_alike_from_the_first_on_took_no_warm_up() -> None:
    assert end_of_warmup(to_ns(normal(11, 60)), to_ns(normal(12, 500))) == 0
    assert end_of_warmup(np.array([], np.int64), to_ns(normal(12, 500))) == 0


def test_a_warm_up_before_samples_that_never_become_steady_has_no_end() -> None:
    assert end_of_warmup(to_ns(normal(11, 60)), to_ns(after(normal(12, 500), 480, 20))) is None
    assert end_of_warmup(np.array([5, 4]), np.array([3])) is None


def test_a_warm_up_with_more_samples_than_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="5 calls cannot have 60 samples"):
        end_of_warmup(to_ns(normal(11, 60)), to_ns(normal(12, 500)), calls=5)
