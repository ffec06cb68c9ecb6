# SPDX-License-Identifier: Apache-2.0
"""Compiled models in the native loop, on the CPU: what goes in and comes out, and whose the handles are."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_aoti import FakeAoti, array, tensor
from fake_cuda import built_library as fake_cuda_library
from holding_the_gil import no_thread_switches, wait_holding_the_gil
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError, MeasurementError, UsageError

RUN = "AOTInductorModelContainerRun"
X = np.arange(6, dtype=np.float32).reshape(2, 3)
NUMPY_TYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
               "float64", "complex64", "complex128"]  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeAoti]:
    gc.collect()  # of what another test may have left
    with FakeAoti.loaded() as fake:
        before = fake.count("handles")
        yield fake
        gc.collect()
        assert (fake.count("handles"), fake.count("misused")) == (before, 0)


def _run_batch(target: _core.Target, count: int) -> _core.Samples:
    samples = _core.Samples()
    _core.run_batch(target, samples, count)
    return samples


# ---- what goes in and comes out


def test_outputs_are_those_of_the_inputs(fake: FakeAoti) -> None:
    fake.set(outputs=3)
    other = np.arange(4, dtype=np.int64)
    target = fake.target(X, other)
    outputs = target.outputs()
    assert [(name, dtype, shape) for name, dtype, shape, _, _ in outputs] == [
        ("y0", "float32", [2, 3]), ("y1", "int64", [4]), ("y2", "float32", [2, 3]),
    ]  # fmt: skip
    for output, wanted in zip(outputs, (X, other, X), strict=True):
        np.testing.assert_array_equal(array(output), wanted)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_types_come_out_as_they_went_in(fake: FakeAoti, dtype: str) -> None:
    values = np.arange(4).astype(dtype)
    (output,) = fake.target(values).outputs()
    assert output[1] == dtype
    np.testing.assert_array_equal(array(output), values)


def test_bfloat16_goes_by_its_name(fake: FakeAoti) -> None:
    bits = np.arange(4, dtype=np.uint16)
    target = _core.AotiTarget(fake.model())
    target.bind(
        [
            _core.AotiTensor(
                data=bits.ctypes.data, shape=[4], strides=[1], dtype="bfloat16", device_index=None, keep=bits
            )
        ]
    )
    (output,) = target.outputs()
    assert output[1] == "bfloat16"
    assert output[4] == bits.tobytes()


def test_inputs_are_read_where_they_are(fake: FakeAoti) -> None:
    values = X.copy()
    target = fake.target(values)
    values[:] = 7
    np.testing.assert_array_equal(array(target.outputs()[0]), values)


@given(shape=st.lists(st.integers(0, 4), max_size=4), data=st.data())
def test_any_strides_are_kept_with_all_that_they_reach(shape: list[int], data: st.DataObject) -> None:
    """Permuted, sliced, repeated by a stride of 0, empty, of no dimension."""
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.integers(1, 2)) for _ in shape]
    large = np.arange(np.prod([size * step for size, step in zip(shape, steps, strict=True)]), dtype=np.float32)
    values: np.ndarray[Any, Any] = large.reshape([size * step for size, step in zip(shape, steps, strict=True)])
    values = values[(*(slice(None, None, step) for step in steps), ...)].transpose(order)
    if data.draw(st.booleans()):
        values = np.broadcast_to(values, (3, *values.shape))
    with FakeAoti.loaded() as fake:
        (output,) = fake.target(values).outputs()
        assert output[2] == list(values.shape)
        np.testing.assert_array_equal(array(output), values)


def test_outputs_may_lie_inside_of_their_memory_and_in_any_order(fake: FakeAoti) -> None:
    fake.set(offset=5, reversed=1)
    np.testing.assert_array_equal(array(fake.target(X).outputs()[0]), X.T)


def test_the_memory_of_inputs_is_kept_until_others_are_bound(fake: FakeAoti) -> None:
    class Owner:
        pass

    owner = Owner()
    alive = weakref.ref(owner)
    target = _core.AotiTarget(fake.model())
    values = X.copy()
    target.bind([tensor(values, keep=owner)])
    del owner
    gc.collect()
    with pytest.raises(InputError):
        target.bind([])
    assert alive() is not None
    target.bind([tensor(values)])
    assert alive() is None


def test_a_model_without_inputs_runs(fake: FakeAoti) -> None:
    fake.set(outputs=0)
    target = fake.target()
    target.run()
    assert target.outputs() == []
    assert len(_run_batch(target, 3)) == 3


# ---- handles


def test_every_run_takes_a_handle_of_its_own_and_no_output_stays(fake: FakeAoti) -> None:
    fake.set(outputs=2)
    target = fake.target(X)
    fake.log()
    _run_batch(target, 3)
    # One handle before the first call, then in each the run, its two outputs deleted, and the handle for the next.
    assert fake.log_lines() == ["new_tensor_handle"] + 3 * [
        "Run", "delete_tensor_object", "delete_tensor_object", "new_tensor_handle",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["latency", "throughput", "cold"])
def test_no_mode_leaves_handles_behind(fake: FakeAoti, mode: str) -> None:
    target = fake.target(X)
    target.run()
    before = fake.count("handles")
    samples = _core.Samples()
    plan = _core.StopPlan(min_duration_ns=1, max_duration_ns=20_000_000, max_samples=100)
    flush = _core.CacheFlush([(min(os.sched_getaffinity(0)), 4_096)])
    _core.measure(target, plan, samples, mode=mode, flush=flush)
    assert len(samples) > 1
    assert fake.count("handles") == before


def test_an_output_that_is_returned_twice_is_deleted_once(fake: FakeAoti) -> None:
    fake.set(outputs=3, repeated=1)
    target = fake.target(X)
    for output in target.outputs():
        np.testing.assert_array_equal(array(output), X)
    fake.log()
    assert len(_run_batch(target, 2)) == 2
    assert fake.log_lines().count("delete_tensor_object") == 2


def test_a_target_that_goes_deletes_all_that_it_has(fake: FakeAoti) -> None:
    before = fake.count("handles")
    target = fake.target(X, X)
    target.run()
    assert fake.count("handles") > before
    del target
    gc.collect()
    assert fake.count("handles") == before
    assert fake.count("containers") == 0


def test_after_a_run_that_failed_the_next_has_new_handles(fake: FakeAoti) -> None:
    """Of a run that fails its inputs are gone, and nobody deletes them a second time."""
    target = fake.target(X)
    for nth in (1, 3):
        fake.fail(RUN, nth)
        samples = _core.Samples()
        with pytest.raises(MeasurementError, match=rf"failed in {RUN}: {RUN} failed as it was told to"):
            _core.run_batch(target, samples, 5)
        assert len(samples) == nth - 1
        assert len(_run_batch(target, 5)) == 5
    np.testing.assert_array_equal(array(target.outputs()[0]), X)


def test_a_failing_run_that_left_its_inputs_costs_a_handle_and_no_crash() -> None:
    with FakeAoti.loaded() as fake:
        target = fake.target(X)
        target.run()
        before = fake.count("handles")
        fake.set(keeps_inputs=1)
        fake.fail(RUN)
        with pytest.raises(MeasurementError):
            target.run()
        target.run()
        assert fake.count("handles") == before + 1
        assert fake.count("misused") == 0


@pytest.mark.parametrize("nth", [1, 2])
def test_handles_that_cannot_be_made_are_made_at_the_next_time(fake: FakeAoti, nth: int) -> None:
    target = fake.target(X, X)
    fake.fail("aoti_torch_new_tensor_handle", nth)
    with pytest.raises(MeasurementError, match="refused aoti_torch_new_tensor_handle"):
        target.run()
    target.run()


# ---- gradients and the GIL


@pytest.mark.parametrize("before", [True, False])
def test_a_batch_has_no_gradients_and_leaves_the_mode_as_it_was(fake: FakeAoti, before: bool) -> None:
    target = fake.target(X)
    fake.set_grad_mode(before)
    try:
        fake.log()
        _run_batch(target, 2)
        target.run()
        target.outputs()
        assert [line for line in fake.log_lines() if line.startswith("Run")] == ["Run"] * 4
        assert fake.grad_mode() is before
        fake.fail(RUN)
        with pytest.raises(MeasurementError):
            _run_batch(target, 2)
        assert fake.grad_mode() is before
    finally:
        fake.set_grad_mode(True)


def test_a_batch_goes_on_while_another_thread_holds_the_gil(fake: FakeAoti) -> None:
    target = fake.target(X)
    assert not target.needs_python
    for calls in (20_000, 200_000):
        samples = _core.Samples()
        worker = threading.Thread(target=_core.run_batch, args=(target, samples, calls))
        with no_thread_switches():
            worker.start()
            under_way = len(samples) == 0
            finished = wait_holding_the_gil(lambda: len(samples) > 0, 60.0)  # noqa: B023 - called here only
        worker.join()
        if under_way:
            break
    assert under_way
    assert finished


# ---- refusals


def test_a_library_that_is_no_compiled_model_is_named_with_what_it_lacks(fake: FakeAoti) -> None:
    other = str(fake_cuda_library())
    with pytest.raises(
        BackendError, match=rf"{other} is no model .* torch 2.9 or newer .* no AOTInductorModelContainer"
    ):
        _core.AotiModel(other, str(fake.path))


def test_a_library_that_does_not_load_is_named_with_the_loaders_reason(fake: FakeAoti, tmp_path: Path) -> None:
    broken = tmp_path / "model.so"
    broken.write_bytes(b"no library")
    with pytest.raises(BackendError, match=r"model\.so does not load: .*(file too short|invalid ELF header)"):
        _core.AotiModel(str(broken), str(fake.path))
    with pytest.raises(BackendError, match=r"none\.so does not load: .*No such file"):
        _core.AotiModel(str(tmp_path / "none.so"), str(fake.path))


def test_a_torch_that_is_not_loaded_or_too_old_is_refused_with_what_to_do(fake: FakeAoti, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is not loaded in this process; import torch"):
        _core.AotiModel(str(fake.path), str(tmp_path / "libtorch_cpu.so"))
    loaded = Path(_core.__file__)
    with pytest.raises(BackendError, match=r"has no function aoti_torch_\w+, .*torch 2\.9 or newer"):
        _core.AotiModel(str(fake.path), str(loaded))


@pytest.mark.parametrize("call", ["CreateWithDevice", "GetNumInputs", "GetInputName", "GetNumOutputs", "GetOutputName"])
@pytest.mark.parametrize("silent", [0, 1])
def test_a_container_that_cannot_be_made_leaves_nothing(fake: FakeAoti, call: str, silent: int) -> None:
    fake.set(silent=silent)
    fake.fail(f"AOTInductorModelContainer{call}")
    reason = "has written why to standard error" if silent else "failed as it was told to"
    with pytest.raises(
        MeasurementError, match=f"the compiled model failed in AOTInductorModelContainer{call}: .*{reason}"
    ):
        fake.model()
    assert fake.count("containers") == 0


def test_before_inputs_are_bound_nothing_runs(fake: FakeAoti) -> None:
    target = _core.AotiTarget(fake.model())
    fake.log()
    for use in (target.run, target.outputs, lambda: _run_batch(target, 1)):
        with pytest.raises(UsageError, match="bind them first"):
            use()
    assert fake.log_lines() == []


def test_a_wrong_number_of_inputs_is_refused_by_name_and_the_old_ones_stay(fake: FakeAoti) -> None:
    target = fake.target(X, X)
    for inputs in ([], [tensor(X)], [tensor(X)] * 3):
        with pytest.raises(InputError, match=rf"has 2 inputs \(x0, x1\), and {len(inputs)} were given"):
            target.bind(inputs)
    with pytest.raises(InputError, match="an input is None"):
        target.bind([tensor(X), None])  # type: ignore[list-item]
    np.testing.assert_array_equal(array(target.outputs()[0]), X)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_tensor_that_libtorch_refuses_leaves_the_old_ones(fake: FakeAoti, nth: int) -> None:
    target = fake.target(X, X)
    fake.fail("aoti_torch_create_tensor_from_blob_v2", nth)
    with pytest.raises(MeasurementError, match="refused aoti_torch_create_tensor_from_blob_v2"):
        target.bind([tensor(X + 1), tensor(X + 1)])
    np.testing.assert_array_equal(array(target.outputs()[0]), X)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strides": [1]}, "2 dimensions has as many strides, and 1 were given"),
        ({"shape": [-1, 3]}, "negative"),
        ({"strides": [-3, 1]}, "negative"),
        ({"device_index": -1}, "number of a GPU is negative"),
        ({"dtype": "float8"}, "type 'float8' cannot be bound"),
        ({"data": 0}, "address 0"),
        ({"shape": [2**62, 2**62], "strides": [2**62, 1]}, "further than memory"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(wrong: dict[str, Any], message: str) -> None:
    right = {"data": X.ctypes.data, "shape": [2, 3], "strides": [3, 1], "dtype": "float32", "device_index": None}
    with pytest.raises(InputError, match=message):
        _core.AotiTensor(**{**right, **wrong}, keep=X)


@pytest.mark.parametrize(
    ("switch", "message"),
    [("null_outputs", "output 'y0' .* is no tensor"), ("odd_dtype", "output 'y0' .* \\(number 199 of libtorch's")],
)
def test_an_output_that_cannot_be_read_is_named(fake: FakeAoti, switch: str, message: str) -> None:
    target = fake.target(X)
    fake.set(**{switch: 1})
    with pytest.raises(MeasurementError, match=message):
        target.outputs()
    target.run()  # it can be timed all the same
    assert len(_run_batch(target, 2)) == 2
