# SPDX-License-Identifier: Apache-2.0
"""The judgement: a rate fails only where chance does not explain it, and passes only where the trials can show it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import selftest_documents as made
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.results import schema
from pyperf_infer.selftest import judge
from pyperf_infer.selftest.rates import exact_interval


def below(count: int, trials: int, share: float) -> float:
    """P(X <= count), X binomial."""
    return math.fsum(math.comb(trials, hit) * share**hit * (1 - share) ** (trials - hit) for hit in range(count + 1))


@settings(deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_exact_interval_ends_where_what_was_seen_becomes_too_unlikely(seen: tuple[int, int]) -> None:
    count, trials = seen
    low, high = exact_interval(count, trials)
    assert low <= count / trials <= high
    if count > 0:
        assert 1 - below(count - 1, trials, low) == pytest.approx(0.025, abs=1e-9)
    if count < trials:
        assert below(count, trials, high) == pytest.approx(0.025, abs=1e-9)


def test_all_or_none_of_few_says_little() -> None:
    assert exact_interval(0, 20) == (0.0, pytest.approx(0.1684, abs=1e-4))
    assert exact_interval(45, 50) == (pytest.approx(0.7819, abs=1e-4), pytest.approx(0.9667, abs=1e-4))


@pytest.mark.parametrize(("count", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_share_has_no_interval(count: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        exact_interval(count, trials)


@pytest.mark.parametrize(
    ("count", "trials", "bounds", "status"),
    [
        (5, 100, {"at_most": 0.05}, "pass"),
        (6, 100, {"at_most": 0.05}, "not judged"),  # chance makes six of five
        (12, 100, {"at_most": 0.05}, "fail"),
        (0, 19, {"at_most": 0.05}, "not judged"),  # a rate of 5% shows none in 19 as a rule
        (0, 20, {"at_most": 0.05}, "pass"),
        (45, 50, {"at_least": 0.9}, "pass"),
        (44, 50, {"at_least": 0.9}, "not judged"),
        (30, 50, {"at_least": 0.9}, "fail"),
        (1, 1, {"at_least": 0.5}, "not judged"),
        (2, 2, {"at_least": 0.5}, "pass"),
        (4, 4, {"at_least": 0.8}, "not judged"),  # with one miss they would be below it
        (5, 5, {"at_least": 0.8}, "pass"),
        (0, 4, {"at_least": 0.8}, "fail"),
        (14, 14, {"at_least": 0.93, "at_most": 1.0}, "not judged"),
        (1880, 2000, {"at_least": 0.93, "at_most": 0.964}, "pass"),
        (1990, 2000, {"at_least": 0.93, "at_most": 0.964}, "fail"),
        (1800, 2000, {"at_least": 0.93, "at_most": 0.964}, "fail"),
        (1, 2, {}, "not judged"),
    ],
)
def test_a_share_against_its_bounds(count: int, trials: int, bounds: dict[str, float], status: str) -> None:
    one = judge.judge_share("c", "A/A", "w", count, trials, **bounds)
    assert one.status == status
    assert (one.value, one.interval) == (count / trials, exact_interval(count, trials))
    assert (one.reason is None) == (status != "not judged")


def test_a_single_trial_shows_no_share() -> None:
    one = judge.judge_share("c", "power", "w", 1, 1, at_least=0.8)
    assert one.reason == "1 trial cannot show a share as large as 80%"


def by_code(rows: list[schema.SelfTestComparisons]) -> dict[str, schema.SelfTestJudgement]:
    return {one.code: one for one in (*judge.judge_aa(rows), *judge.judge_power(rows, 0.01))}


def test_false_alarms_are_counted_over_all_durations_quiet_and_busy_apart() -> None:
    rows = [
        made.comparisons(work_us=20.0, faster=1, same=27),
        made.comparisons(slower=2, same=26),
        made.comparisons(neighbour=True, faster=15, same=13, gate_fired=4),
    ]
    found = by_code(rows)
    assert (found["aa_different_quiet"].count, found["aa_different_quiet"].trials) == (3, 60)
    assert found["aa_different_quiet"].status == "pass"
    assert (found["aa_different_neighbour"].value, found["aa_different_neighbour"].status) == (0.5, "fail")
    assert (found["aa_gate"].count, found["aa_gate"].trials) == (4, 90)


def test_never_deciding_fails_when_quiet_and_not_beside_a_neighbour() -> None:
    quiet, busy = (made.comparisons(neighbour=one, same=3, undecided=27) for one in (False, True))
    found = by_code([quiet, busy])
    assert found["aa_undecided_quiet"].status == "fail"
    assert found["aa_undecided_neighbour"].status == "not judged"
    assert found["aa_undecided_neighbour"].at_most is None


def test_a_slow_down_no_larger_than_the_margin_is_the_same_too() -> None:
    found = by_code([made.power(0.01, slower=0, same=50)])
    assert found["power_found_1"].at_least is None
    assert (found["power_wrong_1"].count, found["power_wrong_1"].status) == (0, "pass")


def test_a_slow_down_called_the_same_is_wrong() -> None:
    found = by_code([made.power(0.05, slower=10, same=40), made.power(0.02, slower=50)])
    assert found["power_found_5"].status == "fail"
    assert (found["power_wrong_5"].count, found["power_wrong_5"].status) == (40, "fail")
    assert [found[f"power_{what}_2"].status for what in ("found", "wrong")] == ["pass", "pass"]


def test_without_comparisons_there_is_nothing_to_judge() -> None:
    assert by_code([]) == {}


@pytest.mark.parametrize(("covering", "status"), [(1906, "pass"), (1800, "fail"), (1990, "fail")])
def test_intervals_that_cover_too_rarely_or_too_often_fail(covering: int, status: str) -> None:
    (one,) = judge.judge_coverage([made.coverage("AR(1)", 99.0, covering)])
    assert (one.code, one.status) == ("coverage_ar_1_p99", status)
    assert (one.at_least, one.at_most) == (0.93, pytest.approx(0.964))


def test_codes_are_told_apart() -> None:
    codes = [one.code for one in made.selftest().judgements]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("median_s", "status"), [(9.9, "pass"), (10.1, "fail")])
def test_time_to_precision(median_s: float, status: str) -> None:
    found = schema.SelfTestPrecision(
        work_us=1000.0, ci=0.01, trials=5, converged=5, median_s=median_s, longest_s=20.0, median_samples=9
    )
    assert judge.judge_precision(found)[0].status == status


def test_a_coarse_or_dear_clock_fails() -> None:
    found = schema.SelfTestTimer(clock="acpi_pm", step_ns=279.0, overhead_ns=5000.0, read_cost_ns=4000.0)
    assert [one.status for one in judge.judge_timer(found)] == ["fail", "fail"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"same": 3}, "do not sum"),
        ({"kind": "power"}, "a slow-down is what tells"),
        ({"slow_down": 0.1}, "a slow-down is what tells"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made.comparisons(**change)
