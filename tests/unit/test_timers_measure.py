# SPDX-License-Identifier: Apache-2.0
"""`timers.measure` and what stays of a measurement that is cut short."""

from __future__ import annotations

import doctest
import gc
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pyperf_infer import timers
from pyperf_infer.errors import UsageError
from pyperf_infer.timers import Measurement

QUICK: dict[str, Any] = {"duration": 0.005, "max_duration": 0.02, "warmup": 0.005}


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Whatever a test does, the garbage collector is as it was."""
    assert gc.isenabled()
    yield
    assert gc.isenabled()


def _after(calls: int, what: Callable[[], object]) -> Callable[[], None]:
    """Does nothing `calls` times and then `what`, once."""
    count = 0

    def function() -> None:
        nonlocal count
        count += 1
        if count == calls + 1:
            what()

    return function


def test_samples_are_read_only_nanoseconds_and_no_copy() -> None:
    samples = timers.measure(lambda: sum(range(100)), **QUICK)
    assert samples.ns.dtype == np.int64
    assert samples.ns.ndim == 1
    assert not samples.ns.flags.writeable
    assert not samples.ns.flags.owndata
    assert samples.ns is samples.ns
    assert samples.ns.min() > 0
    with pytest.raises(ValueError, match="read-only"):
        samples.ns[0] = 1


def test_samples_outlive_the_measurement() -> None:
    measurement = Measurement(lambda: None, duration=0, max_duration=0.01)
    ns = measurement.run().ns
    copy = ns.copy()
    del measurement
    gc.collect()
    np.testing.assert_array_equal(ns, copy)


def test_samples_say_what_they_are() -> None:
    samples = timers.measure(lambda: sum(range(1000)), **QUICK)
    assert samples.interval_ns is not None
    assert samples.interval_ns[0] <= samples.median_ns <= samples.interval_ns[1]
    assert samples.converged == (samples.stop_reason == "converged")
    assert samples.looks >= 1
    assert samples.duration_ns >= samples.ns.sum() // 2
    assert samples.warmup is not None
    assert samples.warmup.calls >= 1
    assert samples.timer_overhead_ns > 0
    assert samples.clock_step_ns > 0
    assert samples.estimates.count == samples.ns.size
    (p75,) = samples.summarise((75,)).percentiles
    assert p75.percent == 75


def test_a_short_call_is_timed_in_a_batch_too_and_a_long_one_is_not() -> None:
    short = timers.measure(lambda: None, **QUICK)
    assert short.batched_ns_per_call is not None
    assert short.batched_ns_per_call > 0
    long = timers.measure(lambda: sum(range(100_000)), **QUICK)
    assert long.batched_ns_per_call is None


def test_the_minimum_of_calls_holds() -> None:
    assert timers.measure(lambda: None, iterations=5000, duration=0, max_duration=10, warmup=0).ns.size >= 5000


def test_without_an_interval_the_least_that_has_one_is_what_it_would_have_taken() -> None:
    found = timers.measure(lambda: time.sleep(0.01), duration=0.1, max_duration=0.1, warmup=0, ci_of=99.9)
    assert found.relative_half_width is None
    assert found.needed is not None
    assert found.needed.samples >= 3687
    assert found.needed.duration_ns / found.duration_ns == pytest.approx(found.needed.samples / len(found.ns), rel=0.01)


def test_throughput_is_a_mode() -> None:
    assert timers.measure(lambda: None, mode="throughput", **QUICK).ns.size > 0


@pytest.mark.parametrize("collect", [False, True])
def test_the_garbage_collector_is_off_unless_asked_for(collect: bool) -> None:
    seen: set[bool] = set()
    timers.measure(lambda: seen.add(gc.isenabled()), collect_garbage=collect, **QUICK)
    assert seen == {collect}


def test_progress_tells_the_phases_in_order() -> None:
    phases: list[str] = []
    timers.measure(
        lambda: sum(range(10_000)), duration=0.3, max_duration=0.4, warmup=0.3, warmup_iterations=2000, ci=1e-6,
        progress=lambda phase, *_: phases.append(phase),
    )  # fmt: skip
    assert list(dict.fromkeys(phases)) == ["warm-up", "measure"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_an_error_comes_through_and_the_samples_until_then_stay(interrupt: type[BaseException]) -> None:
    def fail() -> None:
        raise interrupt("enough")

    measurement = Measurement(_after(100, fail), duration=0, max_duration=10, iterations=10_000)
    with pytest.raises(interrupt, match="enough"):
        measurement.run()
    samples = measurement.samples
    assert samples is not None
    assert samples.ns.size == 100
    assert samples.stop_reason == "interrupted"
    assert not samples.converged
    assert samples.duration_ns > 0
    assert samples.warmup is None
    assert samples.estimates.count == 100


def test_ctrl_c_leaves_the_samples() -> None:
    """The signal itself, which arrives while the native loop runs."""
    measurement = Measurement(_after(100, lambda: signal.raise_signal(signal.SIGINT)), duration=60, max_duration=60)
    with pytest.raises(KeyboardInterrupt):
        measurement.run()
    assert measurement.samples is not None
    assert measurement.samples.ns.size >= 99


def test_an_error_while_warming_up_leaves_no_samples() -> None:
    measurement = Measurement(_after(0, lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        measurement.warm_up(budget=1)
    assert measurement.samples is None


def test_the_garbage_collector_is_on_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        timers.measure(lambda: 1 / 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"duration": -1},
        {"duration": float("nan")},
        {"max_duration": float("inf")},
        {"duration": 2, "max_duration": 1},
        {"duration": "1"},
        {"iterations": 0},
        {"iterations": -3},
        {"ci": 0},
        {"ci": -0.1},
        {"confidence": 1.0},
        {"confidence": 0.0},
        {"mode": "speed"},
        {"warmup": -1},
    ],
)
def test_a_plan_that_contradicts_itself_is_a_usage_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        timers.measure(lambda: None, **{**QUICK, **arguments})


@pytest.mark.parametrize("what", [None, 3, "print", object()])
def test_what_cannot_be_called_is_a_type_error(what: Any) -> None:
    with pytest.raises(TypeError):
        timers.measure(what)


def test_the_examples_of_the_documentation_work() -> None:
    import importlib

    for name in ("pyperf_infer.timers", timers.Stopwatch.__module__):
        found = doctest.testmod(importlib.import_module(name))
        assert found.failed == 0
        assert found.attempted > 0
