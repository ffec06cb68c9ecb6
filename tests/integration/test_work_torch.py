# SPDX-License-Identifier: Apache-2.0
"""What is counted of PyTorch modules: products by brute force, and the ways in which a graph can hide them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counted_modules import Calls, Recurrent, Residual, SelfAttention, Tied, counted
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as fn

from pyperf_infer.errors import InputError

FEW = settings(max_examples=25, deadline=None)  # each exports a graph; the formulas themselves have 200
SMALL = st.integers(1, 4)


@FEW
@given(
    groups=SMALL, inner=st.integers(1, 2), outer=st.integers(1, 2), kernel=SMALL, stride=SMALL,
    dilation=st.integers(1, 2), more=st.integers(0, 4), rank=st.integers(1, 3), batch=st.integers(1, 2),
)  # fmt: skip
def test_a_convolution_of_ones_adds_up_its_own_products(
    groups: int, inner: int, outer: int, kernel: int, stride: int, dilation: int, more: int, rank: int, batch: int
) -> None:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    layer = kind(groups * inner, groups * outer, kernel, stride, dilation=dilation, groups=groups, bias=False)
    nn.init.ones_(layer.weight)
    shape = (batch, groups * inner, *[dilation * (kernel - 1) + 1 + more] * rank)
    with torch.no_grad():
        products = int(layer(torch.ones(shape)).sum())
    assert counted(layer, shape).macs == products


@FEW
@given(
    groups=SMALL, inner=st.integers(1, 2), outer=st.integers(1, 2), kernel=SMALL, stride=SMALL, size=SMALL,
    rank=st.integers(1, 3),
)  # fmt: skip
def test_a_transposed_convolution_of_ones_adds_up_its_own_products(
    groups: int, inner: int, outer: int, kernel: int, stride: int, size: int, rank: int
) -> None:
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    layer = kind(groups * inner, groups * outer, kernel, stride, groups=groups, bias=False)
    nn.init.ones_(layer.weight)
    shape = (2, groups * inner, *[size] * rank)
    with torch.no_grad():
        products = int(layer(torch.ones(shape)).sum())
    assert counted(layer, shape).macs == products


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.mm, [(3, 4), (4, 5)], 60),
        (torch.bmm, [(2, 3, 4), (2, 4, 5)], 120),
        (torch.matmul, [(2, 1, 3, 4), (7, 4, 5)], 2 * 7 * 60),
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.dot, [(4,), (4,)], 4),
        (torch.addmm, [(3, 5), (3, 4), (4, 5)], 60),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (fn.linear, [(2, 3, 4), (5, 4)], 2 * 3 * 20),
        (fn.bilinear, [(2, 3), (2, 4), (5, 3, 4)], 2 * 5 * 4 * (3 + 1)),
        (fn.scaled_dot_product_attention, [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)], 2 * 4 * 5 * 7 * 14),
    ],
)
def test_products_of_every_spelling(function: Any, shapes: list[tuple[int, ...]], macs: int) -> None:
    work = counted(Calls(lambda *inputs: function(*inputs)), *shapes)
    assert work.macs == macs
    assert not work.unknown_ops


def test_heads_that_share_keys_count_for_each_head_of_queries() -> None:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return fn.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    shared = counted(Calls(attend), (2, 8, 5, 16), (2, 2, 7, 16), (2, 2, 7, 16))
    assert shared.macs == 2 * 8 * 5 * 7 * 32


def test_a_causal_mask_takes_nothing_away() -> None:
    assert counted(SelfAttention(causal=True), (2, 6, 16)).macs == counted(SelfAttention(), (2, 6, 16)).macs


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.LSTM(8, 12, 2, bidirectional=True), 10 * 2 * (48 * (8 + 12) + 48 * (24 + 12))),
        (nn.LSTM(8, 12, proj_size=4), 10 * (48 * 8 + 48 * 4 + 4 * 12)),
        (nn.GRU(8, 12), 10 * 36 * (8 + 12)),
        (nn.RNN(8, 12, bias=False), 10 * 12 * (8 + 12)),
    ],
)
def test_recurrent_layers(layer: nn.Module, macs: int) -> None:
    work = counted(Recurrent(layer), (5, 2, 8))
    assert work.macs == macs
    assert not work.unknown_ops


def test_multi_head_attention_has_its_projections_and_both_products() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x, x, x, need_weights=False)[0]
            return found

    assert counted(Attends(), (2, 6, 16)).macs == 2 * 6 * 16 * (48 + 16) + 2 * 4 * 6 * 6 * 8


def test_an_encoder_layer_is_the_sum_of_its_parts() -> None:
    work = counted(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 6, 16))
    assert work.macs == 2 * 6 * 16 * (48 + 16) + 2 * 4 * 6 * 6 * 8 + 2 * 6 * 16 * 32 * 2


def test_views_are_free_and_copies_move_bytes_only() -> None:
    view = counted(Calls(lambda x: x.view(6, 4).t()[1:].unsqueeze(0)), (4, 6))
    assert (view.flops_all, view.bytes_min_layer) == (0, 0)
    copy = counted(Calls(lambda x: x.t().reshape(24)), (4, 6))
    assert (copy.flops_all, copy.bytes_min_layer) == (0, 2 * 96)


def test_an_operation_in_place_is_read_where_it_left_its_result() -> None:
    def twice(x: Tensor) -> Tensor:
        y = x + 1
        y.mul_(2)
        return y.relu()

    work = counted(Calls(twice), (4, 8))
    assert work.flops_all == 3 * 32
    assert work.bytes_min_layer == 2 * 128  # one kernel


def test_dropout_in_inference_is_nothing_and_hides_nothing() -> None:
    work = counted(nn.Sequential(Residual(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)))), (4, 8))
    assert [len(one.operations) for one in work.kernels if one.read_bytes] == [2]  # the sum joins the product
    assert work.bytes_min_layer == 4 * (32 + 64 + 8 + 32)


def test_the_three_thirds_of_a_projection_are_all_read() -> None:
    work = counted(SelfAttention(), (1, 6, 16))
    (attention,) = (one for one in work.kernels if "attention" in one.operations[0].op)
    assert attention.read_bytes == 4 * 3 * 6 * 16


def test_a_batch_that_is_broadcast_counts_for_each_of_its_items() -> None:
    work = counted(Calls(fn.scaled_dot_product_attention), (1, 2, 5, 8), (3, 2, 7, 8), (3, 2, 7, 8))
    assert work.macs == 3 * 2 * 5 * 7 * 16


def test_a_copy_costs_nothing_but_bytes() -> None:
    assert counted(Calls(lambda x: x.clone() @ x), (4, 4)).flops_all == 2 * 64


@pytest.mark.parametrize(
    "function", [lambda x: x[x > 0], torch.nonzero, lambda x: x.repeat_interleave(x.long().flatten())]
)
def test_sizes_that_depend_on_values_are_refused_by_name(function: Any) -> None:
    with pytest.raises(InputError, match=r"m cannot be (counted|exported)"):
        counted(Calls(function), (4, 4))


def test_operators_of_others_are_listed_whatever_they_are_called() -> None:
    @torch.library.custom_op("pyperf_infer_test::linear", mutates_args=())
    def linear(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @linear.register_fake
    def _(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @torch.library.custom_op("pyperf_infer_test::into", mutates_args=("out",))
    def into(a: Tensor, out: Tensor) -> None:
        out.copy_(a @ a)

    def both(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        into(x, y)
        return linear(y, x)

    work = counted(Calls(both), (4, 4))
    assert work.unknown_ops == {"pyperf_infer_test.linear": 1, "pyperf_infer_test.into": 1}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x > 0) & (x < 1),
        lambda x: x + torch.tensor(2.0),
        lambda x: x // 2,
        lambda x: torch.hstack([x, x]),
        lambda x: torch.outer(x[0], x[1]),
        lambda x: fn.logsigmoid(x),
        lambda x: torch.cdist(x, x),
        lambda x: torch.meshgrid(x[0], x[1], indexing="ij")[0] + 1,
    ],
)
def test_what_people_write_has_a_formula(function: Any) -> None:
    assert not counted(Calls(function), (4, 8)).unknown_ops


def test_a_tensordot_is_a_product() -> None:
    assert counted(Calls(lambda x, y: torch.tensordot(x, y, dims=2)), (3, 4, 5), (4, 5, 6)).macs == 3 * 6 * 20


def test_a_weight_in_two_places_counts_once() -> None:
    work = counted(Tied(), (2, 3), dtype="int64")
    assert work.params == 400
    assert work.macs == 2 * 3 * 400
    assert work.bytes_min_model == 4 * 400 + 8 * 6 + 4 * 300


def test_layers_have_the_names_of_the_state_dict() -> None:
    names = [one.name for one in counted(nn.Sequential(nn.Linear(4, 4), Residual(nn.Linear(4, 4))), (2, 4)).operations]
    assert names[:2] == ["0", "1.inner"]


def test_under_autocast_the_types_are_those_that_are_computed_with() -> None:
    def halved(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return x @ weight

    work = counted(Calls(halved), (4, 8), (8, 8))
    assert work.macs == 256
    assert not work.unknown_ops


def test_control_flow_is_refused_by_name() -> None:
    def either(x: Tensor) -> Tensor:
        found: Tensor = torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,))
        return found

    with pytest.raises(InputError, match="m has control flow"):
        counted(Calls(either), (4, 4))


def test_what_depends_on_its_data_is_refused_with_the_line() -> None:
    class Depends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else x + 1

    with pytest.raises(InputError, match="m cannot be exported"):
        counted(Depends(), (4, 4))


def test_an_operator_without_a_formula_is_listed_and_never_silent() -> None:
    work = counted(Calls(lambda x: torch.topk(x, 2)[0] @ torch.ones(2, 3)), (4, 8))
    assert work.unknown_ops == {"aten.topk": 1}
    assert work.macs == 4 * 2 * 3


@pytest.mark.parametrize(
    ("function", "price"),
    [
        (torch.relu, 1),
        (fn.gelu, 1),
        (lambda x: fn.softmax(x, -1), 5),
        (lambda x: fn.layer_norm(x, (8,)), 5),
        (lambda x: fn.rms_norm(x, (8,)), 4),
        (lambda x: x.sum(-1), 1),
        (lambda x: x.var(-1), 4),
        (lambda x: fn.batch_norm(x, torch.zeros(8), torch.ones(8)), 2),
        (lambda x: fn.dropout(x, training=False), 0),
        (lambda x: torch.cat([x, x]), 0),
    ],
)
def test_the_rest_has_its_price(function: Any, price: int) -> None:
    work = counted(Calls(function), (4, 8))
    assert work.flops_all == price * 32
    assert not work.unknown_ops


def test_nothing_at_all_is_a_size_too() -> None:
    work = counted(nn.Linear(8, 4), (0, 8))
    assert (work.macs, work.activations) == (0, 0)


def test_pooling_and_interpolation() -> None:
    pooled = counted(nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)), (1, 2, 8, 8))
    assert (pooled.flops_all, pooled.fvcore_flops) == (2 * 16 * 4 + 2 * 16, 2 * 16)
    larger = counted(nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 4, 4))
    assert (larger.flops_all, larger.fvcore_flops) == (7 * 128, 4 * 128)
