# SPDX-License-Identifier: Apache-2.0
"""Changes of level are found where they are, and none is found in noise of whatever kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_samples import STEADY, autoregressive, normal, to_ns
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.statistics.change_points import change_points, normal_scores

NEAR = 5


def stepped(seed: int, count: int, steps: dict[int, float]) -> Any:
    """Normal noise of one standard deviation; from each index on, the level is higher by so many of them."""
    values = normal(seed, count)
    for change, size in steps.items():
        values[change:] += size
    return to_ns(values)


def found_near(change: int, found: list[int]) -> bool:
    return any(abs(index - change) <= NEAR for index in found)


@pytest.mark.parametrize(("count", "sigma"), [(100, 2), (300, -2), (1000, 2), (1000, -3), (20_000, 2), (20_000, -5)])
def test_a_step_is_found_within_five_samples(count: int, sigma: float) -> None:
    trials = 100 if count <= 1000 else 20
    changes = np.random.default_rng(count).integers(20, count - 20, trials).tolist()
    hits = sum(
        found_near(change, change_points(stepped(seed, count, {change: sigma}))) for seed, change in enumerate(changes)
    )
    assert hits >= 0.95 * trials


def test_a_step_in_a_million_samples_is_found_where_it_is() -> None:
    (found,) = change_points(stepped(1, 1_000_000, {654_321: 2.0}))
    assert abs(found - 654_321) <= NEAR


def test_a_short_warm_up_before_many_samples_is_found_with_each_of_its_levels() -> None:
    for seed in range(5):
        found = change_points(stepped(seed, 100_000, {30: -3.0, 70: -5.0, 110: -3.0}))
        assert [found_near(change, found) for change in (30, 70, 110)] == [True, True, True]
        assert len(found) == 3


def test_a_small_step_in_the_first_of_many_samples_is_found() -> None:
    """Where blocks of samples are longer than the warm-up, and their means hardly move."""
    found = [change_points(stepped(seed, 100_000, {8: -3.5})) for seed in range(8)]
    assert sum(found_near(8, one) for one in found) >= 6


def test_five_first_samples_that_are_far_off_are_found_among_few() -> None:
    """By their ranks alone they could be dependent ones."""
    for seed in range(40):
        assert change_points(stepped(seed, 100, {5: -30.0}))[0] == 5


def test_a_small_step_beside_a_far_level_is_found() -> None:
    found = change_points(stepped(3, 2000, {100: -80.0, 900: 3.0}))
    assert [found_near(change, found) for change in (100, 900)] == [True, True]


def test_a_step_in_dependent_samples_is_found() -> None:
    values = autoregressive(4, 3000, 0.8)
    values[1200:] += 4
    (found,) = change_points(to_ns(values))
    assert abs(found - 1200) <= 20  # dependent samples tell the place less exactly


@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("count", [30, 100, 1000])
def test_hardly_any_change_is_found_in_steady_noise(kind: str, count: int) -> None:
    trials = 150 if count < 1000 else 60
    false = sum(bool(change_points(to_ns(STEADY[kind](seed, count)))) for seed in range(trials))
    assert false <= 0.03 * trials


@pytest.mark.parametrize("kind", STEADY)
def test_no_change_is_found_in_many_samples_of_steady_noise(kind: str) -> None:
    assert change_points(to_ns(STEADY[kind](7, 30_000))) == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.integers(2, 10**6), change=st.integers(20, 180), size=st.floats(-8, 8))
def test_the_unit_of_time_changes_nothing(seed: int, factor: int, change: int, size: float) -> None:
    samples = stepped(seed, 200, {change: size})
    assert change_points(samples) == change_points(factor * samples) == change_points(samples + 12_345)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.floats(3, 1e6))
def test_the_order_of_samples_is_what_counts(seed: int, size: float) -> None:
    """The samples on both sides of a step, shuffled among each other, have none."""
    samples = stepped(seed, 300, {150: size})
    assert found_near(150, change_points(samples))
    assert not found_near(150, change_points(np.random.default_rng(seed).permutation(samples)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), more=st.integers(0, 400))
def test_more_samples_of_the_last_level_leave_a_change_where_it_was(seed: int, more: int) -> None:
    assert found_near(60, change_points(stepped(seed, 200 + more, {60: 5.0})))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**50), min_size=1, max_size=120), st.integers(2, 20))
def test_indices_are_in_order_inside_and_a_level_apart(times: list[int], shortest: int) -> None:
    found = change_points(np.array(times, np.int64), shortest=shortest)
    edges = [0, *found, len(times)]
    assert not found or min(np.diff(edges)) >= shortest
    assert all(type(index) is int for index in found)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 30])
def test_few_or_constant_samples_have_no_change(count: int) -> None:
    assert change_points(np.full(count, 7)) == []
    assert change_points(np.arange(count)[:9]) == []


@pytest.mark.parametrize("outliers", [1, 2, 3, 4])
def test_a_few_outliers_in_a_row_are_no_level(outliers: int) -> None:
    samples = stepped(11, 400, {})
    samples[200 : 200 + outliers] *= 50
    assert change_points(samples) == []


def test_two_steps_of_a_clock_are_enough_to_see_a_change() -> None:
    values = np.where(np.arange(200) < 90, 1000, 2000)
    assert change_points(values) == [90]


@pytest.mark.parametrize("kind", ["int32", "uint64", "int16"])
def test_integers_of_any_width_will_do(kind: str) -> None:
    assert change_points(np.repeat([100, 200], 50).astype(kind)) == [50]


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([], np.int64),
        np.array([1.5, 2.5] * 20),
        np.array([np.nan] * 40),
        np.array([1, -2] * 20),
        np.ones((20, 2), np.int64),
        np.int64(3),
        np.array([True] * 40),
        np.array(["1"] * 40),
    ],
    ids=["empty", "floats", "NaN", "negative", "2-D", "a number", "truths", "texts"],
)
def test_what_are_no_samples_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"samples are|a time is"):
        change_points(wrong)


def test_a_level_of_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        change_points(np.arange(30), shortest=1)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=200))
def test_scores_are_in_the_order_of_the_times(times: list[int]) -> None:
    scores = normal_scores(np.array(times))
    by_score = np.array(times)[np.argsort(scores)]
    assert (np.diff(by_score) >= 0).all()
    assert abs(scores.sum()) < 1e-9 * len(times)
    assert len(set(scores.tolist())) == len(times)
