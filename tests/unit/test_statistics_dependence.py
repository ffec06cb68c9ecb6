# SPDX-License-Identifier: Apache-2.0
"""How many independent samples dependent ones are worth, and what that does to intervals and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.dependence import dependence_at, effective_count
from pyperf_infer.statistics.estimate import TELLING_DEPENDENCE, Nanoseconds, estimate

SAMPLES = st.lists(st.integers(0, 2**40), min_size=1, max_size=120).map(lambda list_: np.array(list_, np.int64))


def _autoregressive(coefficient: float, count: int, seed: int) -> Nanoseconds:
    generator = np.random.default_rng(seed)
    fresh = generator.standard_normal(count) * math.sqrt(1 - coefficient**2)
    values = np.empty(count)
    state = generator.standard_normal()
    for at in range(count):
        state = coefficient * state + fresh[at]
        values[at] = state
    return np.rint(1e6 * (1 + 0.05 * values)).astype(np.int64)


def _true_dependence(coefficient: float) -> float:
    """Of the median of a normal AR(1): the sum over all lags of the indicator's correlation, 2/pi asin(a^k)."""
    return 1 + 2 * sum(2 / math.pi * math.asin(coefficient**lag) for lag in range(1, 500))


@given(SAMPLES)
def test_the_effective_count_is_above_0_and_no_more_than_the_samples(samples: Nanoseconds) -> None:
    found = estimate(samples)
    assert 0 < found.effective_count <= found.count
    assert found.effective_count == effective_count(found.count, found.dependence)
    for one in found.percentiles:
        assert one.effective_count is not None
        assert 0 < one.effective_count <= found.count


@given(SAMPLES, st.integers(1, 1000), st.integers(0, 2**20))
def test_neither_unit_nor_offset_makes_samples_dependent(samples: Nanoseconds, scale: int, offset: int) -> None:
    expected = estimate(samples).effective_count
    assert estimate(samples * scale).effective_count == expected
    assert estimate(samples + offset).effective_count == expected


def test_another_order_of_time_changes_the_effective_count_and_no_quantile() -> None:
    """Samples have no clock of their own: their order is the order in which they were taken, and only that tells."""
    tied = _autoregressive(0.9, 2000, seed=1)
    free = np.random.default_rng(2).permutation(tied)
    before, after = estimate(tied), estimate(free)
    assert before.effective_count < 400 < after.effective_count
    assert before.p50_ns == after.p50_ns
    assert before.outlier_classes == after.outlier_classes
    assert [one.value_ns for one in before.percentiles[:1]] == [one.value_ns for one in after.percentiles[:1]]


@pytest.mark.parametrize("coefficient", [0.3, 0.5, 0.8, 0.9])
def test_the_dependence_of_ar1_is_about_what_theory_says(coefficient: float) -> None:
    """The mean of twelve series of 10,000: each one alone is some 10% off."""
    found = []
    for seed in range(12):
        samples = _autoregressive(coefficient, 10_000, seed)
        found.append(dependence_at(samples, int(np.median(samples))))
    assert np.mean(found) == pytest.approx(_true_dependence(coefficient), rel=0.15)


def test_independent_samples_are_worth_themselves_nearly_always() -> None:
    generator = np.random.default_rng(3)
    worth = [estimate(generator.integers(10**6, 2 * 10**6, 1000)).effective_count for _ in range(200)]
    assert np.mean(np.array(worth) == 1000) >= 0.75
    assert np.mean(worth) >= 950


def test_samples_that_alternate_are_not_worth_more_than_they_are() -> None:
    assert estimate(np.array([1000, 2000] * 200, np.int64)).effective_count == 400


def test_a_tail_is_refused_by_the_dependence_that_the_middle_shows() -> None:
    """Two levels in long turns, and in the tail ten samples that are spread evenly: nothing of them depends."""
    samples = np.repeat(np.array([1000, 1100] * 10, np.int64), 50) + np.arange(1000) % 7
    samples[50::100] = 5000
    found = estimate(samples, percentiles=(99.5,), confidence=0.9)
    assert found.dependence > TELLING_DEPENDENCE
    (tail,) = found.percentiles
    assert (tail.refused or "").startswith("dependent: ")
    assert tail.effective_count is not None
    shuffled = estimate(np.random.default_rng(4).permutation(samples), percentiles=(99.5,), confidence=0.9)
    assert shuffled.percentiles[0].refused is None
