# SPDX-License-Identifier: Apache-2.0
"""The least that one call of a module reads and writes: closed forms, and what must not be counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models
from module_calls import Calls, size_of, weights_of, work_of
from torch import Tensor, nn
from torch.nn import functional

from pyperf_infer.roofline import least_work as module_under_test

RESNET18_PARAMETERS = 11_689_512
RESNET18_NORMALISED_CHANNELS = 4_800
RESNET18_MACS = 1_814_073_344


def resnet18_least_macs() -> int:
    """By hand. Along a side of n, a 3-tap kernel meets 3n - 2 pixels at stride 1 and 3n/2 - 1 at stride 2."""
    count = 64 * 3 * (7 * 112 - 6) ** 2  # of the first layer's taps, 3 + 1 + 2 fall outside
    before, side = 64, 56
    for channels in (64, 128, 256, 512):
        if channels != before:
            side //= 2
            count += channels * before * ((3 * side - 1) ** 2 + side**2)  # the first convolution, and the shortcut
        plain = 4 if channels == before else 3
        count += plain * (channels * channels * (3 * side - 2) ** 2 // 4)  # Winograd
        before = channels
    return count + 512 * 1000


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return torchvision.models.resnet18().eval()


def test_resnet18_reads_every_weight_and_running_statistic_once(resnet18: nn.Module) -> None:
    found = work_of(resnet18, torch.zeros(2, 3, 224, 224))
    assert found.bytes.weights == 4 * (RESNET18_PARAMETERS + 2 * RESNET18_NORMALISED_CHANNELS)
    assert found.bytes.inputs == 4 * 2 * 3 * 224 * 224
    assert found.bytes.outputs == 4 * 2 * 1000


def test_resnet18s_flops_and_their_floor(resnet18: nn.Module) -> None:
    found = work_of(resnet18, torch.zeros(2, 3, 224, 224)).flops
    assert found.total == 2 * 2 * RESNET18_MACS
    assert found.floor == 2 * 2 * resnet18_least_macs()
    assert found.precisions == {"float32"}
    assert len(found.notes) == 1
    assert "Winograd" in found.notes[0]


def test_a_compiler_may_fold_what_normalises_a_batch(resnet18: nn.Module) -> None:
    plain, folded = (weights_of(resnet18, torch.zeros(1, 3, 64, 64), compiled=compiled) for compiled in (False, True))
    assert plain - folded == 4 * 4 * RESNET18_NORMALISED_CHANNELS


def test_float16_halves_the_bytes_and_not_the_flops() -> None:
    x = torch.zeros(1, 3, 64, 64)
    whole, half = work_of(torchvision.models.resnet18(), x), work_of(torchvision.models.resnet18().half(), x.half())
    assert [part * 2 for part in (half.bytes.weights, half.bytes.inputs, half.bytes.outputs)] == [
        whole.bytes.weights,
        whole.bytes.inputs,
        whole.bytes.outputs,
    ]
    assert half.flops.floor == whole.flops.floor
    assert half.flops.precisions == {"float16"}


def test_elements_may_be_kept_in_fewer_bytes_than_the_modules() -> None:
    layer, x = nn.Linear(8, 4), torch.zeros(2, 8)
    plain, narrow = work_of(layer, x).bytes, work_of(layer, x, element_bytes=2).bytes
    assert (narrow.weights * 2, narrow.outputs * 2, narrow.inputs) == (plain.weights, plain.outputs, plain.inputs)
    assert work_of(layer, x, element_bytes=8).bytes == plain


def test_the_meta_device_and_the_real_one_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = timm.create_model("vit_tiny_patch16_224").eval(), torch.zeros(1, 3, 224, 224)
    on_meta = work_of(module, x)
    monkeypatch.setattr(module_under_test, "shadow", lambda module, inputs: (module, inputs))
    assert work_of(module, x) == on_meta


# -- weights ----------------------------------------------------------------------------------------------------------


def test_shared_weights_count_once() -> None:
    layer = nn.Linear(8, 8)
    assert weights_of(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 8)) == size_of(*layer.parameters())
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    shared = nn.Sequential(first, second)
    assert weights_of(shared, torch.zeros(1, 8)) == size_of(first.weight, first.bias, second.bias)
    second.weight = nn.Parameter(first.weight.data.t())  # another tensor, the same memory
    assert weights_of(shared, torch.zeros(1, 8)) == size_of(first.weight, first.bias, second.bias)


def test_an_embedding_is_looked_up_and_not_read() -> None:
    tokens = torch.zeros(1, 6, dtype=torch.int64)
    found = work_of(nn.Embedding(1000, 16), tokens)
    assert (found.bytes.weights, found.bytes.inputs, found.bytes.outputs) == (0, size_of(tokens), 4 * 6 * 16)
    assert (found.flops.total, found.flops.floor) == (0, 0)
    assert weights_of(nn.EmbeddingBag(1000, 16), tokens) == 0


def test_a_tied_embedding_is_read_by_the_other_use() -> None:
    table = nn.Embedding(100, 16)
    head = nn.Linear(16, 100, bias=False)
    head.weight = table.weight
    tied = nn.Sequential(table, head)
    assert weights_of(tied, torch.zeros(1, 6, dtype=torch.int64)) == size_of(table.weight)
    by_hand = Calls(lambda self, x: functional.linear(self.table(x), self.table.weight), table=table)
    assert weights_of(by_hand, torch.zeros(1, 6, dtype=torch.int64)) == size_of(table.weight)


def test_what_is_not_used_does_not_count() -> None:
    used = nn.Linear(8, 8)
    module = Calls(
        lambda self, x: self.used(x), used=used, unused=nn.Linear(8, 800), loose=nn.Parameter(torch.zeros(9))
    )
    assert weights_of(module, torch.zeros(1, 8)) == size_of(*used.parameters())


@pytest.mark.parametrize(
    ("forward", "rows"),
    [
        (lambda self, x: functional.linear(x, self.layer.weight[:3]), 3),
        (lambda self, x: [functional.linear(x, part) for part in self.layer.weight.chunk(2)], 8),
        (lambda self, x: [functional.linear(x, self.layer.weight[a:b]) for a, b in ((0, 5), (3, 7), (1, 2))], 7),
        (lambda self, x: functional.linear(x, self.layer.weight[::2]), 0),  # with gaps: not counted
        (lambda self, x: x @ self.layer.weight.t(), 8),
        (lambda self, x: torch.einsum("bi,oi->bo", x, self.layer.weight), 8),
    ],
)
def test_of_a_weight_only_the_part_that_is_read_counts(forward: Callable[..., Any], rows: int) -> None:
    module = Calls(forward, layer=nn.Linear(4, 8))
    assert weights_of(module, torch.zeros(2, 4)) == rows * 4 * 4


def test_what_could_be_worked_out_beforehand_does_not_count() -> None:
    parts = {"a": nn.Parameter(torch.zeros(32, 32)), "b": nn.Parameter(torch.zeros(32, 8))}
    found = work_of(Calls(lambda self, x: x + self.a @ self.b, **parts), torch.zeros(32, 8))
    assert (found.bytes.weights, found.bytes.inputs, found.flops.total) == (0, 4 * 32 * 8, 0)
    standardised = Calls(lambda self, x: functional.linear(x, self.a - self.a.mean()), **parts)
    found = work_of(standardised, torch.zeros(2, 32))
    assert (found.bytes.weights, found.flops.floor) == (0, 2 * 2 * 32 * 32)


@pytest.mark.parametrize(
    ("module", "shape", "folded"),
    [
        (nn.LayerNorm(8), (2, 8), False),
        (nn.GroupNorm(2, 8), (2, 8, 3), False),
        (nn.RMSNorm(8), (2, 8), False),
        (nn.InstanceNorm1d(8, affine=True), (2, 8, 3), True),
        (nn.Conv1d(8, 6, 3), (2, 8, 9), False),
        (nn.Conv3d(8, 6, 2, groups=2), (2, 8, 4, 4, 4), False),
        (nn.Conv2d(8, 6, 3, padding="same"), (2, 8, 9, 9), False),
        (nn.ConvTranspose2d(8, 6, 3, stride=2), (2, 8, 4, 4), False),
        (nn.Bilinear(8, 8, 3, bias=False), (2, 8), None),
        (nn.LSTM(8, 5, num_layers=2, bidirectional=True), (7, 2, 8), False),
        (nn.LSTM(8, 5, proj_size=3), (7, 2, 8), False),
        (nn.GRU(8, 5, batch_first=True), (2, 7, 8), False),
        (nn.RNN(8, 5), (7, 2, 8), False),
        (nn.GRUCell(8, 8), (2, 8), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_layers_read_their_weights_whole(module: nn.Module, shape: tuple[int, ...], folded: bool | None) -> None:
    """`folded`: a compiler may fold them away; None: not a layer that is known, so nothing counts."""
    inputs = (
        [torch.zeros(shape), torch.zeros(2, 8)]
        if isinstance(module, nn.Bilinear | nn.GRUCell)
        else [torch.zeros(shape)]
    )
    whole = size_of(*module.parameters())
    assert weights_of(module, *inputs) == (0 if folded is None else whole)
    assert weights_of(module, *inputs, compiled=True) == (whole if folded is False else 0)


@pytest.mark.parametrize("kind", [nn.MultiheadAttention, nn.TransformerEncoderLayer])
@pytest.mark.parametrize("shadowed", [True, False])
def test_attention_reads_all_its_weights_by_either_path(
    kind: type[nn.Module], shadowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shadowed:  # then in the fused operators that PyTorch has for them
        monkeypatch.setattr(module_under_test, "shadow", lambda module, inputs: (module, inputs))
    module = kind(8, 2, batch_first=True)
    arguments = 3 if kind is nn.MultiheadAttention else 1
    calls = Calls(lambda self, x: self.part(*[x] * arguments), part=module)
    assert weights_of(calls, torch.zeros(2, 5, 8)) == size_of(*module.parameters())


def test_cross_attention_reads_all_three_parts_of_one_weight() -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    calls = Calls(lambda self, x, y: self.part(x, y, y.clone()), part=module)
    assert weights_of(calls, torch.zeros(2, 5, 8), torch.zeros(2, 3, 8)) == size_of(*module.parameters())


def test_an_encoder_that_may_drop_padding_is_run_for_real() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    found = work_of(encoder, torch.zeros(2, 5, 8))
    assert found.bytes.weights == size_of(*encoder.parameters())
    assert found.flops.floor == 0


def test_a_kernel_that_meets_padding_alone_need_not_be_read() -> None:
    layer = nn.Conv2d(4, 6, 3, padding=1)
    assert weights_of(layer, torch.zeros(1, 4, 1, 1)) == size_of(layer.bias)
    assert weights_of(layer, torch.zeros(1, 4, 2, 2)) == size_of(layer.weight, layer.bias)


class Elsewhere(torch.Tensor):
    """Stands for a tensor that keeps its content in another form."""


def test_weights_of_a_type_of_their_own_are_not_counted() -> None:
    layer = nn.Linear(8, 8, bias=False)
    layer.weight = nn.Parameter(torch.zeros(8, 8).as_subclass(Elsewhere))
    assert isinstance(layer.weight, Elsewhere)
    found = work_of(layer, torch.zeros(1, 8))
    assert (found.bytes.weights, found.flops.total) == (0, 0)


# -- inputs and outputs -----------------------------------------------------------------------------------------------


def test_inputs_count_as_far_as_they_are_read() -> None:
    layer = nn.Linear(8, 8)
    x, y = torch.zeros(4, 8), torch.zeros(4, 8)
    assert work_of(Calls(lambda self, x, y: self.layer(x), layer=layer), x, y).bytes.inputs == size_of(x)
    assert work_of(Calls(lambda self, x, y: self.layer(x + y), layer=layer), x, y).bytes.inputs == size_of(x, y)
    assert work_of(Calls(lambda self, x, y: self.layer(x + y), layer=layer), x, x).bytes.inputs == size_of(x)
    assert work_of(Calls(lambda self, x: self.layer(x[:2]), layer=layer), x).bytes.inputs == size_of(x) // 2
    assert work_of(Calls(lambda self, x: self.layer(x.half().float()), layer=layer), x).bytes.inputs == size_of(x)
    assert work_of(Calls(lambda self, x: self.layer(x.reshape(2, 2, 8)), layer=layer), x).bytes.inputs == size_of(x)


def test_memory_that_is_both_input_and_weight_counts_once() -> None:
    layer = nn.Linear(8, 8, bias=False)
    found = work_of(Calls(lambda self, x: self.layer(x), layer=layer), layer.weight.detach()).bytes
    assert found.weights + found.inputs == size_of(layer.weight)


@pytest.mark.parametrize(
    ("forward", "elements"),
    [
        (lambda self, x: self.layer(x), 32),
        (lambda self, x: {"a": self.layer(x), "b": [(self.layer(x), None, 3)]}, 64),
        (lambda self, x: x, 0),
        (lambda self, x: x.t()[:2], 0),
        (lambda self, x: self.layer.weight, 0),
        (lambda self, x: self.layer(x).expand(5, 4, 8), 32),
        (lambda self, x: self.layer(x)[:, 1], 4),
        (lambda self, x: (lambda y: (y, y.t(), y[1:]))(self.layer(x)), 32),
        (lambda self, x: self.layer(x).unfold(1, 3, 1), 0),  # windows that overlap: hard to tell
        (lambda self, x: None, 0),
    ],
)
def test_outputs_count_by_the_memory_that_was_written(forward: Callable[..., Any], elements: int) -> None:
    assert work_of(Calls(forward, layer=nn.Linear(8, 8)), torch.zeros(4, 8)).bytes.outputs == 4 * elements


def test_a_model_without_work_has_none() -> None:
    found = work_of(nn.Sequential(), torch.zeros(3))
    assert (found.bytes.weights, found.bytes.inputs, found.bytes.outputs) == (0, 0, 0)
    assert (found.flops.total, found.flops.floor, found.flops.precisions, found.flops.notes) == (0, 0, set(), ())


# -- the call itself --------------------------------------------------------------------------------------------------


def test_a_module_that_fails_has_no_bound() -> None:
    assert module_under_test.least_work(nn.Linear(8, 8), [torch.zeros(1, 9)]) is None
    assert module_under_test.least_work(nn.Linear(8, 8), []) is None


class Remembering(nn.Module):
    """Keeps a table for the size it saw last, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.table: Tensor | None = None
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.table = x.new_ones(x.shape)
        result: Tensor = self.layer(x) + self.table
        return result


def test_the_module_is_left_alone() -> None:
    module = Remembering().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert module_under_test.least_work(module, [torch.zeros(2, 8)]) is not None
    assert (module.calls, module.table, module.training) == (0, None, True)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert module.layer.weight.requires_grad


def test_a_module_that_looks_at_the_data_is_run_on_it() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.small(x) if x.sum() > 0 else self.large(x)
        return result

    module = Calls(forward, small=nn.Linear(8, 2), large=nn.Linear(8, 20))
    assert weights_of(module, torch.ones(1, 8)) == size_of(*module.small.parameters())  # type: ignore[operator]
    assert weights_of(module, -torch.ones(1, 8)) == size_of(*module.large.parameters())  # type: ignore[operator]
