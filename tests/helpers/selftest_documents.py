# SPDX-License-Identifier: Apache-2.0
"""Made-up self-tests. Numbers are plausible, not measured."""

from __future__ import annotations

from typing import Any

import result_documents as made

from pyperf_infer.results import schema
from pyperf_infer.selftest import judge


def comparisons(kind: str = "A/A", **fields: Any) -> schema.SelfTestComparisons:
    """Of 30 trials, all but two of which are `same`."""
    given: dict[str, Any] = {
        "kind": kind,
        "work_us": 1000.0,
        "slow_down": 0.0,
        "neighbour": False,
        "trials": 30,
        "faster": 0,
        "slower": 0,
        "same": 28,
        "undecided": 2,
        "gate_fired": 0,
        "half_width": 0.004,
        "trial_s": 1.01,
        "other_cpus": 0.02,
        "undecided_reasons": {"interval across the margin": 2},
    }
    return schema.SelfTestComparisons(**{**given, **fields})


def power(slow_down: float, *, slower: int, same: int = 0, **fields: Any) -> schema.SelfTestComparisons:
    """Of 50 trials; those that are neither are undecided."""
    counts = {"trials": 50, "slower": slower, "same": same, "undecided": 50 - slower - same}
    return comparisons("power", slow_down=slow_down, **{**counts, **fields})


def coverage(distribution: str, percent: float, covering: int = 1906, **fields: Any) -> schema.SelfTestCoverage:
    given: dict[str, Any] = {
        "distribution": distribution,
        "about": "standard deviation 5%",
        "percent": percent,
        "trials": 2000,
        "covering": covering,
        "refused": 0,
        "exact_share": 0.954,
        "mean_samples": 966.0,
    }
    return schema.SelfTestCoverage(**{**given, **fields})


def selftest(**fields: Any) -> schema.SelfTest:
    """Judged as the command judges, unless `judgements` are given."""
    given: dict[str, Any] = {
        "quick": False,
        "first_utc": "2026-11-25T09:00:00Z",
        "last_utc": "2026-11-25T09:08:00Z",
        "steps": 470,
        "planned_steps": 470,
        "taken_over": 0,
        "trial_s": 1.0,
        "margin": 0.01,
        "gate": 0.03,
        "confidence": 0.95,
        "seed": 42,
        "timer_tick_us": 4000.0,
        "neighbour_cpu": 1,
        "timer": schema.SelfTestTimer(clock="steady_clock", step_ns=1.0, overhead_ns=17.0, read_cost_ns=16.4),
        "comparisons": [
            comparisons(trials=150, same=140, undecided=10),
            comparisons(neighbour=True, trials=150, same=90, undecided=60),
            power(0.01, slower=0, same=30),
            power(0.02, slower=45),
            power(0.05, slower=50),
        ],
        "coverage": [coverage("normal", 50.0), coverage("AR(1)", 99.0)],
        "precision": schema.SelfTestPrecision(
            work_us=1000.0, ci=0.01, trials=5, converged=5, median_s=0.3, longest_s=0.5, median_samples=64
        ),
        "floor": schema.SelfTestFloor(
            processes=10, relative_sd=0.0106, median_ms=0.14, lowest_ms=0.138, highest_ms=0.144, kept=True
        ),
    }
    given |= fields
    if "judgements" not in given:
        given["judgements"] = judgements(**given)
    return schema.SelfTest(**given)


def judgements(**found: Any) -> list[schema.SelfTestJudgement]:
    return [
        *(judge.judge_timer(found["timer"]) if found["timer"] else ()),
        *judge.judge_aa(found["comparisons"]),
        *judge.judge_power(found["comparisons"], found["margin"]),
        *judge.judge_coverage(found["coverage"]),
        *(judge.judge_precision(found["precision"]) if found["precision"] else ()),
        *(judge.judge_floor(found["floor"]) if found["floor"] else ()),
    ]


def document(found: schema.SelfTest | None = None, **fields: Any) -> schema.Document:
    given: dict[str, Any] = {
        "tool_version": "1.2.3",
        "command": ["pyperf-infer", "selftest"],
        "created_utc": "2026-11-25T09:08:00Z",
        "status": "complete",
        "environment": made.environment(),
        "results": [],
        "selftest": found or selftest(),
    }
    return schema.Document(**{**given, **fields})
