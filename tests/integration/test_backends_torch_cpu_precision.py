# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the CPU in bfloat16 and float16, under autocast and in channels-last layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Perceptron, X, loaded
from torch import Tensor, nn

from pyperf_infer.backends import cpu_precision
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_cpu import cpu_module, cpu_tensor
from pyperf_infer.convert.parity import compare_outputs, default_rtol
from pyperf_infer.errors import BackendError, InputError, MeasurementError, UsageError
from pyperf_infer.models.spec import InputSpec

SHORT = ("bfloat16", "float16")
IMAGE = InputSpec("image", ("batch", 3, 8, 8), "float32")


class Seeing(nn.Module):
    """Says what it was called with, and multiplies."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 4)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("phase", torch.tensor([1 + 2j]))
        self.seen: dict[str, object] = {}

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        self.seen.update(
            x=x.dtype, index=index.dtype, weight=self.layer.weight.dtype, count=self.count.dtype, phase=self.phase.dtype
        )
        result: Tensor = self.layer(x)
        self.seen["result"] = result.dtype
        return result


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the CPU has no such instructions, torch computes the same without them."""
    monkeypatch.setattr(cpu_precision, "features", lambda _root: frozenset({"avx512_bf16", "avx512_fp16"}))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def _options(**asked: Any) -> BackendOptions:
    return BackendOptions(threads=1, **asked)


def _x(shape: tuple[int, ...] = (2, 4), seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("precision", SHORT)
def test_weights_and_floating_inputs_are_of_the_precision_and_the_model_stays(precision: str) -> None:
    module = Seeing()
    model = loaded(module, X, InputSpec("index", ("batch",), "int64"))
    backend = make_backend("torch", _options(precision=precision))
    prepared = backend.prepare(model, {"x": _x(), "index": np.zeros(2, np.int64)})
    (output,) = prepared.outputs().values()
    assert output.dtype.name == precision
    assert prepared.facts.settings["weights_dtype"] == precision
    assert prepared.facts.settings["autocast"] is None
    copied = cpu_module(module, _options(precision=precision), "seeing")
    assert isinstance(copied, Seeing)
    copied(cpu_tensor(_x(), _options(precision=precision)), torch.zeros(2, dtype=torch.int64))
    dtype = getattr(torch, precision)
    assert {key for key, value in copied.seen.items() if value is dtype} == {"x", "weight", "result"}
    assert (copied.seen["index"], copied.seen["count"]) == (torch.int64, torch.int64)
    assert copied.seen["phase"] is torch.complex64
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
    assert module.seen == {}  # the copy was called, and never what other backends export
    assert not copied.training


@pytest.mark.parametrize("precision", SHORT)
def test_the_native_loop_runs_it_and_the_outputs_agree_with_float32(precision: str) -> None:
    model = loaded(Perceptron(), X)
    outputs = {}
    for asked in ("float32", precision):
        prepared = make_backend("torch", _options(precision=asked)).prepare(model, {"x": _x()})
        first = list(prepared.outputs().values())
        prepared.bind({"x": _x(seed=1)})
        outputs[asked] = (first, list(prepared.outputs().values()))
        with prepared.measuring():
            assert prepared.target is not None
    (a, b), (c, d) = outputs["float32"], outputs[precision]
    wide_c, wide_d = ([array.astype(np.float32) for array in one] for one in (c, d))
    parity = compare_outputs(a, b, wide_c, wide_d, default_rtol(precision))
    assert parity.status == "equal"
    assert parity.outputs[0].largest_difference != 0  # it has been rounded


def test_float32_runs_the_module_itself_in_the_inputs_own_memory() -> None:
    module, x = Perceptron().eval(), _x()
    assert cpu_module(module, _options(), "perceptron") is module
    assert cpu_tensor(x, _options()).data_ptr() == x.ctypes.data


@pytest.mark.parametrize("precision", SHORT)
def test_autocast_keeps_the_weights_and_casts_as_it_runs(precision: str) -> None:
    module = Seeing()
    model = loaded(module, X, InputSpec("index", ("batch",), "int64"))
    backend = make_backend("torch", _options(precision=precision, autocast=True))
    prepared = backend.prepare(model, {"x": _x(), "index": np.zeros(2, np.int64)})
    prepared.outputs()
    assert (module.seen["x"], module.seen["weight"]) == (torch.float32, torch.float32)
    assert module.seen["result"] is getattr(torch, precision)
    assert prepared.facts.settings["autocast"] == precision
    assert prepared.facts.settings["weights_dtype"] == "as loaded"
    with prepared.measuring():  # what the native loop runs in
        assert torch.is_autocast_enabled("cpu")
        assert not torch.is_autocast_cache_enabled()
        assert torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_channels_last_is_the_layout_of_weights_and_images(precision: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    options = _options(precision=precision, channels_last=True)
    copied = cpu_module(module, options, "images")
    image = cpu_tensor(_x((2, 3, 8, 8)), options)
    assert isinstance(copied, nn.Sequential)
    weight = copied[0].weight
    assert isinstance(weight, Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert not image.is_contiguous()
    prepared = make_backend("torch", options).prepare(loaded(module, IMAGE), {"image": _x((2, 3, 8, 8))})
    (output,) = prepared.outputs().values()
    with torch.no_grad():
        expected = module(torch.from_numpy(_x((2, 3, 8, 8)))).numpy()
    np.testing.assert_allclose(output.astype(np.float32), expected, atol=1e-6 if precision == "float32" else 3e-2)
    assert prepared.facts.settings["channels_last"] is True
    plain = module[0].weight
    assert isinstance(plain, Tensor)
    assert plain.is_contiguous()


def test_a_training_module_is_converted_in_eval_mode() -> None:
    module = nn.Dropout(0.5).train()
    assert not cpu_module(module, _options(precision="bfloat16"), "dropout").training


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"precision": "tf32"}, "tf32 is a mode of NVIDIA's matrix units; it takes --device cuda"),
        ({"autocast": True}, "--autocast needs --precision float16 or bfloat16, and it is float32"),
    ],
)
def test_options_that_a_cpu_cannot_follow_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_backend("torch", _options(**asked))


@pytest.mark.parametrize("autocast", [False, True])
def test_a_cpu_without_instructions_is_refused_before_anything_runs(
    autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_precision, "features", lambda _root: frozenset({"avx2", "avx512_bf16"}))
    make_backend("torch", _options(precision="bfloat16", autocast=autocast))
    with pytest.raises(BackendError, match=r"no instructions for float16 \(avx512_fp16 or amx_fp16"):
        make_backend("torch", _options(precision="float16", autocast=autocast))


def test_what_cannot_be_copied_or_fails_in_the_type_is_named() -> None:
    module = Perceptron()
    module.numbers = (number for number in (1, 2))  # type: ignore[assignment]
    with pytest.raises(MeasurementError, match=r"tiny, copying its module \(copy.deepcopy\): TypeError"):
        cpu_module(module, _options(precision="bfloat16"), "tiny")

    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones(4, 4)  # float32, whatever x is

    with pytest.raises(MeasurementError, match="PyTorch failed on tiny: RuntimeError: expected m1 and m2"):
        make_backend("torch", _options(precision="bfloat16")).prepare(loaded(Mixing(), X), {"x": _x()})


def test_a_closed_module_is_gone() -> None:
    prepared = make_backend("torch", _options(precision="bfloat16")).prepare(loaded(Perceptron(), X), {"x": _x()})
    prepared.close()
    with pytest.raises(InputError, match="closed"):
        prepared.outputs()
