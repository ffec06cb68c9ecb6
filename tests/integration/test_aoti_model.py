# SPDX-License-Identifier: Apache-2.0
"""Compiled models as a script uses them: against eager PyTorch, in the native loop, and with what does not fit."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from aoti_archives import model_files, write_archive
from aoti_packages import Compiled, compiled

from pyperf_infer import aoti_model, timers
from pyperf_infer.aoti_model import AotiModel, several_streams
from pyperf_infer.errors import BackendError, InputError, MeasurementError, PyperfInferError, UsageError

QUICK: dict[str, Any] = {"duration": 0.01, "max_duration": 0.1, "warmup": 0.05}
CHECK_INPUTS = "AOTI_RUNTIME_CHECK_INPUTS"


@pytest.fixture(scope="module")
def serving() -> Compiled:
    return compiled("serving")


@pytest.fixture(scope="module")
def perceptron() -> Compiled:
    return compiled("perceptron")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages are unpacked; nothing stays there, and the process is as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv(CHECK_INPUTS, raising=False)
    error_output = os.fstat(2)
    yield folder
    if any(folder.iterdir()):
        gc.collect()
    assert list(folder.iterdir()) == []
    assert CHECK_INPUTS not in os.environ
    assert os.path.samestat(os.fstat(2), error_output)


@pytest.fixture
def mlp(perceptron: Compiled) -> Iterator[AotiModel]:
    model = AotiModel(perceptron.path)
    yield model
    model.close()


def eager(package: Compiled, *inputs: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(package.module(*inputs))


def assert_same(outputs: list[Any], wanted: list[torch.Tensor]) -> None:
    for output, tensor in zip(outputs, wanted, strict=True):
        assert output.dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert output.shape == tuple(tensor.shape)
        values = output.astype(np.float32) if output.dtype == ml_dtypes.bfloat16 else output
        expected = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-5, atol=1e-5)


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
        assert_same(model.run(*inputs), eager(package, *inputs))
    model.close()


def test_a_batch_that_was_left_open_can_change(serving: Compiled) -> None:
    model = AotiModel(serving.path)
    for batch in (2, 7, 64, 2):
        inputs = serving.inputs(batch, seed=batch)
        assert_same(model.run(*inputs), eager(serving, *inputs))


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
    assert_same(mlp.run(), eager(perceptron, x))


def test_arrays_are_copied(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs(seed=1)
    array = x.numpy().copy()
    mlp.bind(array)
    array[:] = 0
    assert_same(mlp.run(), eager(perceptron, x))


@pytest.mark.parametrize(
    "change",
    [lambda x: x.astype(">f4"), lambda x: x[::-1].copy()[::-1], lambda x: np.broadcast_to(x, (1, 2, 8))[0]],
    ids=["big endian", "negative strides", "read-only"],
)
@pytest.mark.filterwarnings("error")
def test_arrays_of_any_make(mlp: AotiModel, perceptron: Compiled, change: Callable[[Any], Any]) -> None:
    (x,) = perceptron.inputs()
    assert_same(mlp.run(change(x.numpy())), eager(perceptron, x))


def test_bound_tensors_are_kept_alive_until_others_are_bound(mlp: AotiModel, perceptron: Compiled) -> None:
    (x,) = perceptron.inputs()
    wanted = eager(perceptron, x)
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
        assert_same(model.run(), eager(package, *given))
    others[1].close()
    assert_same(others[2].run(), eager(perceptron, *inputs[2]))


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
    assert_same(mlp.run(), eager(perceptron, x))


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


# ---- inputs that do not fit


X = torch.zeros(2, 8)
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "too few": ((), r"takes 1 inputs \(\w+\), and 0 were given"),
    "too many": ((X, X), r"takes 1 inputs \(\w+\), and 2 were given"),
    "nothing": ((None,), r"input 0 \(\w+\) takes a tensor of torch or an array of NumPy, and NoneType was given"),
    "a list": (([[0.0] * 8] * 2,), "and list was given"),
    "strings": ((np.array(["a"]),), "takes what torch has a type for, and the array is of <U1"),
    "objects": ((np.array([None]),), "the array is of object"),
    "a gradient": ((X.clone().requires_grad_(),), r"input 0 \(\w+\) wants a gradient.*pass tensor\.detach\(\)"),
    "a parameter": ((torch.nn.Parameter(X),), "wants a gradient"),
    "sparse": ((X.to_sparse(),), r"takes a dense tensor, and a sparse one \(sparse_coo\) was given"),
    "mkldnn": ((X.to_mkldnn(),), r"a sparse one \(_mkldnn\)|takes a dense tensor"),
    "nested": ((torch.nested.nested_tensor([X, X]),), "takes a dense tensor, and a nested one was given"),
    "quantized": ((torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),), "and a quantized one was given"),
    "conjugated": ((torch.zeros(2, 8, dtype=torch.complex64).conj(),), "a view that negates or conjugates"),
    "on no device": ((torch.zeros(2, 8, device="meta"),), r"is on meta, and the model is on cpu; pass tensor\.to"),
    "8 bits": ((X.to(torch.float8_e4m3fn),), r"input 0 \(\w+\): a tensor of type 'float8_e4m3fn' cannot be bound"),
    "batch": ((torch.zeros(3, 8),), r"input 0 \(\w+\): unmatched dim value at 0, expected: 2, but got: 3 .*\[3, 8\]"),
    "width": ((torch.zeros(2, 9),), "unmatched dim value at 1, expected: 8, but got: 9"),
    "type": ((X.double(),), r"unmatched dtype.*float64 \[2, 8\] with strides \[8, 1\]"),
    "strides": ((torch.zeros(8, 2).t(),), "unmatched stride value at 0, expected: 8, but got: 1"),
    "rank": ((torch.zeros(16),), "cannot run with these inputs"),
    "array": ((np.zeros((3, 8), np.float32),), "unmatched dim value at 0, expected: 2, but got: 3"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_are_refused(
    mlp: AotiModel, perceptron: Compiled, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """By name, with nothing on the terminal; and those that are bound stay bound."""
    given, reason = REFUSED[name]
    (x,) = perceptron.inputs()
    mlp.bind(x)
    with pytest.raises(InputError, match=reason):
        mlp.bind(*given)
    assert capfd.readouterr().err == ""
    assert_same(mlp.run(), eager(perceptron, x))


@pytest.mark.parametrize("batch", [1, 65])
def test_a_batch_beyond_what_was_compiled_for(serving: Compiled, batch: int) -> None:
    model = AotiModel(serving.path)
    with pytest.raises(InputError, match=r"dim value is too (small|large) at 0, expected .*(>= 2|<= 64)"):
        model.run(*serving.inputs(batch))


def test_batches_that_differ_between_inputs(serving: Compiled) -> None:
    model = AotiModel(serving.path)
    tokens, features = serving.inputs(5)
    with pytest.raises(InputError, match=r"expected size|compares them"):
        model.run(tokens, features[:4])


def test_batches_that_the_code_of_an_older_torch_does_not_compare(serving: Compiled, tmp_path: Path) -> None:
    """Where one size is right, the same for all is taken; another is refused rather than read past an input's end."""
    path = tmp_path / "older.pt2"
    with zipfile.ZipFile(serving.path) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith(".wrapper.cpp"):
                content = content.replace(b"assert_size_stride", b"nothing")
            target.writestr(info.filename, content)
    model = AotiModel(path)
    tokens, features = serving.inputs(5)
    with pytest.raises(InputError, match=r"open sizes in several places.*or pass check=False"):
        model.run(tokens, features[:4])
    assert_same(model.run(tokens, features), eager(serving, tokens, features))


