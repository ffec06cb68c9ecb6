# SPDX-License-Identifier: Apache-2.0
"""Variance between and within processes, and where the processes' medians lie."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyperf_infer.statistics.processes import VarianceSplit, location_of, split_variance

TIMES = st.lists(st.integers(1, 10**9), min_size=1, max_size=12)
GROUPS = st.lists(TIMES, min_size=1, max_size=6)


def arrays(groups: list[list[int]]) -> list[np.ndarray]:
    return [np.array(one, dtype=np.int64) for one in groups]


def assert_close(one: VarianceSplit, other: VarianceSplit) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-7)


def processes(
    rng: np.random.Generator, between: float, within: float, counts: list[int], centre_ns: float = 5e6
) -> list[np.ndarray]:
    """Log-normal samples of known components: each process has a level of its own."""
    return [
        np.rint(centre_ns * np.exp(rng.normal(0, between) + rng.normal(0, within, count))).astype(np.int64)
        for count in counts
    ]


@pytest.mark.parametrize(("between", "within"), [(0.02, 0.05), (0.05, 0.02), (0.01, 0.01)])
def test_known_components_are_recovered_on_average(between: float, within: float) -> None:
    """Unequal numbers of samples; the mean of the variances over many runs is the true one to a few percent."""
    rng = np.random.default_rng(7)
    found = [split_variance(processes(rng, between, within, [40, 10, 25, 80, 33, 12, 20, 60])) for _ in range(400)]
    variances = [one.relative_sd_between**2 for one in found if one.relative_sd_between is not None]
    assert statistics.fmean(variances) == pytest.approx(between**2, rel=0.1)
    assert statistics.fmean(one.relative_sd_within or 0 for one in found) == pytest.approx(within, rel=0.02)


def test_without_a_difference_between_processes_nothing_lies_between() -> None:
    rng = np.random.default_rng(3)
    found = [split_variance(processes(rng, 0.0, 0.1, [200] * 5)) for _ in range(100)]
    shares = [one.share_between for one in found]
    assert all(share is not None and share < 0.05 for share in shares)
    assert shares.count(0.0) > 40  # the estimate of a variance that is not there is below 0 half of the time


def test_a_hand_calculation_with_unequal_counts() -> None:
    """Logs (0, 2), (3, 5, 7): MSW = (2 + 8) / 3, MSB = 2 * 2.4^2 + 3 * 1.6^2, n0 = 5 - 13 / 5."""
    units = 1e6
    groups = [[units * math.exp(one) for one in logs] for logs in ((0, 2), (3, 5, 7))]
    split = split_variance([np.rint(one).astype(np.int64) for one in groups])
    within, between_square, typical = 10 / 3, 2 * 2.4**2 + 3 * 1.6**2, 5 - 13 / 5
    between = (between_square - within) / typical
    assert split.relative_sd_within == pytest.approx(math.sqrt(within), rel=1e-5)
    assert split.relative_sd_between == pytest.approx(math.sqrt(between), rel=1e-5)
    assert split.share_between == pytest.approx(between / (between + within), rel=1e-5)


@given(GROUPS, st.integers(2, 1000))
def test_the_unit_of_time_does_not_matter(groups: list[list[int]], factor: int) -> None:
    assert_close(split_variance(arrays(groups)), split_variance([one * factor for one in arrays(groups)]))


@given(GROUPS, st.randoms(use_true_random=False))
def test_neither_does_the_order_of_processes_or_samples(groups: list[list[int]], random: object) -> None:
    shuffled = [random.sample(one, len(one)) for one in groups]  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert_close(split_variance(arrays(groups)), split_variance(arrays(shuffled)))


@given(GROUPS)
def test_what_is_not_known_is_none_and_what_is_known_is_possible(groups: list[list[int]]) -> None:
    split = split_variance(arrays(groups))
    several = sum(map(len, groups)) > len(groups)
    assert (split.relative_sd_within is not None) == several
    assert (split.relative_sd_between is not None) == (several and len(groups) > 1)
    for one in split:
        assert one is None or (math.isfinite(one) and one >= 0)
    assert split.share_between is None or split.share_between <= 1


def test_samples_that_do_not_vary_have_no_share() -> None:
    assert split_variance(arrays([[5, 5], [5, 5]])) == VarianceSplit(0.0, 0.0, None)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "no processes"),
        ([np.array([1, 2]), np.array([], dtype=np.int64)], "process 2 has no samples"),
        ([np.array([1, 0, 2])], "0 ns"),
        ([np.array([1, 2]), np.array([-4, 2])], "process 2 has a time of -4 ns"),
        ([np.array([1.0, math.nan])], "float64"),
        ([np.array([[1, 2]])], r"int64\(1, 2\)"),
    ],
)
def test_what_are_no_samples_is_refused(groups: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_variance(groups)


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=20), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_interval_is_students_t_of_the_logs(medians: list[float], confidence: float) -> None:
    logs = np.log(medians)
    value, interval = location_of(medians, confidence)
    assert value == pytest.approx(stats.gmean(medians), rel=1e-9)
    half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    if half > 600:
        return  # further apart than numbers reach
    assert interval is not None
    assert math.log(interval[1] / value) == pytest.approx(half, rel=1e-6, abs=1e-9)
    assert interval[0] <= value <= interval[1]
    assert value / interval[0] == pytest.approx(interval[1] / value, rel=1e-6)


def test_its_coverage_is_the_confidence() -> None:
    """5 processes of log-normal levels, 2000 times: the true centre is inside in 95%, within 3 sigma of that."""
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(2000):
        interval = location_of(list(np.exp(rng.normal(0, 0.03, 5)))).interval
        assert interval is not None
        inside += interval[0] <= 1 <= interval[1]
    assert abs(inside / 2000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=9), st.floats(1e-3, 1e3))
def test_a_location_scales_with_the_unit(medians: list[float], factor: float) -> None:
    one, other = location_of(medians), location_of([factor * median for median in medians])
    assert other.value == pytest.approx(factor * one.value, rel=1e-9)
    if one.interval is not None and other.interval is not None:
        assert math.log(other.interval[1] / other.value) == pytest.approx(
            math.log(one.interval[1] / one.value), rel=1e-6, abs=1e-9
        )


def test_one_process_has_no_interval() -> None:
    assert location_of([3.5]) == (3.5, None)


def test_equal_medians_are_their_own_mean() -> None:
    assert location_of([0.1] * 3) == (0.1, (0.1, 0.1))


def test_medians_too_far_apart_for_numbers_have_no_interval() -> None:
    value, interval = location_of([1e-300, 1e300])
    assert value == pytest.approx(1.0)
    assert interval is None


def test_arrays_are_as_good_as_lists() -> None:
    assert location_of(np.array([1.0, 2.0, 3.0])) == location_of([1.0, 2.0, 3.0])


@pytest.mark.parametrize("medians", [[], [1.0, 0.0], [1.0, -2.0], [math.nan], [math.inf, 1.0]])
def test_what_are_no_medians_is_refused(medians: list[float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|none"):
        location_of(medians)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        location_of([1.0, 2.0], confidence)
