# SPDX-License-Identifier: Apache-2.0
"""How much longer one target takes: differences within rounds, their intervals, and what those say of a margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.difference import difference_of_rounds, size_of_share

TIMES = st.floats(1.0, 1e9)
ROUNDS = st.lists(st.tuples(TIMES, TIMES), min_size=6, max_size=40)
ENDS = st.tuples(st.floats(-2, 1), st.floats(-2, 1)).map(lambda ends: (min(ends), max(ends)))


def _split(rounds: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [one for one, _ in rounds], [other for _, other in rounds]


@given(ROUNDS)
def test_value_and_ends_are_differences_of_a_round_each(rounds: list[tuple[float, float]]) -> None:
    found = difference_of_rounds(*_split(rounds))
    assert found.rounds == len(rounds)
    assert found.interval_ns is not None
    assert found.share_interval is not None
    differences = {one - other for one, other in rounds}
    assert {found.difference_ns, *found.interval_ns} <= differences
    assert found.interval_ns[0] <= found.difference_ns <= found.interval_ns[1]
    assert {found.share, *found.share_interval} <= {(one - other) / one for one, other in rounds}
    assert found.share_interval[0] <= found.share <= found.share_interval[1]
    assert found.share < 1


@given(ROUNDS, st.floats(0.5, 2.0))
def test_what_all_paths_of_a_round_share_leaves_the_share_as_it_is(
    rounds: list[tuple[float, float]], factor: float
) -> None:
    """A clock that changes from round to round, as long as it is the same within one."""
    drifting = [(one * factor**index, other * factor**index) for index, (one, other) in enumerate(rounds[:8])]
    plain, drifted = difference_of_rounds(*_split(rounds[:8])), difference_of_rounds(*_split(drifting))
    assert drifted.share == pytest.approx(plain.share, rel=1e-9, abs=1e-9)
    assert drifted.share_interval == pytest.approx(plain.share_interval, rel=1e-9, abs=1e-9)


def test_a_known_case() -> None:
    found = difference_of_rounds([110.0, 112.0, 108.0, 111.0, 109.0, 110.0], [100.0] * 6)
    assert (found.difference_ns, found.interval_ns) == (10.0, (8.0, 12.0))
    assert found.share == pytest.approx(10 / 110)


def test_a_target_beside_itself_differs_by_nothing() -> None:
    found = difference_of_rounds([3.0, 4.0, 5.0] * 4, [3.0, 4.0, 5.0] * 4)
    assert (found.difference_ns, found.interval_ns, found.share, found.share_interval) == (0, (0, 0), 0, (0, 0))


@pytest.mark.parametrize("rounds", [1, 5])
def test_too_few_rounds_have_a_value_and_no_interval(rounds: int) -> None:
    found = difference_of_rounds([30.0] * rounds, [20.0] * rounds)
    assert (found.difference_ns, found.interval_ns, found.share_interval) == (10.0, None, None)


def test_a_higher_confidence_takes_a_wider_interval() -> None:
    mine = [100.0 + step for step in range(20)]
    narrow, wide = (difference_of_rounds(mine, [50.0] * 20, confidence=one).interval_ns for one in (0.8, 0.99))
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_arrays_are_as_good_as_lists() -> None:
    mine, other = [102.0, 101.0] * 5, [100.0] * 10
    assert difference_of_rounds(np.array(mine), np.array(other)) == difference_of_rounds(mine, other)


@pytest.mark.parametrize(
    ("mine", "other"), [([], []), ([1.0], []), ([1.0, 2.0], [1.0]), ([0.0], [1.0]), ([1.0], [-1.0])]
)
def test_what_is_no_time_is_refused(mine: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="a difference takes"):
        difference_of_rounds(mine, other)


@given(ENDS, st.floats(0.0001, 0.5))
def test_the_interval_and_the_margin_decide_what_is_said(interval: tuple[float, float], margin: float) -> None:
    low, high = interval
    size = size_of_share(interval, margin)
    if size == "below":
        assert high < margin  # only the upper end can say that it does not matter
    elif size == "above":
        assert low >= margin
    elif size == "negative":
        assert high < -margin
    else:
        assert low < margin <= high


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (None, "unknown"),
        ((0.02, 0.03), "above"),
        ((0.01, 0.03), "above"),
        ((0.009, 0.03), "unknown"),
        ((0.002, 0.01), "unknown"),
        ((0.002, 0.0099), "below"),
        ((-0.05, 0.0099), "below"),
        ((-0.05, -0.01), "below"),
        ((-0.05, -0.02), "negative"),
        ((-0.05, 0.05), "unknown"),
    ],
)
def test_cases_around_a_margin_of_one_percent(interval: tuple[float, float] | None, said: str) -> None:
    assert size_of_share(interval, 0.01) == said
