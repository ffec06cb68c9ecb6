# SPDX-License-Identifier: Apache-2.0
"""Python callables as targets: their errors, their results, Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pyperf_infer import _core

LONG_NS = 30_000_000_000
FOR_EVER = _core.StopPlan(min_duration_ns=LONG_NS, max_duration_ns=LONG_NS)


def failing_after(calls: int, error: Exception) -> Callable[[], None]:
    left = iter(range(calls))

    def function() -> None:
        if next(left, None) is None:
            raise error
        time.sleep(0.0002)

    return function


@contextmanager
def ends_long_before_its_budget() -> Iterator[None]:
    """Without this, a loop that is deaf to Ctrl-C passes too: Python raises when it returns, its budget spent."""
    begin_ns = time.monotonic_ns()
    yield
    assert time.monotonic_ns() - begin_ns < LONG_NS / 2


def test_the_callable_is_called_once_a_sample() -> None:
    seen: list[int] = []
    samples = _core.Samples()
    _core.run_batch(_core.CallableTarget(lambda: seen.append(1)), samples, 25)
    assert len(seen) == len(samples) == 25
    assert _core.run_batched(_core.CallableTarget(lambda: seen.append(1)), 10) > 0
    assert len(seen) == 35


@pytest.mark.parametrize("run", ["run_batch", "measure"])
def test_an_error_of_the_callable_comes_through_and_samples_stay(run: str) -> None:
    error = KeyError("the very object")
    target, samples = _core.CallableTarget(failing_after(17, error)), _core.Samples()
    with pytest.raises(KeyError) as caught:
        _core.run_batch(target, samples, 100) if run == "run_batch" else _core.measure(target, FOR_EVER, samples)
    assert caught.value is error
    assert "failing_after" not in str(caught.traceback[0])
    assert any(entry.name == "function" for entry in caught.traceback)
    assert len(samples) == 17


def test_an_error_while_warming_up_and_interleaving_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        _core.warm_up(_core.CallableTarget(failing_after(2, ZeroDivisionError())))
    samples = [_core.Samples(), _core.Samples()]
    targets = [_core.CallableTarget(failing_after(40, ZeroDivisionError())), _core.NoopTarget()]
    with pytest.raises(ZeroDivisionError):
        _core.interleave(targets, _core.SchedulePlan(min_block_ns=1, max_jitter_ns=0), samples)
    assert len(samples[0]) > 0


@pytest.mark.parametrize("function", [lambda: time.sleep(0.001), None], ids=["callable", "native"])
def test_ctrl_c_ends_a_measurement_and_samples_stay(function: Callable[[], None] | None) -> None:
    target = _core.NoopTarget() if function is None else _core.CallableTarget(function)
    samples = _core.Samples()
    plan = _core.StopPlan(min_samples=10**9, max_samples=10**9, min_duration_ns=LONG_NS, max_duration_ns=LONG_NS)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    with ends_long_before_its_budget():
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            _core.measure(target, plan, samples)
    timer.join()
    assert len(samples) > 0


def warm_up_for_ever(target: _core.Target) -> None:
    _core.warm_up(target, min_calls=10**9, budget_ns=LONG_NS)


def interleave_for_ever(target: _core.Target) -> None:
    plan = _core.SchedulePlan(min_rounds=10**9, max_duration_ns=LONG_NS)
    _core.interleave([target, _core.NoopTarget()], plan, [_core.Samples(), _core.Samples()])


@pytest.mark.parametrize("phase", [warm_up_for_ever, interleave_for_ever])
def test_ctrl_c_ends_the_other_phases(phase: Callable[[_core.Target], None]) -> None:
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    with ends_long_before_its_budget():
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            phase(_core.CallableTarget(lambda: time.sleep(0.001)))
    timer.join()


def test_results_are_freed_after_each_call() -> None:
    class Result:
        pass

    alive: weakref.WeakSet[Result] = weakref.WeakSet()
    most_alive = 0

    def function() -> Result:
        nonlocal most_alive
        result = Result()
        alive.add(result)
        most_alive = max(most_alive, len(alive))
        return result

    _core.run_batch(_core.CallableTarget(function), _core.Samples(), 1_000)
    assert most_alive == 1
    assert len(alive) == 0


def test_reference_counts_are_as_before() -> None:
    result = object()

    def function() -> object:
        return result

    def failing() -> object:
        raise ValueError("no")

    before = [sys.getrefcount(one) for one in (result, function, failing)]
    for _ in range(10):
        _core.run_batch(_core.CallableTarget(function), _core.Samples(), 1_000)
        _core.run_batched(_core.CallableTarget(function), 1_000)
        with pytest.raises(ValueError, match="no"):
            _core.run_batch(_core.CallableTarget(failing), _core.Samples(), 1)
    assert [sys.getrefcount(one) for one in (result, function, failing)] == before


def test_a_hundred_thousand_calls_leak_no_memory() -> None:
    target = _core.CallableTarget(lambda: [1.5] * 10)
    tracemalloc.start()
    _core.run_batch(target, _core.Samples(), 100)
    before = tracemalloc.get_traced_memory()[0]
    _core.run_batch(target, _core.Samples(), 100_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000  # a leaked list a call would be over 10 MB


def test_what_is_no_callable_is_refused_by_type() -> None:
    with pytest.raises(TypeError, match="and this is a int"):
        _core.CallableTarget(5)  # type: ignore[arg-type]
