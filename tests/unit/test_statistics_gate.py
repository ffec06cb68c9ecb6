# SPDX-License-Identifier: Apache-2.0
"""The rule of a gate, and what stands beside the ratio of each running alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.alone import alone_hull, apart, middle_of
from pyperf_infer.statistics.gate import gate_clears, gate_fires

RATIOS = st.floats(1e-3, 1e3)
INTERVALS = st.tuples(RATIOS, RATIOS).map(lambda pair: (min(pair), max(pair)))
SHARES = st.floats(0, 10)


@pytest.mark.parametrize(
    ("interval", "fires", "clears"),
    [
        ((0.90, 0.95), True, False),
        ((0.90, 0.9708), True, False),  # 1 / 1.03 = 0.97087
        ((0.90, 0.9709), False, False),
        ((0.9709, 1.2), False, True),
        ((1.1, 1.2), False, True),
        (None, False, False),
    ],
)
def test_a_gate_of_three_percent(interval: tuple[float, float] | None, fires: bool, clears: bool) -> None:
    assert gate_fires(interval, 0.03) is fires
    assert gate_clears(interval, 0.03) is clears


@given(INTERVALS, SHARES)
def test_a_gate_never_says_both_and_says_nothing_only_where_the_limit_is_inside(
    interval: tuple[float, float], share: float
) -> None:
    fires, clears = gate_fires(interval, share), gate_clears(interval, share)
    assert not (fires and clears)
    assert (fires or clears) is not (interval[0] < 1 / (1 + share) <= interval[1])


@given(INTERVALS, SHARES, SHARES)
def test_a_gate_that_fires_fires_with_a_stricter_share_too(
    interval: tuple[float, float], share: float, other: float
) -> None:
    if gate_fires(interval, max(share, other)):
        assert gate_fires(interval, min(share, other))


@pytest.mark.parametrize("share", [-0.01, float("nan")])
def test_a_gate_takes_no_share_that_makes_no_sense(share: float) -> None:
    with pytest.raises(ValueError, match="share of a gate"):
        gate_fires((0.5, 0.6), share)


@given(INTERVALS, INTERVALS)
def test_the_hull_holds_both_and_ends_where_one_of_them_does(
    before: tuple[float, float], after: tuple[float, float]
) -> None:
    low, high = alone_hull(before, after)
    assert all(low <= one[0] <= one[1] <= high for one in (before, after))
    assert low in (before[0], after[0])
    assert high in (before[1], after[1])


@given(INTERVALS, INTERVALS)
def test_intervals_are_apart_exactly_where_they_do_not_touch(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    gap = apart(one, other)
    assert gap == apart(other, one)
    assert (gap == 0) is (one[0] <= other[1] and other[0] <= one[1])


@given(INTERVALS)
def test_the_middle_of_a_ratio_is_that_of_the_inverse_too(interval: tuple[float, float]) -> None:
    inverse = (1 / interval[1], 1 / interval[0])
    assert middle_of(interval) * middle_of(inverse) == pytest.approx(1)
    assert interval[0] <= middle_of(interval) * (1 + 1e-12)
    assert middle_of(interval) <= interval[1] * (1 + 1e-12)
