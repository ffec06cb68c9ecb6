# SPDX-License-Identifier: Apache-2.0
"""Coverage on made samples: the truth is the truth, and intervals that are wrong are found to be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pyperf_infer import _core
from pyperf_infer.selftest import synthetic
from pyperf_infer.selftest.synthetic import DISTRIBUTIONS, PERCENTILES, coverage_of, plan_of

NAMES = [one.name for one in DISTRIBUTIONS]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=NAMES)
def test_the_true_values_are_those_of_what_is_drawn(distribution: synthetic.Distribution) -> None:
    drawn = distribution.draw(np.random.default_rng(1), 200, 2000)
    assert drawn.shape == (200, 2000)
    for percent in PERCENTILES:
        below = float((drawn <= distribution.quantile(percent / 100)).mean())
        assert below == pytest.approx(percent / 100, abs=0.005)


def test_neighbours_depend_on_one_another_in_ar1_and_nowhere_else() -> None:
    for distribution in DISTRIBUTIONS:
        drawn = distribution.draw(np.random.default_rng(2), 50, 2000)
        lag1 = float(np.mean([np.corrcoef(row[:-1], row[1:])[0, 1] for row in drawn]))
        assert lag1 == pytest.approx(0.5 if distribution.name == "AR(1)" else 0.0, abs=0.02)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=NAMES)
def test_the_intervals_cover_about_as_often_as_they_say(distribution: synthetic.Distribution) -> None:
    for found in coverage_of(distribution, trials=600):
        assert 0.91 <= found.share_covering <= 0.995, found
        assert found.exact_share >= 0.95
        assert found.trials + found.refused == 600


def test_the_stop_rule_stops_before_the_samples_end_and_not_at_its_first_look() -> None:
    for distribution in DISTRIBUTIONS:
        (found,) = coverage_of(distribution, trials=50, percentiles=(50.0,))
        assert distribution.fewest_samples * 1.05 < found.mean_count < distribution.most_samples * 0.95


def test_a_seed_gives_the_same_again() -> None:
    first, again, other = (coverage_of(DISTRIBUTIONS[0], trials=60, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_wrong_intervals_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals at 80% in place of 95%."""
    right = synthetic.estimate
    monkeypatch.setattr(synthetic, "estimate", lambda taken, **given: right(taken, **{**given, "confidence": 0.8}))
    (found,) = coverage_of(DISTRIBUTIONS[0], trials=600, percentiles=(50.0,))
    assert found.share_covering < 0.88


def test_the_exact_share_is_the_binomials_of_the_ranks() -> None:
    plan = _core.StopPlan(
        min_samples=500, max_samples=500, min_duration_ns=0, max_duration_ns=10**18, relative_half_width=1e-9
    )
    (found,) = coverage_of(DISTRIBUTIONS[0], trials=200, plan=plan, percentiles=(50.0,))
    low, high = _core.quantile_ranks(500, 0.5, 0.95)  # type: ignore[misc]
    exact = math.fsum(math.comb(500, hit) for hit in range(low, high)) / 2**500
    assert found.mean_count == 500
    assert found.exact_share == pytest.approx(exact, abs=0.002)  # where dependence is seen by chance, other ranks are


def test_a_percentile_that_the_samples_do_not_carry_is_an_error_and_some_that_do_not_are_counted() -> None:
    few = _core.StopPlan(min_samples=50, max_samples=50, min_duration_ns=0, max_duration_ns=10**18)
    with pytest.raises(ValueError, match=r"no sample of normal carries an interval of p99"):
        coverage_of(DISTRIBUTIONS[0], trials=5, plan=few, percentiles=(99.0,))
    with pytest.raises(ValueError, match="at least one trial"):
        coverage_of(DISTRIBUTIONS[0], trials=0)


def test_it_says_how_far_it_is_between_trials() -> None:
    seen: list[Any] = []
    coverage_of(DISTRIBUTIONS[0], trials=130, percentiles=(50.0,), between=seen.append)
    assert seen == list(range(130))


def test_plans_carry_every_percentile() -> None:
    for distribution in DISTRIBUTIONS:
        assert plan_of(distribution).min_samples >= 368  # what p99 takes
