# SPDX-License-Identifier: Apache-2.0
"""warm_up, measure and interleave through Python: what they return, what progress callbacks get."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pyperf_infer import _core

MILLISECOND = 1_000_000
Progress = tuple[str, int, int, int, int]


def sleeping() -> _core.CallableTarget:
    return _core.CallableTarget(lambda: time.sleep(0.001))


def run_phase(phase: str, progress: Callable[[str, int, int, int, int], object] | None) -> None:
    """About 300 ms of one phase."""
    length = 300 * MILLISECOND
    if phase == "warm-up":
        _core.warm_up(sleeping(), min_calls=250, budget_ns=length, progress=progress)
    elif phase == "measure":
        plan = _core.StopPlan(min_duration_ns=length, max_duration_ns=length)
        _core.measure(sleeping(), plan, _core.Samples(), progress=progress)
    else:
        plan_of_rounds = _core.SchedulePlan(min_block_ns=20 * MILLISECOND, max_duration_ns=length, min_rounds=10**6)
        samples = [_core.Samples(), _core.Samples()]
        _core.interleave([sleeping(), sleeping()], plan_of_rounds, samples, progress=progress)


@pytest.mark.parametrize("phase", ["warm-up", "measure", "interleave"])
def test_progress_gets_phase_calls_elapsed_budget_and_the_latest_sample(phase: str) -> None:
    seen: list[Progress] = []
    run_phase(phase, lambda *told: seen.append(told))
    assert seen
    assert {told[0] for told in seen} == {phase}
    assert [told[1] for told in seen] == sorted(told[1] for told in seen)
    assert [told[2] for told in seen] == sorted(told[2] for told in seen)
    assert {told[3] for told in seen} == {300 * MILLISECOND}
    assert all(told[4] >= MILLISECOND for told in seen)


@pytest.mark.parametrize("phase", ["warm-up", "measure", "interleave"])
def test_an_error_of_the_progress_callback_comes_through(phase: str) -> None:
    def failing(*told: object) -> None:
        raise RuntimeError("no more bars")

    with pytest.raises(RuntimeError, match="no more bars"):
        run_phase(phase, failing)


def test_samples_stay_when_the_progress_callback_fails() -> None:
    samples = _core.Samples()
    plan = _core.StopPlan(max_duration_ns=20_000 * MILLISECOND)
    with pytest.raises(TypeError):
        _core.measure(sleeping(), plan, samples, progress=lambda: None)  # type: ignore[arg-type, misc]
    assert len(samples) > 0


def test_a_measurement_says_how_it_went() -> None:
    samples = _core.Samples()
    plan = _core.StopPlan(min_duration_ns=0, max_duration_ns=100 * MILLISECOND, relative_half_width=1e-9)
    outcome = _core.measure(sleeping(), plan, samples)
    assert outcome.reason == "max_duration"
    assert outcome.looks >= 1
    assert outcome.duration_ns >= int(samples.ns.sum())


def test_a_target_that_is_steady_enough_converges() -> None:
    samples = _core.Samples()
    plan = _core.StopPlan(min_duration_ns=0, max_duration_ns=2000 * MILLISECOND, relative_half_width=0.9)
    outcome = _core.measure(_core.NoopTarget(), plan, samples)
    if outcome.reason == "converged":
        assert outcome.relative_half_width is not None
        assert outcome.relative_half_width <= 0.9
    else:  # on a machine whose other load comes and goes few samples are independent
        assert outcome.reason == "max_duration"
    assert len(samples) >= plan.min_samples == 30


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_both_modes_measure(mode: str) -> None:
    samples = _core.Samples()
    plan = _core.StopPlan(min_duration_ns=0, max_samples=50, min_samples=50)
    assert _core.measure(sleeping(), plan, samples, mode=mode).reason in {"converged", "max_samples"}
    assert len(samples) == 50
    assert (samples.ns >= MILLISECOND).all()


def test_warming_up_says_how_it_went() -> None:
    first = iter([0.05])
    outcome = _core.warm_up(_core.CallableTarget(lambda: time.sleep(next(first, 0.001))), min_calls=5, budget_ns=0)
    assert outcome.calls == 5
    assert outcome.first_call_ns >= 50 * MILLISECOND
    assert outcome.duration_ns >= 54 * MILLISECOND
    assert not outcome.steady


def test_interleaving_returns_blocks_of_complete_rounds() -> None:
    samples = [_core.Samples(), _core.Samples()]
    plan = _core.SchedulePlan(min_block_ns=5 * MILLISECOND, max_jitter_ns=0, relative_half_width=10.0)
    outcome = _core.interleave([sleeping(), _core.NoopTarget()], plan, samples)
    assert (outcome.reason, outcome.rounds, outcome.looks) == ("converged", 11, 1)
    assert [block.round for block in outcome.blocks] == sorted(list(range(11)) * 2)
    for which, one in enumerate(samples):
        mine = [block for block in outcome.blocks if block.target == which]
        assert sum(block.count for block in mine) == len(one)
        assert mine[3].begin == sum(block.count for block in mine[:3])
        assert all(block.discarded >= 3 and block.count >= 10 for block in mine)
        assert all(block.median_ns in one.ns[block.begin : block.begin + block.count] for block in mine)


def test_the_clock_tells_its_step_and_cost() -> None:
    clock = _core.measure_steady_clock()
    assert clock.name == "steady_clock"
    assert clock.step_ns >= 1
    assert clock.read_cost_ns > 0
    before = _core.now_ns()
    assert _core.now_ns() >= before


def test_activity_snapshots_subtract() -> None:
    before = _core.take_activity_snapshot()
    time.sleep(0.01)
    delta = _core.take_activity_snapshot() - before
    assert delta.wall_ns >= 10 * MILLISECOND
    assert delta.voluntary_switches >= 1
