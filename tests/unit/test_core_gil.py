# SPDX-License-Identifier: Apache-2.0
"""The GIL is released for every loop that needs no Python, and no Python runs inside such a loop."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from holding_the_gil import no_thread_switches, wait_holding_the_gil
from onnx_graphs import save_scale_model

from pyperf_infer import _core

GENEROUS_S = 60.0


@pytest.fixture
def ort_target(tmp_path: Path) -> _core.OrtTarget:
    from pyperf_infer.ort_session import find_library

    model = save_scale_model(tmp_path / "scale.onnx")
    session = _core.OrtSession(str(find_library()), str(model), _core.OrtSessionOptions())
    target = _core.OrtTarget(session)
    target.bind_input("x", np.ones((1, 4), dtype=np.float32))
    target.bind_outputs()
    return target


def finishes_while_the_gil_is_held_elsewhere(target: _core.Target, calls: int) -> bool:
    """Starts a batch in another thread, sees it under way, and keeps the GIL from it until it is done."""
    for growing in (calls, 8 * calls, 64 * calls):
        samples = _core.Samples()
        worker = threading.Thread(target=_core.run_batch, args=(target, samples, growing))
        with no_thread_switches():
            worker.start()  # returns once the worker has given up the GIL, and it is not given back to it
            under_way = len(samples) == 0
            finished = wait_holding_the_gil(lambda: len(samples) > 0, GENEROUS_S)  # noqa: B023 - called here only
        worker.join()
        assert len(samples) == growing
        if under_way:
            return finished
    return False  # it was never seen under way: it kept the GIL to its end


def test_a_batch_of_nothing_goes_on_while_another_thread_holds_the_gil() -> None:
    assert finishes_while_the_gil_is_held_elsewhere(_core.NoopTarget(), 500_000)


def test_a_batch_of_onnx_runtime_goes_on_while_another_thread_holds_the_gil(ort_target: _core.OrtTarget) -> None:
    assert not ort_target.needs_python
    assert finishes_while_the_gil_is_held_elsewhere(ort_target, 10_000)


def test_a_batch_of_a_callable_does_not() -> None:
    """The counter-proof: the same experiment tells a loop that needs Python from one that does not."""
    entered, leave = threading.Event(), threading.Event()

    def function() -> None:
        entered.set()
        leave.wait()

    samples = _core.Samples()
    target = _core.CallableTarget(function)
    assert target.needs_python
    worker = threading.Thread(target=_core.run_batch, args=(target, samples, 1))
    worker.start()
    entered.wait()
    with no_thread_switches():
        leave.set()
        finished = wait_holding_the_gil(lambda: len(samples) == 1, 0.2)
    worker.join()
    assert not finished
    assert len(samples) == 1


def test_several_threads_measure_at_once() -> None:
    targets = [_core.NoopTarget() for _ in range(4)]
    samples = [_core.Samples() for _ in targets]
    plan = _core.StopPlan(min_duration_ns=50_000_000, max_duration_ns=200_000_000, max_samples=200_000)
    threads = [
        threading.Thread(target=_core.measure, args=(target, plan, into))
        for target, into in zip(targets, samples, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(one) >= 30 for one in samples)


def test_samples_can_be_read_while_another_thread_fills_them() -> None:
    samples = _core.Samples()
    plan = _core.StopPlan(
        min_duration_ns=300_000_000, max_duration_ns=300_000_000, max_samples=1_000_000, min_samples=1_000_000
    )
    worker = threading.Thread(target=_core.measure, args=(_core.NoopTarget(), plan, samples))
    worker.start()
    views = []
    while worker.is_alive():
        views.append(samples.ns)
    worker.join()
    final = samples.ns
    for view in views[:: max(1, len(views) // 50)]:
        np.testing.assert_array_equal(view, final[: len(view)])


@pytest.mark.parametrize("shared", ["target", "samples"])
def test_one_target_or_one_samples_in_two_threads_is_refused(shared: str) -> None:
    from pyperf_infer.errors import UsageError

    entered, leave = threading.Event(), threading.Event()

    def function() -> None:
        entered.set()
        leave.wait()

    target, samples = _core.CallableTarget(function), _core.Samples()
    worker = threading.Thread(target=_core.run_batch, args=(target, samples, 1))
    worker.start()
    entered.wait()
    other_target = target if shared == "target" else _core.NoopTarget()
    other_samples = samples if shared == "samples" else _core.Samples()
    with pytest.raises(UsageError, match="in use already"):
        _core.run_batch(other_target, other_samples, 1)
    leave.set()
    worker.join()
    assert len(samples) == 1
    _core.run_batch(_core.NoopTarget(), samples, 1)  # and free again
    assert len(samples) == 2


def test_a_callable_that_measures_itself_is_refused() -> None:
    from pyperf_infer.errors import UsageError

    samples = _core.Samples()
    target: _core.CallableTarget = _core.CallableTarget(lambda: _core.run_batched(target, 1))
    with pytest.raises(UsageError, match="the very call that is"):
        _core.run_batch(target, samples, 1)
