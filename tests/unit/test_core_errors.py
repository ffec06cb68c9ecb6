# SPDX-License-Identifier: Apache-2.0
"""Typed native exceptions arrive as pyperf_infer.errors, and nothing handed in from Python crashes the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import save_scale_model

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError, OutOfMemoryError, PyperfInferError, UsageError
from pyperf_infer.ort_session import find_library

HUGE = 2**62


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_samples": 0},
        {"max_samples": 5},
        {"min_duration_ns": -1},
        {"max_duration_ns": 1},
        {"relative_half_width": 0.0},
        {"relative_half_width": float("nan")},
        {"confidence": 1.0},
        {"clock_step_ns": -1},
    ],
)
def test_stop_plans_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        _core.StopPlan(**wrong)


@pytest.mark.parametrize("wrong", [{"min_block_calls": 0}, {"min_rounds": 0}, {"max_jitter_ns": -1}])
def test_schedule_plans_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        _core.SchedulePlan(**wrong)


def test_usage_errors_of_the_loop() -> None:
    target, samples = _core.NoopTarget(), _core.Samples()
    with pytest.raises(UsageError, match="at least one call"):
        _core.run_batch(target, samples, 0)
    with pytest.raises(UsageError, match="at least one call"):
        _core.run_batched(target, -1)
    with pytest.raises(UsageError, match="'speed' is unknown"):
        _core.measure(target, _core.StopPlan(), samples, mode="speed")
    with pytest.raises(UsageError, match="negative"):
        _core.warm_up(target, budget_ns=-1)
    with pytest.raises(UsageError, match="at least two"):
        _core.interleave([target], _core.SchedulePlan(), [samples])
    with pytest.raises(UsageError, match="one Samples for each"):
        _core.interleave([target, _core.NoopTarget()], _core.SchedulePlan(), [samples])
    with pytest.raises(UsageError, match="in use already"):
        _core.interleave([target, _core.NoopTarget()], _core.SchedulePlan(), [samples, samples])


def test_usage_errors_of_the_statistics() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        _core.quantile_ranks(10, 1.5, 0.95)
    with pytest.raises(UsageError, match="NaN"):
        _core.estimate_quantile([1.0, float("nan")] * 50, 0.5, 0.95)
    with pytest.raises(UsageError, match="at least 1"):
        _core.estimate_quantile([1.0] * 50, 0.5, 0.95, 0.0)
    assert _core.estimate_quantile([], 0.5, 0.95) is None
    assert _core.quantile_ranks(6, 0.5, 0.95) == (1, 6)


def test_none_among_the_targets_is_a_type_error() -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="None"):
        _core.interleave([_core.NoopTarget(), nothing], _core.SchedulePlan(), [_core.Samples(), _core.Samples()])
    with pytest.raises(TypeError, match="None"):
        _core.interleave([_core.NoopTarget(), _core.NoopTarget()], _core.SchedulePlan(), [nothing, nothing])
    with pytest.raises(TypeError):
        _core.run_batch(nothing, _core.Samples(), 1)
    with pytest.raises(TypeError):
        _core.OrtTarget(nothing)


def test_more_samples_than_there_is_memory_for() -> None:
    samples = _core.Samples()
    with pytest.raises(OutOfMemoryError):
        _core.run_batch(_core.NoopTarget(), samples, HUGE)
    _core.run_batch(_core.NoopTarget(), samples, 10)  # still good
    assert len(samples) == 10


def test_a_library_that_is_not_there_or_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="does not load"):
        _core.load_ort(str(tmp_path / "libonnxruntime.so"))
    with pytest.raises(BackendError, match="OrtGetApiBase"):
        _core.load_ort(_core.__file__)


def test_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    library = str(find_library())
    with pytest.raises(InputError):
        _core.OrtSession(library, str(tmp_path / "missing.onnx"), _core.OrtSessionOptions())
    (tmp_path / "text.onnx").write_text("no model at all")
    with pytest.raises(InputError):
        _core.OrtSession(library, str(tmp_path / "text.onnx"), _core.OrtSessionOptions())
    options = _core.OrtSessionOptions()
    options.provider = "NoSuchExecutionProvider"
    with pytest.raises(BackendError):
        _core.OrtSession(library, str(save_scale_model(tmp_path / "scale.onnx")), options)


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    model = save_scale_model(tmp_path / "scale.onnx")
    target = _core.OrtTarget(_core.OrtSession(str(find_library()), str(model), _core.OrtSessionOptions()))
    fitting = np.ones((2, 4), dtype=np.float32)
    unfitting: list[tuple[str, Any]] = [
        ("z", fitting),
        ("x", fitting.astype(np.float64)),
        ("x", fitting[:, :3]),
        ("x", np.ones((2, 8), dtype=np.float32)[:, ::2]),
        ("x", np.ones(4, dtype=np.float32)),
    ]
    for name, array in unfitting:
        with pytest.raises(InputError):
            target.bind_input(name, array)
    with pytest.raises(PyperfInferError):
        target.bind_outputs()  # nothing bound yet
    target.bind_input("x", fitting)
    target.bind_outputs()
    target.run()
    [(name, dtype, shape, data)] = target.outputs()
    assert (name, dtype, shape) == ("y", "float32", [2, 4])
    np.testing.assert_array_equal(np.frombuffer(data, np.float32).reshape(2, 4), fitting * 3)
