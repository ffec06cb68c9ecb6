# SPDX-License-Identifier: Apache-2.0
"""The least that one call of a module moves and computes: closed forms, and what must not be counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pyperf_infer.roofline import least_work as module_under_test
from pyperf_infer.roofline.work import LeastWork


def work_of(module: nn.Module, *inputs: Tensor, **options: Any) -> LeastWork:
    found = module_under_test.least_work(module.eval(), inputs, **options)
    assert found is not None
    return found


def weights_of(module: nn.Module, *inputs: Tensor, **options: Any) -> int:
    return work_of(module, *inputs, **options).bytes.weights


def size_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Calls(nn.Module):
    """A module that does `forward` with its parts."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._function = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(self, *inputs)


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


# One of each kind: grouped and strided convolutions, attention, windows of it, squeeze and excitation, mixers.
@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0", "resnext50_32x4d", "mixer_s32_224"]
)
def test_flops_are_pytorchs_and_the_floor_is_no_higher(name: str) -> None:
    module = timm.create_model(name).eval().to("meta")
    x = torch.empty(2, *module.default_cfg["input_size"], device="meta")
    found = work_of(module, x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    assert found.flops.total == counter.get_total_flops()
    assert 0 < found.flops.floor <= found.flops.total
    every = size_of(*module.parameters(), *module.buffers())
    assert 0.99 * every < found.bytes.weights <= every


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
        (nn.Bilinear(8, 8, 3), (2, 8), None),
        (nn.LSTM(8, 5, num_layers=2, bidirectional=True), (7, 2, 8), False),
        (nn.LSTM(8, 5, proj_size=3), (7, 2, 8), False),
        (nn.GRU(8, 5, batch_first=True), (2, 7, 8), False),
        (nn.RNN(8, 5), (7, 2, 8), False),
        (nn.GRUCell(8, 5), (2, 8), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_layers_read_their_weights_whole(module: nn.Module, shape: tuple[int, ...], folded: bool | None) -> None:
    """`folded`: a compiler may fold them away; None: not a layer that is known, so nothing counts."""
    inputs = [torch.zeros(shape)] * (2 if isinstance(module, nn.Bilinear) else 1)
    whole = size_of(*module.parameters())
    assert weights_of(module, *inputs) == (0 if folded is None else whole)
    assert weights_of(module, *inputs, compiled=True) == (whole if folded is False else 0)


def test_a_recurrent_layer_applies_its_matrices_at_every_step() -> None:
    lstm = nn.LSTM(8, 5, num_layers=2, bidirectional=True)
    assert work_of(lstm, torch.zeros(7, 2, 8)).flops.total == 2 * 7 * 2 * 2 * 4 * 5 * ((8 + 5) + (10 + 5))


@pytest.mark.parametrize("module", [nn.MultiheadAttention(8, 2), nn.TransformerEncoderLayer(8, 2, 16)])
@pytest.mark.parametrize("shadowed", [True, False])
def test_attention_reads_all_its_weights_by_either_path(
    module: nn.Module, shadowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shadowed:  # then in the fused operators that PyTorch has for them
        monkeypatch.setattr(module_under_test, "shadow", lambda module, inputs: (module, inputs))
    module = type(module)(8, 2, batch_first=True)
    calls = Calls(
        lambda self, x: self.part(x, x, x) if isinstance(module, nn.MultiheadAttention) else self.part(x), part=module
    )
    assert weights_of(calls, torch.zeros(2, 5, 8)) == size_of(*module.parameters())


def test_cross_attention_reads_all_three_parts_of_one_weight() -> None:
    module = nn.MultiheadAttention(8, 2)
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


# -- products ---------------------------------------------------------------------------------------------------------


def attention(**options: Any) -> LeastWork:
    """4 heads of 6, batch 2; 10 queries and 16 keys."""
    module = Calls(lambda self, q, k, v: functional.scaled_dot_product_attention(q, k, v, **options))
    return work_of(module, torch.zeros(2, 4, 10, 6), torch.zeros(2, 4, 16, 6), torch.zeros(2, 4, 16, 6))


def test_fused_attention_counts_its_two_products() -> None:
    found = attention().flops
    assert found.total == found.floor == 2 * 2 * 4 * 10 * 16 * (6 + 6)
    assert found.notes == ()


def test_causal_attention_counts_what_a_query_can_see() -> None:
    found = attention(is_causal=True).flops
    assert found.total == 2 * 2 * 4 * 10 * 16 * (6 + 6)
    assert found.floor == 2 * 2 * 4 * sum(range(1, 11)) * (6 + 6)
    more_queries = Calls(lambda self, k, q: functional.scaled_dot_product_attention(q, k, k, is_causal=True))
    found = work_of(more_queries, torch.zeros(1, 1, 3, 6), torch.zeros(1, 1, 5, 6)).flops
    assert found.floor == 2 * (1 + 2 + 3 + 3 + 3) * (6 + 6)


def test_attention_with_a_mask_or_written_out_may_be_skipped_in_part() -> None:
    masked = attention(attn_mask=torch.zeros(10, 16)).flops
    assert masked.floor == 0
    assert masked.total == attention().flops.total
    by_hand = work_of(Calls(lambda self, x: (x @ x.transpose(1, 2)).softmax(-1) @ x), torch.zeros(2, 5, 6)).flops
    assert (by_hand.total, by_hand.floor) == (2 * 2 * 2 * 5 * 5 * 6, 0)
    for found in (masked, by_hand):
        assert len(found.notes) == 1
        assert "mask" in found.notes[0]


def test_large_kernels_at_stride_one_have_no_floor_and_a_note_says_so() -> None:
    found = work_of(nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 4, 3)), torch.zeros(1, 3, 12, 12)).flops
    assert found.total == 2 * (8 * 3 * 25 * 64 + 4 * 8 * 9 * 36)
    assert found.floor == 2 * (4 * 8 * 9 * 36 // 4)
    assert ["FFT" in note for note in found.notes] == [True, False]


def test_precisions_are_those_of_the_operands() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x).bfloat16() @ torch.ones(8, 8, dtype=torch.bfloat16, device=x.device)
        return result

    assert work_of(Calls(forward, layer=nn.Linear(8, 8)), torch.zeros(2, 8)).flops.precisions == {"float32", "bfloat16"}


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
