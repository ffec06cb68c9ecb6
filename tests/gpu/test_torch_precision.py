# SPDX-License-Identifier: Apache-2.0
"""What a precision does to the numbers, measured against double precision on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from gpu_models import IMAGES, ROWS, SEQUENCES, error, inputs_of, network, on_the_cpu, prepared
from tiny_models import loaded

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

# TF32 keeps 10 bits of each factor, which in a product of random numbers leaves some 3e-4; float32 some 1e-6, and up to
# some 1e-5 where cuDNN takes Winograd's algorithm.
BETWEEN = 1e-4


class Last(torch.nn.LSTM):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        result: torch.Tensor = super().forward(x)[0]
        return result


def linear() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(torch.nn.Linear(1024, 1024), ROWS)


def convolution() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(torch.nn.Conv2d(64, 128, 3), IMAGES)


def recurrent() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(Last(256, 256, batch_first=True), SEQUENCES)


def relative_error(model: LoadedModel, **asked: Any) -> float:
    made = prepared(model, batch=64, **asked)
    return error(made.outputs(), on_the_cpu(model, inputs_of(model, batch=64)))


def needs_tf32() -> None:
    if torch.cuda.get_device_capability(0) < (8, 0):
        pytest.skip("this GPU has no TF32")


@pytest.mark.parametrize("model", [linear, convolution, recurrent])
@pytest.mark.parametrize("search", ["exhaustive", "heuristic"])
def test_float32_is_float32(model: Callable[[], LoadedModel], search: str) -> None:
    assert relative_error(model(), conv_search=search) < BETWEEN


def test_tf32_differs_from_float32_in_a_matrix_product() -> None:
    needs_tf32()
    assert relative_error(linear(), precision="tf32") > BETWEEN > relative_error(linear(), precision="float32")


@pytest.mark.parametrize("model", [linear, convolution, recurrent])
def test_tf32_is_right_to_its_ten_bits(model: Callable[[], LoadedModel]) -> None:
    needs_tf32()
    assert relative_error(model(), precision="tf32") < 20 * BETWEEN


def test_the_switches_of_one_row_do_not_reach_the_next() -> None:
    needs_tf32()
    model = linear()
    tf32, exact = (prepared(model, batch=64, precision=name) for name in ("tf32", "float32"))
    expected = on_the_cpu(model, inputs_of(model, batch=64))
    for _ in range(2):
        assert error(tf32.outputs(), expected) > BETWEEN
        assert error(exact.outputs(), expected) < BETWEEN


@pytest.mark.parametrize(("precision", "allowed"), [("float16", 1e-2), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("backend", ["torch", "torch-cudagraph"])
def test_short_types_are_of_the_outputs_too(precision: str, allowed: float, backend: str) -> None:
    if precision == "bfloat16":
        needs_tf32()  # the same generation has both
    model = network()
    made = prepared(model, backend, precision=precision)
    outputs = made.outputs()
    assert {array.dtype.name for array in outputs.values()} == {precision}
    assert error(outputs, on_the_cpu(model, inputs_of(model))) < allowed


@pytest.mark.parametrize("backend", ["torch", "torch-cudagraph"])
def test_autocast_keeps_the_weights_and_casts_what_it_runs(backend: str) -> None:
    model = linear()
    made = prepared(model, backend, precision="float16", autocast=True)
    assert made.facts.settings["autocast"] == "float16"
    assert made.facts.settings["autocast_weight_cache"] is False
    outputs = made.outputs()
    assert outputs["output"].dtype.name == "float16"
    assert error(outputs, on_the_cpu(model, inputs_of(model))) < 1e-2


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("backend", ["torch", "torch-cudagraph"])
def test_channels_last_changes_the_layout_and_not_the_numbers(precision: str, backend: str) -> None:
    model = network()
    made = prepared(model, backend, precision=precision, channels_last=True)
    assert made.facts.settings["channels_last"] is True
    assert error(made.outputs(), on_the_cpu(model, inputs_of(model))) < (BETWEEN if precision == "float32" else 1e-2)


def test_the_settings_name_the_libraries() -> None:
    settings = prepared(linear()).facts.settings
    assert settings["cuda_runtime"] == torch.version.cuda
    assert settings["cudnn"] == torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    assert settings["allocator"] in ("native", "cudaMallocAsync")