def test_what_is_timed_does_not_look(mlp: AotiModel, perceptron: Compiled) -> None:
    """Only the copy has been told to: a batch that is too large goes unnoticed without `check`, before and after."""
    (x,) = perceptron.inputs()
    wanted = eager(perceptron, x)[0].numpy()
    larger = torch.cat([x, x])
    unchecked = AotiModel(perceptron.path, check=False)
    np.testing.assert_allclose(unchecked.run(larger)[0][:2], wanted, rtol=1e-5)
    mlp.run(x)
    mlp._check = False
    np.testing.assert_allclose(mlp.run(larger)[0][:2], wanted, rtol=1e-5)


def test_only_what_is_new_is_checked(serving: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AotiModel(serving.path)
    tried: list[int] = []
    real = model._try_out

    def counted(natives: Any, layouts: Any) -> None:
        tried.append(layouts[0].shape[0])
        real(natives, layouts)

    monkeypatch.setattr(model, "_try_out", counted)
    for batch in (2, 2, 3, 2, 3, 4):
        model.bind(*serving.inputs(batch))
    assert tried == [2, 3, 4]
    model.close()


def test_a_variable_of_the_callers_is_put_back(
    mlp: AotiModel, perceptron: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECK_INPUTS, "0")
    mlp.bind(*perceptron.inputs())
    with pytest.raises(InputError):
        mlp.bind(torch.zeros(3, 8))
    assert os.environ.pop(CHECK_INPUTS) == "0"


def test_a_model_that_fails_as_it_runs(serving: Compiled) -> None:
    """A token that the table does not have: found by the check, and after it by the run."""
    model = AotiModel(serving.path)
    tokens, features = serving.inputs()
    with pytest.raises(InputError, match="cannot run with these inputs: index out of bounds"):
        model.bind(tokens + 100, features)
    model.bind(tokens, features)
    with pytest.raises(MeasurementError, match="index out of bounds"):
        model.run(tokens + 100, features)
    with pytest.raises(MeasurementError):
        timers.measure(model, **QUICK)
    assert_same(model.run(tokens, features), eager(serving, tokens, features))


def test_what_others_write_meanwhile_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with aoti_model._standard_error() as lines:
        os.write(2, b"a warning\n")
    assert capfd.readouterr().err == "a warning\n"
    assert lines == []


def test_a_process_without_standard_error() -> None:
    program = (
        "from pyperf_infer import aoti_model\n"
        "with aoti_model._standard_error() as lines: pass\n"
        "print(lines, end='')"
    )  # fmt: skip
    closed = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-P", "-c", program]
    done = subprocess.run(closed, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "[]"


# ---- packages and options that cannot be used


def test_operators_of_the_proxy_executor_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"calls aten::\w*unique\w* through PyTorch's proxy executor"):
        AotiModel(compiled("proxied").path)


def test_a_model_for_another_device(perceptron: Compiled, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is compiled for device cpu, and cuda:1 was asked for"):
        AotiModel(perceptron.path, device="cuda:1")
    path = write_archive(tmp_path / "gpu.pt2", {"model": model_files(facts={"AOTI_DEVICE_KEY": "cuda"})})
    with pytest.raises(InputError, match="is compiled for device cuda, and cpu was asked for"):
        AotiModel(path)


def test_a_model_of_another_name(perceptron: Compiled) -> None:
    with pytest.raises(InputError, match="has no model 'decoder'; it has 'model'"):
        AotiModel(perceptron.path, model_name="decoder")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stream": object()}, "a model on the CPU takes no stream and has no transfers"),
        ({"include_transfers": True}, "a model on the CPU takes no stream and has no transfers"),
        ({"device": "tpu"}, "'tpu' is no device"),
        ({"timeout": -1.0}, "timeout is a number of seconds"),
    ],
)
def test_options_that_contradict(perceptron: Compiled, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        AotiModel(perceptron.path, **options)


def test_what_is_no_library(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "odd.pt2", {"model": model_files()})
    with pytest.raises(BackendError, match="does not load"):
        AotiModel(path)


def test_a_library_that_calls_what_this_torch_has_not(tmp_path: Path) -> None:
    source, library = tmp_path / "newer.cpp", tmp_path / "newer.so"
    source.write_text('extern "C" void aoti_torch_of_the_future(); extern "C" void f() { aoti_torch_of_the_future(); }')
    subprocess.run([os.environ.get("CXX", "c++"), "-shared", "-fPIC", source, "-o", library], check=True)
    path = write_archive(tmp_path / "newer.pt2", {"model": model_files(library=library.read_bytes())})
    with pytest.raises(BackendError, match=r"compiled with another torch than the installed one.*of_the_future"):
        AotiModel(path)


def test_a_folder_that_nothing_may_be_run_from() -> None:
    told = BackendError("x.so: failed to map segment from shared object")
    explained = aoti_model._explained("tiny.pt2", told)
    assert isinstance(explained, InputError)
    assert "set TMPDIR to a folder on another file system" in str(explained)


@pytest.mark.parametrize(("version", "named"), [("2.8.1", "2.8.1"), ("1.13.0+cpu", "1.13.0"), ("unknown", "unknown")])
def test_an_older_torch(perceptron: Compiled, monkeypatch: pytest.MonkeyPatch, version: str, named: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(BackendError, match=f"torch is {named}.*need 2.9 or newer; pip install -U torch"):
        AotiModel(perceptron.path)


@pytest.mark.parametrize("version", ["2.9.0", "2.10.0a0+git1", "2.15.0+cu130", "3.0.0"])
def test_newer_torches(perceptron: Compiled, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    AotiModel(perceptron.path, check=False).close()


def test_no_torch(perceptron: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"PyTorch is not installed.*pip install torch"):
        AotiModel(perceptron.path)


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
    assert_same(model.run(*perceptron.inputs()), eager(perceptron, *perceptron.inputs()))


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
    assert_same(mlp.run(*perceptron.inputs()), eager(perceptron, *perceptron.inputs()))


def test_streams_are_a_gpus(mlp: AotiModel, perceptron: Compiled) -> None:
    mlp.bind(*perceptron.inputs())
    with pytest.raises(UsageError, match="runs on the CPU, which has no streams"):
        several_streams([mlp])
    with pytest.raises(UsageError, match="there is no model to run"):
        several_streams([])
