# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU in float16, which runs through Casts, and in bfloat16, for which it has hardly a kernel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx_cases
import pytest
import torch
from command_line import QUICK, run_command
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_models import X, loaded

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.casts import casts_in_profile
from pyperf_infer.backends.onnx_types import float_types, operators_without_bfloat16
from pyperf_infer.backends.onnxruntime import OnnxRuntime
from pyperf_infer.convert.cache_folder import ENVIRONMENT_VARIABLE
from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.models.catalog import resolve
from pyperf_infer.ort_session import CPU_PROVIDER

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

SHAPES = {"x": (2, 4)}


def _gemm(path: Path, element: int, dtype: Any) -> Path:
    """y = Relu(Gemm(x, weight)), x, weight and y of one type."""
    nodes = [
        helper.make_node("Gemm", ["x", "weight"], ["z"], name="gemm"),
        helper.make_node("Relu", ["z"], ["y"], name="relu"),
    ]
    weight = numpy_helper.from_array(np.eye(4).astype(dtype), "weight")
    shape = ("batch", 4)
    return onnx_cases.save(
        path, nodes, [onnx_cases.value("x", shape, element)], [onnx_cases.value("y", shape, element)], [weight]
    )


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return _gemm(tmp_path / "half.onnx", TensorProto.FLOAT16, np.float16)


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    return _gemm(tmp_path / "brain.onnx", TensorProto.BFLOAT16, ml_dtypes.bfloat16)


def _load(path: Path) -> LoadedModel:
    return resolve(str(path)).load(seed=1)


def _backend(precision: str = "float32", **asked: Any) -> OnnxRuntime:
    return OnnxRuntime(BackendOptions(threads=1, precision=precision, **asked))


def test_what_runs_between_casts_is_counted_by_operator(half: Path) -> None:
    model, backend = _load(half), _backend("float16")
    backend.convert(model, SHAPES)
    prepared = backend.prepare(model, {"x": np.array([[-1, 0, 1, 2]] * 2, np.float16)})
    assert prepared.facts.settings["float_types"] == "float16"
    said = str(prepared.facts.settings["casts"])
    assert "kernels in float32 (" in said
    assert "Gemm 1" in said
    assert "between 2 inserted Casts" in said
    np.testing.assert_array_equal(prepared.outputs()["y"], np.array([[0, 0, 1, 2]] * 2, np.float16))


def test_a_float32_model_is_not_looked_at_for_casts(tmp_path: Path) -> None:
    model, backend = _load(_gemm(tmp_path / "single.onnx", TensorProto.FLOAT, np.float32)), _backend()
    backend.convert(model, SHAPES)
    assert "casts" not in backend.prepare(model, {"x": np.ones((2, 4), np.float32)}).facts.settings


def test_the_command_warns_of_casts_and_of_a_precision_that_is_not_the_files(half: Path) -> None:
    codes: dict[str, set[str]] = {}
    for precision in ("float32", "float16"):
        arguments = ("run", half.name, "--precision", precision, *QUICK, "--results-format", "json")
        (row,) = run_command(*arguments, cwd=half.parent).document.results
        codes[precision] = {notice.code for notice in row.warnings} & {"casts_inserted", "other_precision"}
        if precision == "float16":
            (notice,) = [notice for notice in row.warnings if notice.code == "casts_inserted"]
            assert "CPUExecutionProvider computes little or nothing in float16" in notice.message
            assert "Gemm 1" in notice.message
    assert codes == {"float32": {"casts_inserted", "other_precision"}, "float16": {"casts_inserted"}}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_bfloat16_file_is_refused_with_the_operators_that_lack_kernels(brain: Path, precision: str) -> None:
    with pytest.raises(BackendError) as refused:
        _backend(precision).convert(_load(brain), SHAPES)
    said = str(refused.value)
    assert "CPUExecutionProvider of ONNX Runtime has no bfloat16 kernels for these operators of " in said
    assert "Gemm (1)" in said
    assert "Relu (1)" in said


