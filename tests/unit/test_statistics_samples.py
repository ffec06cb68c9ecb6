# SPDX-License-Identifier: Apache-2.0
"""What is not samples is refused with what is wrong; what is little is answered as far as it goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyperf_infer.statistics.estimate import estimate
from pyperf_infer.statistics.samples import as_samples, order_statistic


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.array([], np.int64), "non-empty.*shape 0 "),
        ([], "non-empty"),
        (np.zeros((3, 2), np.int64), "one-dimensional.*shape 3x2 "),
        (np.array(3), "one-dimensional.*shape scalar"),
        (np.array([1.0, 2.0]), "integer nanoseconds.*type float64"),
        (np.array([1.0, np.nan]), "integer nanoseconds"),
        (np.array([1, None]), "integer nanoseconds.*type object"),
        (np.array([True, False]), "integer nanoseconds.*type bool"),
        (np.array(["5"]), "integer nanoseconds"),
        (np.array([5, -3, 2]), "0 or more, and sample 1 is -3 ns"),
        (np.array([5, 2**63 + 1], np.uint64), f"sample 1 is {2**63 + 1} ns"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_are_no_samples_is_refused(given: Any, said: str) -> None:
    for ask in (as_samples, estimate):
        with pytest.raises(ValueError, match=said):
            ask(given)


def test_samples_are_not_copied_where_they_need_not_be() -> None:
    samples = np.array([3, 1, 2], np.int64)
    assert as_samples(samples) is samples
    assert as_samples(np.array([3, 1], np.uint8)).dtype == np.int64
    estimate(samples)
    assert samples.tolist() == [3, 1, 2]


def test_one_sample_has_a_value_and_nothing_that_takes_two() -> None:
    found = estimate(np.array([1000], np.int64))
    assert (found.count, found.p50_ns, found.mean_ns, found.effective_count) == (1, 1000, 1000, 1)
    assert found.stddev_ns is None
    assert found.p50_interval_ns is None
    assert found.autocorrelation_lag1 is None
    assert found.outliers == 0
    assert [one.refused for one in found.percentiles] == [
        "1 of 36 samples",
        "1 of 72 samples",
        "1 of 368 samples",
    ]


def test_constant_samples_have_an_interval_of_a_step_and_no_autocorrelation() -> None:
    found = estimate(np.full(500, 1000, np.int64), clock_step_ns=10)
    assert found.stddev_ns == 0
    assert found.p50_interval_ns == (995, 1005)
    assert found.autocorrelation_lag1 is None
    assert found.effective_count == 500
    assert found.outliers == 0
    assert all(one.interval_ns == (995, 1005) for one in found.percentiles)


@pytest.mark.parametrize(("percent", "rank"), [(1, 1), (25, 3), (50, 5), (90, 9), (91, 10), (100, 10)])
def test_an_order_statistic_is_of_the_rank_that_the_share_reaches(percent: float, rank: int) -> None:
    assert order_statistic(np.arange(1, 11, dtype=np.int64), percent) == rank
