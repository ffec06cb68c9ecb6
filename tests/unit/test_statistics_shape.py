# SPDX-License-Identifier: Apache-2.0
"""Drift, two modes and what comes back in time are found where they are, and not in noise of whatever kind."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from drawn_samples import BASE_NS, STEADY, normal, to_ns, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.statistics.dip import dip
from pyperf_infer.statistics.periodic import periodic
from pyperf_infer.statistics.shape import drift, two_modes

MS = 1_000_000


def ticking(seed: int, count: int, *, call_ns: float, noise: float, tick_ms: float, tick_costs_ns: float) -> Any:
    """Calls in a row, of which each that a tick comes into takes longer by what it costs."""
    times = call_ns * (1 + noise * normal(seed, count))
    now, tick = uniform(seed, 1)[0] * tick_ms * MS, tick_ms * MS
    for place in range(count):
        ticks = (now + times[place]) // tick - now // tick
        times[place] += ticks * tick_costs_ns
        now += times[place]
    return np.round(times).astype(np.int64)


@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("count", [30, 100, 1000])
def test_nothing_is_found_in_steady_noise(kind: str, count: int) -> None:
    trials = 150 if count < 1000 else 50
    drawn = [to_ns(STEADY[kind](seed, count)) for seed in range(trials)]
    assert sum(drift(one) is not None for one in drawn) <= 0.02 * trials
    assert sum(periodic(one) is not None for one in drawn) <= 0.02 * trials
    if kind != "two modes":
        assert sum(two_modes(one) is not None for one in drawn) <= 0.02 * trials


@pytest.mark.parametrize("kind", [kind for kind in STEADY if kind != "two modes"])
def test_nothing_is_found_in_many_samples_of_steady_noise(kind: str) -> None:
    samples = to_ns(STEADY[kind](5, 50_000))
    assert (drift(samples), two_modes(samples), periodic(samples)) == (None, None, None)


@pytest.mark.parametrize("count", [100, 1000, 50_000])
@pytest.mark.parametrize("size", [0.05, -0.05])
def test_a_drift_is_found_with_its_size_and_direction(count: int, size: float) -> None:
    found = drift(to_ns(normal(1, count) + np.linspace(0, 100 * size, count)))
    assert found == pytest.approx(size, rel=0.25)


def test_a_drift_within_the_tolerance_does_not_matter() -> None:
    samples = to_ns(normal(2, 10_000) + np.linspace(0, 0.8, 10_000))
    assert drift(samples) is None
    assert drift(samples, tolerance=0.005) == pytest.approx(0.008, rel=0.2)


@pytest.mark.parametrize(("count", "share"), [(200, 0.5), (1000, 0.2), (1000, 0.8), (50_000, 0.2)])
def test_two_modes_are_found_with_their_medians_and_shares(count: int, share: float) -> None:
    found = two_modes(to_ns(normal(3, count) + 12 * (uniform(3, count) < share)))
    assert found is not None
    assert found.fast_ns == pytest.approx(BASE_NS, rel=0.005)
    assert found.slow_ns == pytest.approx(1.12 * BASE_NS, rel=0.005)
    assert found.slow_share == pytest.approx(share, abs=0.05)


def test_modes_that_are_as_near_as_the_clock_can_tell_are_one() -> None:
    two_steps = 1000 * (100 + (uniform(4, 1000) < 0.5)).astype(np.int64)
    assert two_modes(two_steps) is None
    assert two_modes(two_steps, clock_step_ns=1) is None  # they show the clock's step themselves
    apart = two_steps + 4000 * (two_steps > 100_500)
    assert two_modes(apart + np.arange(1000) % 2 * 1000) is not None
    assert two_modes(apart + np.arange(1000) % 2 * 1000, clock_step_ns=5000) is None


def test_some_outliers_are_no_mode() -> None:
    assert two_modes(to_ns(normal(5, 5000) + 50 * (uniform(5, 5000) < 0.05))) is None


@pytest.mark.parametrize("tick_ms", [10.0, 4.0, 1000 / 300, 1.0])
def test_a_timer_tick_that_hits_some_calls_is_found_with_its_period(tick_ms: float) -> None:
    samples = ticking(6, 5000, call_ns=tick_ms * MS / 4.3, noise=0.01, tick_ms=tick_ms, tick_costs_ns=tick_ms * MS / 40)
    found = periodic(samples)
    assert found is not None
    assert found.period_ns == pytest.approx(tick_ms * MS, rel=0.005)
    assert found.swing == pytest.approx(0.1, abs=0.04)


def test_a_tick_that_hits_one_call_in_hundreds_is_found() -> None:
    samples = ticking(7, 60_000, call_ns=20_000, noise=0.01, tick_ms=4, tick_costs_ns=20_000)
    found = periodic(samples, tolerance=0.001)
    assert found is not None
    assert found.period_ns == pytest.approx(4 * MS, rel=0.005)


def test_a_slow_swing_is_found_with_its_period() -> None:
    times = BASE_NS * (1 + 0.01 * normal(8, 4000) + 0.03 * np.sin(2 * np.pi * np.arange(4000) / 100))
    found = periodic(times.astype(np.int64))
    assert found is not None
    assert found.period_ns == pytest.approx(100 * BASE_NS, rel=0.01)
    assert found.swing == pytest.approx(0.055, abs=0.015)


def test_the_time_between_samples_stretches_the_period() -> None:
    samples = ticking(9, 3000, call_ns=MS, noise=0.01, tick_ms=4, tick_costs_ns=100_000)
    found = periodic(samples, duration_ns=int(1.1 * samples.sum()))
    assert found is not None
    assert found.period_ns == pytest.approx(4.4 * MS, rel=0.005)


@pytest.mark.parametrize("call_ms", [2, 5])
def test_calls_that_take_twice_as_long_from_some_time_on_have_no_period(call_ms: int) -> None:
    for seed in range(20):
        slower = np.where(np.arange(2000) < 1600, 1, 2)
        samples = (call_ms * MS * slower * (1 + 0.01 * normal(seed, 2000))).astype(np.int64)
        assert periodic(samples) is None


def test_outliers_at_random_times_have_no_period() -> None:
    assert periodic(to_ns(normal(10, 20_000) + 50 * (uniform(10, 20_000) < 0.01)), tolerance=0) is None


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.integers(2, 1000), shape=st.sampled_from(["drift", "modes", "period"]))
def test_the_unit_of_time_changes_no_finding(seed: int, factor: int, shape: str) -> None:
    more = {
        "drift": np.linspace(0, 5, 400),
        "modes": 12 * (uniform(seed, 400) < 0.4),
        "period": 5 * (np.arange(400) % 4 == 0),
    }
    samples = to_ns(normal(seed, 400) + more[shape])
    size, modes, period = drift(samples), two_modes(samples), periodic(samples)
    assert drift(factor * samples) == pytest.approx(size)
    assert (two_modes(factor * samples) is None) == (modes is None)
    scaled = periodic(factor * samples)
    assert (scaled is None) == (period is None)
    if period is not None and scaled is not None:
        assert scaled.period_ns == pytest.approx(factor * period.period_ns)
        assert scaled.swing == pytest.approx(period.swing)


@pytest.mark.parametrize(
    "samples",
    [np.array([7]), np.array([7, 8]), np.zeros(500, np.int64), np.full(500, 9), np.arange(29)],
    ids=["one", "two", "zeros", "constant", "few"],
)
def test_samples_that_cannot_tell_have_no_shape(samples: Any) -> None:
    assert (drift(samples), two_modes(samples), periodic(samples)) == (None, None, None)


@pytest.mark.parametrize("find", [drift, two_modes, periodic])
@pytest.mark.parametrize(
    "wrong",
    [np.array([], np.int64), np.array([np.nan] * 60), np.array([-1] * 60), np.ones((60, 2), np.int64)],
    ids=["empty", "NaN", "negative", "2-D"],
)
def test_what_are_no_samples_is_refused(find: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"samples are|a time is"):
        find(wrong)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=4, max_size=12, unique=True))
def test_the_dip_is_that_of_the_nearest_distribution_with_one_mode(places: list[int]) -> None:
    """Against the definition: for each modal interval, half of how far the hulls on its sides lie from the steps."""
    ordered = np.sort(np.array(places, np.float64))
    assert dip(ordered) == pytest.approx(_dip_by_definition(ordered), abs=1e-6)


def _dip_by_definition(ordered: Any) -> float:
    """The least d for which some distribution that is convex up to a sample and concave behind is within d of the
    steps. Whether one is: the convex hull of what is allowed at most has to stay above what is needed at least."""
    from scipy.optimize import linprog

    count = ordered.size
    gaps = np.diff(ordered)
    best = 1.0
    for mode in range(count):
        # Unknown: the value left of and at each sample (a jump is allowed at the mode only), and d.
        left, right = np.arange(count), np.arange(count) + count
        rows: list[Any] = []
        bounds: list[float] = []

        def at_most(
            terms: dict[int, float], bound: float, rows: list[Any] = rows, bounds: list[float] = bounds
        ) -> None:
            row = np.zeros(2 * count + 1)
            for place, factor in terms.items():
                row[place] += factor
            rows.append(row)
            bounds.append(bound)

        d = 2 * count
        for place in range(count):
            at_most({int(left[place]): 1, d: -1}, place / count)
            at_most({int(left[place]): -1, d: -1}, -place / count)
            at_most({int(right[place]): 1, d: -1}, (place + 1) / count)
            at_most({int(right[place]): -1, d: -1}, -(place + 1) / count)
            at_most({int(left[place]): 1, int(right[place]): -1}, 0)
            if place != mode:
                at_most({int(right[place]): 1, int(left[place]): -1}, 0)
        slopes = [{int(left[i + 1]): 1 / gaps[i], int(right[i]): -1 / gaps[i]} for i in range(count - 1)]
        for number, (one, following) in enumerate(itertools.pairwise(slopes)):
            if number + 1 == mode:
                continue
            sign = 1 if number + 1 < mode else -1
            at_most(_sum(one, following, sign), 0)
        for slope in slopes:
            at_most({place: -factor for place, factor in slope.items()}, 0)
        cost = np.zeros(2 * count + 1)
        cost[d] = 1
        solved = linprog(cost, A_ub=np.array(rows), b_ub=np.array(bounds), bounds=[(0, 1)] * (2 * count) + [(0, 1)])
        if solved.success:
            best = min(best, float(solved.fun))
    return best


def _sum(one: dict[int, float], following: dict[int, float], sign: int) -> dict[int, float]:
    """sign * (one - following), as the factors of what is unknown."""
    total: dict[int, float] = {}
    for terms, factor in ((one, sign), (following, -sign)):
        for place, value in terms.items():
            total[place] = total.get(place, 0.0) + factor * value
    return total