def test_a_bfloat16_file_of_operators_that_have_kernels_runs(tmp_path: Path) -> None:
    path = onnx_cases.one_node(tmp_path / "same.onnx", "Identity", element=TensorProto.BFLOAT16)
    model, backend = _load(path), _backend("bfloat16")
    backend.convert(model, SHAPES)
    x = np.arange(8).reshape(2, 4).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(backend.prepare(model, {"x": x}).outputs()["y"], x)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_file_of_other_types_keeps_them(tmp_path: Path, precision: str) -> None:
    path = _gemm(tmp_path / "single.onnx", TensorProto.FLOAT, np.float32)
    with pytest.raises(InputError, match=f"keeps the element types that it has, and they are not {precision}"):
        _backend(precision).convert(_load(path), SHAPES)


class Multiplies(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ torch.eye(4, dtype=x.dtype)).relu()


class Reshapes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 2, 2).flatten(1)


def test_a_module_in_bfloat16_runs_where_every_operator_has_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    backend = _backend("bfloat16")
    with pytest.raises(BackendError, match=r"operators of multiplies: (MatMul|Gemm|Relu) \(1\)"):
        backend.convert(loaded(Multiplies(), X, name="multiplies"), SHAPES)
    model = loaded(Reshapes(), X, name="reshapes")
    backend.convert(model, SHAPES)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    (output,) = backend.prepare(model, {"x": x}).outputs().values()
    assert output.dtype.name == "bfloat16"
    np.testing.assert_array_equal(output.astype(np.float32), x)


def test_options_of_pytorch_and_of_gpus_are_refused(half: Path) -> None:
    model = _load(half)
    with pytest.raises(UsageError, match="--autocast is PyTorch's"):
        _backend("float16", autocast=True).convert(model, SHAPES)
    with pytest.raises(UsageError, match="tf32 is a mode of NVIDIA's matrix units"):
        _backend("tf32").convert(model, SHAPES)


def test_the_types_of_a_file_are_found_wherever_they_stand(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.FLOAT16),
        helper.make_node("Abs", ["narrow"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["y"], to=TensorProto.FLOAT),
    ]
    shape = ("batch", 4)
    path = onnx_cases.save(
        tmp_path / "mixed.onnx", nodes, [onnx_cases.value("x", shape)], [onnx_cases.value("y", shape)]
    )
    assert float_types(path) == {"float16", "float32"}
    assert operators_without_bfloat16(path, CPU_PROVIDER)["Abs"] == 1
    assert "Cast" not in operators_without_bfloat16(path, CPU_PROVIDER)


def _event(name: str, op_type: str, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    args = {
        "op_name": op_type,
        "input_type_shape": [{name: [1]} for name in inputs],
        "output_type_shape": [{name: [1]} for name in outputs],
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": args}


KERNELS = st.lists(
    st.tuples(st.sampled_from(["Conv", "Gemm", "Resize", "Gather"]), st.sampled_from(["float", "float16", "int64"])),
    min_size=1,
)


@given(KERNELS, st.integers(1, 4), st.integers(1, 3))
def test_every_kernel_counts_once_however_often_it_ran(kernels: list[tuple[str, str]], casts: int, runs: int) -> None:
    once = [_event(f"n{i}", op, [kind, "float"], [kind]) for i, (op, kind) in enumerate(kernels)]
    once += [_event(f"InsertedPrecisionFreeCast_{i}", "Cast", ["float16"], ["float"]) for i in range(casts)]
    once += [_event("own", "Cast", ["float16"], ["float"]), {"cat": "Session", "name": "model_run", "args": {}}]
    found = casts_in_profile(json.dumps(once * runs))
    assert found is not None
    assert found.inserted == casts
    assert found.kernels == len(kernels) + 1
    assert sum(found.in_float32.values()) == sum(kind == "float" for _, kind in kernels)
    assert "Cast" not in found.in_float32


def test_a_profile_without_inserted_casts_is_that_of_a_model_as_it_is() -> None:
    assert casts_in_profile(json.dumps([_event("own", "Cast", ["float16"], ["float"])])) is None
