# SPDX-License-Identifier: Apache-2.0
"""The FLOPs of one call of a module, against PyTorch's own count, and the floor that no algorithm goes below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import timm
import torch
from module_calls import Calls, size_of, work_of
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from pyperf_infer.roofline.least import LeastWork


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


def test_a_recurrent_layer_applies_its_matrices_at_every_step() -> None:
    lstm = nn.LSTM(8, 5, num_layers=2, bidirectional=True)
    assert work_of(lstm, torch.zeros(7, 2, 8)).flops.total == 2 * 7 * 2 * 2 * 4 * 5 * ((8 + 5) + (10 + 5))


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
