# SPDX-License-Identifier: Apache-2.0
"""Compiled models as a script uses them: against eager PyTorch, in the native loop, and when closed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aoti_packages import Compiled, assert_same, compiled, nothing_left

from pyperf_infer import timers
from pyperf_infer.aoti_model import AotiModel, several_streams
from pyperf_infer.errors import InputError, PyperfInferError, UsageError

pytestmark = pytest.mark.xdist_group("compiled packages")  # which a process makes once
QUICK: dict[str, Any] = {"duration": 0.01, "max_duration": 0.1, "warmup": 0.05}


@pytest.fixture(scope="module")
def serving() -> Compiled:
    return compiled("serving")


@pytest.fixture(scope="module")
def perceptron() -> Compiled:
    return compiled("perceptron")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path) -> Iterator[Path]:
    with nothing_left(tmp_path / "temporary") as folder:
        yield folder


@pytest.fixture
def mlp(perceptron: Compiled) -> Iterator[AotiModel]:
    model = AotiModel(perceptron.path)
    yield model
    model.close()


# ---- what it computes


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["serving", "perceptron"])
def test_outputs_are_those_of_eager(name: str, check: bool) -> None:
    package = compiled(name)
    model = AotiModel(package.path, check=check)
    assert len(model.inputs) == len(package.inputs())
    assert len(model.outputs) == 3
    for seed in (1, 2):
        inputs = package.inputs(seed=seed)
        assert_same(model.run(*inputs), package.eager(*inputs))
    model.close()


def test_a_batch_that_was_left_open_can_change(serving: Compiled) -> None:
    model = AotiModel(serving.path)
    for batch in (2, 7, 64, 2):
        inputs = serving.inputs(batch, seed=batch)
        assert_same(model.run(*inputs), serving.eager(*inputs))


def test_an_output_keeps_its_strides(mlp: AotiModel, perceptron: Compiled) -> None:
    transposed = mlp.run(*perceptron.inputs())[2]
    assert transposed.strides == (4, 12)
    transposed[:] = 0  # its memory is the caller's
    assert mlp.run()[2].any()


def test_outputs_are_copies(mlp: AotiModel, perceptron: Compiled) -> None:
    first = mlp.run(*perceptron.inputs(seed=1))[0]
    before = first.copy()
    mlp.run(*perceptron.inputs(seed=2))
    np.testing.assert_array_equal(first, before)


def test_tensors_are_used_where_they_are(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs(seed=1)
    mlp.bind(x)
    x.copy_(perceptron.inputs(seed=2)[0])
    assert_same(mlp.run(), perceptron.eager(x))


def test_arrays_are_copied(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs(seed=1)
    array = x.numpy().copy()
    mlp.bind(array)
    array[:] = 0
    assert_same(mlp.run(), perceptron.eager(x))


@pytest.mark.parametrize(
    "change",
    [lambda x: x.astype(">f4"), lambda x: x[::-1].copy()[::-1], lambda x: np.broadcast_to(x, (1, 2, 8))[0]],
    ids=["big endian", "negative strides", "read-only"],
)
@pytest.mark.filterwarnings("error")
def test_arrays_of_any_make(mlp: AotiModel, perceptron: Compiled, change: Callable[[Any], Any]) -> None:
    (x,) = perceptron.inputs()
    assert_same(mlp.run(change(x.numpy())), perceptron.eager(x))


def test_bound_tensors_are_kept_alive_until_others_are_bound(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs()
    wanted = perceptron.eager(x)
    seen = weakref.ref(x)
    mlp.bind(x)
    del x
    gc.collect()
    assert seen() is not None
    assert_same(mlp.run(), wanted)
    mlp.bind(*perceptron.inputs(seed=3))
    gc.collect()
    assert seen() is None


def test_models_do_not_disturb_one_another(serving: Compiled, perceptron: Compiled) -> None:
    """Two packages at once, and one of them twice."""
    others = [AotiModel(serving.path), AotiModel(perceptron.path), AotiModel(perceptron.path)]
    inputs = [serving.inputs(3, seed=1), perceptron.inputs(seed=1), perceptron.inputs(seed=2)]
    for model, given in zip(others, inputs, strict=True):
        model.bind(*given)
    for model, given, package in zip(others, inputs, (serving, perceptron, perceptron), strict=True):
        assert_same(model.run(), package.eager(*given))
    others[1].close()
    assert_same(others[2].run(), perceptron.eager(*inputs[2]))


# ---- in the native loop


@pytest.mark.parametrize("mode", ["latency", "throughput", "cold"])
def test_it_is_measured_without_python(mlp: AotiModel, perceptron: Compiled, mode: Any) -> None:
    mlp.bind(*perceptron.inputs())
    assert not mlp.target.needs_python
    samples = timers.measure(mlp, mode=mode, **QUICK)
    assert len(samples.ns) > 0
    assert (samples.ns > 0).all()


def test_it_is_compared_with_a_callable(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs()
    mlp.bind(x)
    with torch.inference_mode():
        comparison = timers.compare(lambda: perceptron.module(x), mlp, max_duration=0.5)
    assert comparison.ratio > 0
    assert comparison.rounds > 0
    assert_same(mlp.run(), perceptron.eager(x))


def test_times_of_loading_and_of_the_first_run(mlp: AotiModel, perceptron: Compiled) -> None:
    assert mlp.create_ns > 0
    mlp.bind(*perceptron.inputs())
    assert mlp.first_run_ns is None
    mlp.run()
    first = mlp.first_run_ns
    assert first is not None
    assert first > 0
    mlp.run()
    assert mlp.first_run_ns == first


def test_it_is_public() -> None:
    assert timers.AotiModel is AotiModel


# ---- before binding, and after closing


def test_nothing_is_bound_yet(mlp: AotiModel) -> None:
    for use in (lambda: mlp.target, mlp.run, lambda: timers.measure(mlp, **QUICK)):
        with pytest.raises(UsageError, match=r"bind the inputs first: model\.bind\(tensor, \.\.\.\)"):
            use()


def test_a_closed_model(mlp: AotiModel, perceptron: Compiled, temporary: Path) -> None:
    inputs = perceptron.inputs()
    mlp.bind(*inputs)
    target = mlp.target
    mlp.close()
    mlp.close()
    assert list(temporary.iterdir()) == []
    for use in (lambda: mlp.target, mlp.run, lambda: mlp.bind(*inputs), lambda: several_streams([mlp])):
        with pytest.raises(UsageError, match="is closed; load it again"):
            use()
    assert len(timers.measure(target, **QUICK).ns) >= 30  # what has been handed out keeps what it needs


def test_a_model_that_needs_no_file_any_more_keeps_none(perceptron: Compiled, temporary: Path) -> None:
    model = AotiModel(perceptron.path, check=False)
    assert list(temporary.iterdir()) == []
    assert_same(model.run(*perceptron.inputs()), perceptron.eager(*perceptron.inputs()))


def test_a_model_that_is_forgotten_leaves_nothing(perceptron: Compiled, temporary: Path) -> None:
    model = AotiModel(perceptron.path)
    assert len(list(temporary.iterdir())) == 1
    del model
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_full_disk_while_copying_for_the_check(
    mlp: AotiModel, perceptron: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(InputError, match=r"there is no room for .*set TMPDIR"):
            mlp.bind(*perceptron.inputs())
    with pytest.raises(PyperfInferError):  # nothing was bound
        _ = mlp.target
    assert_same(mlp.run(*perceptron.inputs()), perceptron.eager(*perceptron.inputs()))


def test_streams_are_a_gpus(mlp: AotiModel, perceptron: Compiled) -> None:
    mlp.bind(*perceptron.inputs())
    with pytest.raises(UsageError, match="runs on the CPU, which has no streams"):
        several_streams([mlp])
    with pytest.raises(UsageError, match="there is no model to run"):
        several_streams([])
