# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of false alarms, power and time to precision: what they count, and that they go on and not twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import known_answers
import numpy as np
import power
import pytest
import time_to_precision
from common import Report

from pyperf_infer.selftest.plan import Cell, SelfTestPlan, steps
from pyperf_infer.selftest.records import Trial

QUIET = SelfTestPlan(aa=10, power=0, coverage=0, precision=0, processes=0)


def trial(cell: Cell, number: int, **fields: Any) -> Trial:
    given: dict[str, Any] = {
        "seed": 1,
        "verdict": "same",
        "reason": None,
        "ratio": 1.0,
        "interval": (0.99, 1.01),
        "rounds": 20,
        "wall_s": 1.0,
    }
    return Trial(**cell._asdict(), number=number, **{**given, **fields})


def test_it_goes_on_where_it_was_broken_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[tuple[Cell, int]] = []

    def run(cell: Cell, number: int, **_: Any) -> Trial:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append((cell, number))
        return trial(cell, number)

    monkeypatch.setattr(known_answers, "run_trial", run)
    listed = steps(QUIET, tick_s=0.004, neighbour=False)
    path = tmp_path / "aa.jsonl"
    with pytest.raises(KeyboardInterrupt):
        known_answers.run_all(listed, known_answers.kept_trials(path, {}, fresh=False))
    first = list(done)
    done.clear()
    monkeypatch.setattr(
        known_answers, "run_trial", lambda cell, number, **_: done.append((cell, number)) or trial(cell, number)
    )
    found = known_answers.run_all(listed, known_answers.kept_trials(path, {}, fresh=False))
    assert len(found) == 10
    assert len(first) == 4
    assert not set(first) & set(done)


def test_trials_made_with_other_settings_are_refused(tmp_path: Path) -> None:
    known_answers.kept_trials(tmp_path / "aa.jsonl", {"seconds": 1.0}, fresh=False)
    with pytest.raises(SystemExit, match="made in another way"):
        known_answers.kept_trials(tmp_path / "aa.jsonl", {"seconds": 2.0}, fresh=False)


def test_power_and_identical_work_are_made_in_turn() -> None:
    listed = power.steps_of(0.02, 50, 25)
    assert {step.expected_s for step in listed} == {60.0}
    assert sum(step.kind == "power" for step in listed) == 50
    assert 11 <= sum(step.kind == "A/A" for step in listed[:37]) <= 14
    assert len({step.key for step in listed}) == 75


@pytest.mark.parametrize(("found", "holds"), [(45, True), (44, False)])
def test_45_of_50_is_what_the_bound_asks_for(found: int, holds: bool) -> None:
    slower, same = Cell("power", 1e-3, 0.02, False), Cell("A/A", 1e-3, 0.0, False)
    trials = [trial(slower, number, verdict="slower" if number < found else "undecided") for number in range(50)]
    report = Report("power")
    claim = power.say(report, 0.02, [*trials, trial(same, 0, verdict="faster")])
    assert claim.holds == holds
    text = "\n".join(report.lines)
    assert f"2% slower: found {found} of 50" in text
    assert "identical work in the same time: called different 1 of 1" in text


def recordings(spread: float, count: int = 2000) -> list[Any]:
    rng = np.random.default_rng(3)
    return [np.rint(1e6 * (1 + spread * rng.standard_normal(count))).astype(np.int64) for _ in range(40)]


def test_a_fixed_count_grows_with_the_square_of_the_spread() -> None:
    """Half an interval is 1.96 standard errors of the median, each 1.25 spreads over the root of the count."""
    needed = [time_to_precision.fixed_count(recordings(spread))[0] for spread in (0.02, 0.06)]
    assert needed[0] is not None
    assert needed[1] is not None
    for count, spread in zip(needed, (0.02, 0.06), strict=True):
        half = 1.96 * 1.2533 * spread / count**0.5
        assert 0.5 < half / 0.01 < 1.05  # a little below, so that 95 of 100 reach it


def test_recordings_that_never_get_there_need_more_than_they_have() -> None:
    needed, shares = time_to_precision.fixed_count(recordings(0.2, 300))
    assert needed is None
    assert shares[300] == 0
    assert shares[6] == 0


def test_five_samples_have_no_interval() -> None:
    assert not time_to_precision.is_precise(np.full(5, 1_000_000, dtype=np.int64))
    assert time_to_precision.is_precise(np.full(6, 1_000_000, dtype=np.int64))
