# SPDX-License-Identifier: Apache-2.0
"""benchmarks/interval_coverage.py holds intervals against true values: those have to be the ones of what it draws."""

from __future__ import annotations

from typing import Any

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import interval_coverage as coverage
import numpy as np
from common import Report

from pyperf_infer.selftest.synthetic import Coverage

PERCENTS = (50, 90, 95, 99)


def test_the_true_values_are_those_of_what_is_drawn() -> None:
    seen = set()
    for case in coverage.cases():
        distribution = case.distribution
        if distribution.name + distribution.about in seen:
            continue
        seen.add(distribution.name + distribution.about)
        drawn = np.rint(distribution.draw(np.random.default_rng(1), 200, 500))
        assert drawn.shape == (200, 500)
        for percent in PERCENTS:
            truth = round(distribution.quantile(percent / 100))
            below, at_most = float((drawn < truth).mean()), float((drawn <= truth).mean())
            assert below - 0.015 <= percent / 100 <= at_most + 0.015, (distribution.name, percent)
    assert len(seen) >= 12


def test_every_kind_of_ending_and_the_hard_cases_are_there() -> None:
    named = {(case.ended, case.distribution.name) for case in coverage.cases() if case.judged}
    assert {("stop rule, from 30", "modes 50%/50%"), ("stop rule, from 30", "AR(1) 0.8")} <= named
    assert {("stop rule of p90, from 30", "modes 90%/10%"), ("fixed 1000", "AR(1) 0.5")} <= named
    assert {name for ended, name in named if ended == "stop rule, from 400"} >= {"normal", "log-normal", "AR(1)"}


def test_intervals_that_miss_and_intervals_that_are_too_wide_break_a_bound(capsys: Any) -> None:
    case = next(coverage.cases())

    def claims(covering: int) -> list[bool]:
        found = Coverage(case.distribution.name, 50.0, 1000, covering, 0, 0.955, 60.0)
        report = Report("interval_coverage")
        judged = coverage.say_case(report, case, [found], 1000)
        coverage.claim_bounds(report, "kind", judged)
        return [one.holds for one in report.claims]

    assert claims(929) == [False, True]
    assert claims(950) == [True, True]
    assert claims(966) == [True, False]
    assert "least coverage" in capsys.readouterr().out


def test_a_percentile_that_few_series_carry_is_shown_and_not_judged() -> None:
    case = next(coverage.cases())
    rare = Coverage(case.distribution.name, 99.0, 10, 5, 990, 0.955, 60.0)
    report = Report("interval_coverage")
    assert coverage.say_case(report, case, [rare], 1000) == []
    assert "p99 ~50.00% (95.50%) in 1%" in report.lines[0]
