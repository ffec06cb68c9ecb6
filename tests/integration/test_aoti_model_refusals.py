# SPDX-License-Identifier: Apache-2.0
"""Compiled models with what does not fit: inputs, packages, options and installations."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aoti_archives import model_files, write_archive
from aoti_packages import CHECK_INPUTS, Compiled, assert_same, compiled, nothing_left

from pyperf_infer import aoti_model, timers
from pyperf_infer.aoti_model import AotiModel
from pyperf_infer.errors import BackendError, InputError, MeasurementError, UsageError

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


# ---- inputs that do not fit


X = torch.zeros(2, 8)
REFUSED: dict[str, tuple[Callable[[], tuple[Any, ...]], str]] = {
    "too few": (lambda: (), r"takes 1 inputs \(\w+\), and 0 were given"),
    "too many": (lambda: (X, X), r"takes 1 inputs \(\w+\), and 2 were given"),
    "nothing": (lambda: (None,), r"input 0 \(\w+\) takes a tensor of torch or an array.*NoneType was given"),
    "a list": (lambda: ([[0.0] * 8] * 2,), "and list was given"),
    "strings": (lambda: (np.array(["a"]),), "takes what torch has a type for, and the array is of <U1"),
    "objects": (lambda: (np.array([None]),), "the array is of object"),
    "a gradient": (lambda: (X.clone().requires_grad_(),), r"input 0 \(\w+\) wants a gradient.*pass tensor\.detach\(\)"),
    "a parameter": (lambda: (torch.nn.Parameter(X),), "wants a gradient"),
    "sparse": (lambda: (X.to_sparse(),), "takes a dense tensor, and one of layout sparse_coo was given"),
    "mkldnn": (lambda: (X.to_mkldnn(),), "takes a dense tensor, and one of layout _mkldnn was given"),
    "nested": (lambda: (torch.nested.nested_tensor([X, X]),), "takes a dense tensor, and a nested one was given"),
    "quantized": (lambda: (torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),), "and a quantized one was given"),
    "conjugated": (lambda: (torch.zeros(2, 8, dtype=torch.complex64).conj(),), "a view that negates or conjugates"),
    "on no device": (lambda: (torch.zeros(2, 8, device="meta"),), "is on meta, and the model is on cpu; pass"),
    "8 bits": (lambda: (X.to(torch.float8_e4m3fn),), r"input 0 \(\w+\): .*'float8_e4m3fn' cannot be bound"),
    "batch": (lambda: (torch.zeros(3, 8),), r"input 0 \(\w+\): unmatched dim.* 0, expected: 2, but got: 3 .*\[3, 8\]"),
    "width": (lambda: (torch.zeros(2, 9),), "unmatched dim value at 1, expected: 8, but got: 9"),
    "type": (lambda: (X.double(),), r"unmatched dtype.*float64 \[2, 8\] with strides \[8, 1\]"),
    "strides": (lambda: (torch.zeros(8, 2).t(),), "unmatched stride value at 0, expected: 8, but got: 1"),
    "rank": (lambda: (torch.zeros(16),), "cannot run with these inputs"),
    "array": (lambda: (np.zeros((3, 8), np.float32),), "unmatched dim value at 0, expected: 2, but got: 3"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_are_refused(
    mlp: AotiModel, perceptron: Compiled, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """By name, with nothing on the terminal; and those that are bound stay bound."""
    make, reason = REFUSED[name]
    (x,) = perceptron.inputs()
    mlp.bind(x)
    with pytest.raises(InputError, match=reason):
        mlp.bind(*make())
    assert capfd.readouterr().err == ""
    assert_same(mlp.run(), perceptron.eager(x))


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
    assert_same(model.run(tokens, features), serving.eager(tokens, features))


def test_what_is_timed_does_not_look(mlp: AotiModel, perceptron: Compiled) -> None:
    """Only the copy has been told to: a batch that is too large goes unnoticed without `check`, before and after."""
    (x,) = perceptron.inputs()
    wanted = perceptron.eager(x)[0].numpy()
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
    assert_same(model.run(tokens, features), serving.eager(tokens, features))


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
