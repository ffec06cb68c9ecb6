# SPDX-License-Identifier: Apache-2.0
"""Quantiles, their intervals and their refusal, outliers and dependence, against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer import _core
from pyperf_infer.statistics.dependence import autocorrelation_lag1
from pyperf_infer.statistics.estimate import Nanoseconds, estimate, samples_needed

SAMPLES = st.lists(st.integers(0, 2**40), min_size=1, max_size=400).map(lambda list_: np.array(list_, np.int64))
PERCENTS = st.floats(1, 99.9)


def _shuffled(count: int) -> Nanoseconds:
    """Independent ones, as far as anybody can tell."""
    return np.random.default_rng(1).permutation(np.arange(1000, 1000 + count, dtype=np.int64))


def _of_rank(ordered: list[int], percent: float) -> int:
    return ordered[max(1, math.ceil(len(ordered) * percent / 100 - 1e-9)) - 1]


@given(SAMPLES, PERCENTS)
def test_a_quantile_is_an_order_statistic_inside_its_interval(samples: Nanoseconds, percent: float) -> None:
    found = estimate(samples, percentiles=(percent,))
    ordered = sorted(samples.tolist())
    assert found.p50_ns == _of_rank(ordered, 50)
    if found.p50_interval_ns is not None:
        low, high = found.p50_interval_ns
        assert low <= found.p50_ns <= high
        assert {low, high} <= {value + shift for value in ordered for shift in (0, 0.5, -0.5)}
    for one in found.percentiles:
        assert (one.value_ns is None) == (one.interval_ns is None) == (one.refused is not None)
        if one.value_ns is not None and one.interval_ns is not None:
            assert one.value_ns in ordered
            assert one.interval_ns[0] <= one.value_ns <= one.interval_ns[1]


@given(SAMPLES)
def test_the_plain_numbers_are_numpys(samples: Nanoseconds) -> None:
    found = estimate(samples)
    assert (found.count, found.min_ns, found.max_ns) == (samples.size, samples.min(), samples.max())
    assert found.mean_ns == pytest.approx(float(np.mean(samples)))
    if samples.size > 1:
        assert found.stddev_ns == pytest.approx(float(np.std(samples, ddof=1)))
    else:
        assert found.stddev_ns is None
    assert found.dependence >= 1


@pytest.mark.parametrize(("percent", "needed"), [(50, 6), (90, 36), (10, 36), (95, 72), (99, 368), (99.9, 3688)])
def test_percentiles_need_as_many_samples_as_the_binomial_says(percent: float, needed: int) -> None:
    assert samples_needed(percent) == needed
    (short,) = estimate(_shuffled(needed - 1), percentiles=(percent,)).percentiles or (None,)
    (enough,) = estimate(_shuffled(needed), percentiles=(percent,)).percentiles or (None,)
    if percent == 50:
        assert short is None  # stands for itself, see below
        assert estimate(_shuffled(needed - 1)).p50_interval_ns is None
        assert estimate(_shuffled(needed)).p50_interval_ns is not None
        return
    assert short is not None
    assert enough is not None
    assert short.refused == f"{needed - 1} of {needed} samples"
    assert enough.refused is None


@given(PERCENTS, st.floats(0.5, 0.999))
def test_the_number_of_samples_needed_is_the_least(percent: float, confidence: float) -> None:
    needed = samples_needed(percent, confidence)
    assert _core.quantile_ranks(needed, percent / 100, confidence) is not None
    assert needed == 1 or _core.quantile_ranks(needed - 1, percent / 100, confidence) is None


def test_dependent_samples_have_wider_intervals_and_may_be_refused() -> None:
    """The same values, once in the order of a slow drift and once shuffled."""
    drift = np.arange(1000, 1400, dtype=np.int64)
    shuffled = np.random.default_rng(2).permutation(drift)
    tied, free = estimate(drift, percentiles=(99,)), estimate(shuffled, percentiles=(99,))
    assert tied.dependence > 5 > free.dependence
    assert free.p50_interval_ns is not None
    if tied.p50_interval_ns is not None:
        assert np.ptp(tied.p50_interval_ns) > np.ptp(free.p50_interval_ns)
    assert free.percentiles[0].refused is None
    assert (tied.percentiles[0].refused or "").startswith("dependent: ")
    assert (tied.percentiles[0].refused or "").endswith(" of 368 samples")


def test_no_interval_is_narrower_than_a_step_of_the_clock() -> None:
    found = estimate(np.full(50, 1000, np.int64), clock_step_ns=100)
    assert found.p50_interval_ns == (950, 1050)
    assert estimate(np.full(50, 10, np.int64), clock_step_ns=100).p50_interval_ns == (0, 60)


@given(SAMPLES)
def test_autocorrelation_is_that_of_neighbours(samples: Nanoseconds) -> None:
    found = autocorrelation_lag1(samples)
    if samples.size < 3 or np.ptp(samples) == 0:
        assert found is None
        return
    centred = [value - float(samples.mean()) for value in samples.tolist()]
    pairs = sum(a * b for a, b in itertools.pairwise(centred))
    assert found == pytest.approx(pairs / sum(value**2 for value in centred), abs=1e-9)
    assert -1 <= found <= 1


@pytest.mark.parametrize(("percent", "confidence"), [(0, 0.95), (100, 0.95), (50, 0), (50, 1), (float("nan"), 0.95)])
def test_the_ends_of_the_percentiles_take_no_number_of_samples(percent: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between"):
        samples_needed(percent, confidence)


@pytest.mark.parametrize(
    "samples", [np.array([], np.int64), np.zeros((2, 2), np.int64), np.array([1.0, 2.0]), np.array(3)]
)
def test_what_are_no_samples_is_refused(samples: Nanoseconds) -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        estimate(samples)
