# SPDX-License-Identifier: Apache-2.0
"""Exports in float16: weights and floating inputs, and nothing of the model that was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pyperf_infer import timers
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.onnxruntime import OnnxRuntime
from pyperf_infer.convert.cache import cached_export
from pyperf_infer.convert.cache_folder import ENVIRONMENT_VARIABLE
from pyperf_infer.convert.half import half_copy, half_specs
from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo

SPECS = (InputSpec("tokens", ("batch", 3), "int64"), InputSpec("x", ("batch", 4), "float32"))


class Mixed(nn.Module):
    """Takes indices beside numbers, and has a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 4)
        self.register_buffer("offset", torch.ones(4))

    def forward(self, tokens: Tensor, x: Tensor) -> Tensor:
        return self.linear(x + self.embedding(tokens).sum(1)) + self.offset


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LoadedModel:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    torch.manual_seed(1)
    return LoadedModel("mixed", "built-in", SPECS, WeightsInfo("random", 1, "1" * 64), 64, Mixed().eval(), None)


def test_the_copy_is_half_and_the_model_is_as_it_was(model: LoadedModel) -> None:
    half = half_copy(model)
    assert half.module is not None
    assert model.module is not None
    assert {tensor.dtype for tensor in half.module.state_dict().values()} == {torch.float16}
    assert [spec.dtype for spec in half.inputs] == ["int64", "float16"]
    assert {tensor.dtype for tensor in model.module.state_dict().values()} == {torch.float32}
    assert model.inputs == SPECS
    assert not half.module.training


def test_a_cached_export_is_that_of_its_precision(model: LoadedModel) -> None:
    single, half = (cached_export(model, half=half) for half in (False, True))
    assert single.path != half.path
    assert not half.hit
    assert cached_export(model, half=True).hit
    assert cached_export(model, half=True).path == half.path
    graph = onnx.load(str(half.path)).graph
    assert [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)] == [7, 10, 10]
    assert {weight.data_type for weight in graph.initializer} <= {7, 10}


def test_a_half_export_computes_what_the_half_module_does(model: LoadedModel) -> None:
    half = half_copy(model)
    assert half.module is not None
    tokens, x = np.array([[0, 1, 4], [2, 2, 3]]), np.linspace(-1, 1, 8, dtype=np.float16).reshape(2, 4)
    session = timers.OnnxSession(cached_export(model, half=True).path)
    (output,) = session.run({"tokens": tokens, "x": x}).values()
    with torch.no_grad():
        expected = half.module(torch.from_numpy(tokens), torch.from_numpy(x)).numpy()
    assert output.dtype == np.float16
    np.testing.assert_allclose(output, expected, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("source", ["built-in", "factory"])
def test_the_backend_exports_in_its_precision_and_casts_the_inputs(model: LoadedModel, source: str) -> None:
    model.source = source
    backend = OnnxRuntime(BackendOptions(threads=1, precision="float16"))
    shapes = {"tokens": (2, 3), "x": (2, 4)}
    backend.convert(model, shapes)
    prepared = backend.prepare(model, {"tokens": np.zeros((2, 3), np.int64), "x": np.ones((2, 4), np.float32)})
    (output,) = prepared.outputs().values()
    assert output.dtype == np.float16
    assert np.isfinite(output).all()


def test_a_module_that_cannot_be_copied_is_named(model: LoadedModel) -> None:
    assert model.module is not None
    model.module.numbers = (number for number in (1, 2))  # type: ignore[assignment]
    with pytest.raises(InputError, match="mixed cannot be copied to float16"):
        half_copy(model)


@given(st.lists(st.sampled_from(["float32", "float64", "float16", "bfloat16", "int64", "bool"])))
def test_floating_inputs_alone_change(dtypes: list[str]) -> None:
    specs = tuple(InputSpec(f"x{index}", ("batch",), dtype) for index, dtype in enumerate(dtypes))
    for spec, half in zip(specs, half_specs(specs), strict=True):
        assert half.dtype == ("float16" if "float" in spec.dtype else spec.dtype)
        assert (half.name, half.shape) == (spec.name, spec.shape)
