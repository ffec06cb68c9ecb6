# SPDX-License-Identifier: Apache-2.0
"""The plan of a self-test: every trial once, some of every kind early on, and as many as were asked for."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.errors import UsageError
from pyperf_infer.selftest.plan import QUICK, SLOW_DOWNS, SelfTestPlan, cells, steps, work_durations_s

TICK_S = 0.004
COUNTS = st.integers(0, 40)


@settings(deadline=None)
@given(aa=COUNTS, power=COUNTS, coverage=COUNTS, precision=COUNTS, processes=COUNTS, neighbour=st.booleans())
def test_every_step_is_there_once(neighbour: bool, **counts: int) -> None:
    listed = steps(SelfTestPlan(**counts), tick_s=TICK_S, neighbour=neighbour)
    assert len({step.key for step in listed}) == len(listed)
    by_kind = Counter(step.kind for step in listed)
    assert by_kind["A/A"] == counts["aa"]
    assert by_kind["power"] == counts["power"] * len(SLOW_DOWNS)
    assert by_kind["precision"] == counts["precision"]
    assert by_kind["floor"] == counts["processes"]
    assert by_kind["coverage"] == (4 if counts["coverage"] else 0)


@settings(deadline=None)
@given(aa=st.integers(1, 200), neighbour=st.booleans())
def test_cells_have_as_many_trials_as_the_next(aa: int, neighbour: bool) -> None:
    listed = steps(SelfTestPlan(aa=aa, power=0), tick_s=TICK_S, neighbour=neighbour)
    counts = Counter(step.cell for step in listed if step.kind == "A/A")
    assert max(counts.values()) - (min(counts.values()) if len(counts) == (10 if neighbour else 5) else 0) <= 1


def test_a_self_test_that_is_broken_off_half_way_has_half_of_every_kind() -> None:
    listed = [step for step in steps(SelfTestPlan(), tick_s=TICK_S, neighbour=True) if step.cell is not None]
    half = Counter(step.cell for step in listed[: len(listed) // 2])
    whole = Counter(step.cell for step in listed)
    assert all(abs(half[cell] - count / 2) <= 2 for cell, count in whole.items())


def test_the_neighbour_comes_and_goes_once_a_round() -> None:
    listed = [step.cell for step in steps(SelfTestPlan(), tick_s=TICK_S, neighbour=True) if step.cell is not None]
    changes = sum(one.neighbour != other.neighbour for one, other in itertools.pairwise(listed))
    rounds = max(Counter(listed).values())
    assert changes <= 2 * rounds


def test_work_in_step_with_the_tick_is_there_where_the_tick_is_known() -> None:
    assert set(work_durations_s(TICK_S)) - set(work_durations_s(None)) == {TICK_S, TICK_S / 3}
    assert 1e-3 in work_durations_s(None)


def test_with_one_cpu_all_is_quiet() -> None:
    assert not any(cell.neighbour for cell in cells(tick_s=TICK_S, neighbour=False))
    busy = [cell for cell in cells(tick_s=TICK_S, neighbour=True) if cell.neighbour]
    assert len(busy) == len(cells(tick_s=TICK_S, neighbour=False))


def test_the_usual_one_takes_about_eight_minutes_and_the_quick_one_about_one() -> None:
    for plan, low_s, high_s in ((SelfTestPlan(), 420, 540), (QUICK, 30, 75)):
        assert low_s < sum(step.expected_s for step in steps(plan, tick_s=TICK_S, neighbour=True)) < high_s
    assert QUICK.quick
    assert not SelfTestPlan().quick


@pytest.mark.parametrize(
    "given", [{"aa": -1}, {"power": 10**7}, {"processes": -3}, {"trial_s": 0.0}, {"trial_s": float("nan")}]
)
def test_numbers_that_make_no_plan_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="trial"):
        SelfTestPlan(**given)
