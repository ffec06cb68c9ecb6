# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulates by the formulas against counters that go through every product one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.roofline.work import formulas

EXAMPLES = settings(max_examples=200, deadline=None)
SMALL = st.integers(1, 4)


def positions(shape: tuple[int, ...]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*map(range, shape))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, tuple[int, ...] | int]:
    rank = draw(st.integers(1, 3))
    groups = draw(SMALL)
    each = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, stride, dilation = draw(each), draw(each), draw(each)
    padding = draw(st.tuples(*[st.integers(0, 2)] * rank))
    reach = [step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True)]
    size = tuple(max(1, length - 2 * pad) + draw(st.integers(0, 3)) for length, pad in zip(reach, padding, strict=True))
    return {
        "groups": groups, "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "size": size,
        "batch": draw(st.integers(0, 2)), "channels": groups * draw(st.integers(1, 2)),
        "filters": groups * draw(st.integers(1, 2)),
    }  # fmt: skip


@EXAMPLES
@given(convolutions(), st.booleans())
def test_a_convolution_takes_a_product_for_each_output_channel_and_tap(drawn: dict, batched: bool) -> None:
    kernel, groups = drawn["kernel"], drawn["groups"]
    out = tuple(
        (size + 2 * pad - step * (taps - 1) - 1) // stride + 1
        for size, pad, step, taps, stride in zip(
            drawn["size"], drawn["padding"], drawn["dilation"], kernel, drawn["stride"], strict=True
        )
    )
    batch = (drawn["batch"],) if batched else ()
    products = 0
    for _ in positions((*batch, drawn["filters"], *out)):
        for _ in positions((drawn["channels"] // groups, *kernel)):
            products += 1
    work = formulas.convolution(
        (*batch, drawn["channels"], *drawn["size"]),
        (drawn["filters"], drawn["channels"] // groups, *kernel),
        (*batch, drawn["filters"], *out),
        bias=True,
    )
    assert work.macs == products
    assert work.activations == work.other_flops == math.prod((*batch, drawn["filters"], *out))


@EXAMPLES
@given(convolutions())
def test_a_transposed_convolution_takes_one_for_each_input_channel_and_tap(drawn: dict) -> None:
    kernel, groups = drawn["kernel"], drawn["groups"]
    out = tuple(
        (size - 1) * stride + step * (taps - 1) + 1
        for size, step, taps, stride in zip(drawn["size"], drawn["dilation"], kernel, drawn["stride"], strict=True)
    )
    products = 0
    for _ in positions((drawn["batch"], drawn["channels"], *drawn["size"])):
        for _ in positions((drawn["filters"] // groups, *kernel)):
            products += 1
    work = formulas.convolution(
        (drawn["batch"], drawn["channels"], *drawn["size"]),
        (drawn["channels"], drawn["filters"] // groups, *kernel),
        (drawn["batch"], drawn["filters"], *out),
        transposed=True,
    )
    assert work.macs == products


@EXAMPLES
@given(
    left=st.lists(SMALL, max_size=2), right=st.lists(SMALL, max_size=2), rows=SMALL, inner=st.integers(0, 4),
    columns=SMALL, shared=st.booleans(),
)  # fmt: skip
def test_a_product_of_matrices_takes_one_for_each_output_and_inner_element(
    left: list[int], right: list[int], rows: int, inner: int, columns: int, shared: bool
) -> None:
    """Broadcast: dimensions of 1 meet larger ones."""
    if shared:
        right = [size if place % 2 else 1 for place, size in enumerate(left)]
    one, other = np.zeros((*left, rows, inner)), np.zeros((*right, inner, columns))
    try:
        output = (one @ other).shape
    except ValueError:
        return
    products = sum(1 for _ in positions(output) for _ in range(inner))
    work = formulas.matmul(one.shape, output, bias=True)
    assert (work.macs, work.activations, work.other_flops) == (products, math.prod(output), math.prod(output))


@EXAMPLES
@given(st.data())
def test_an_einsum_of_two_takes_one_for_each_combination_of_indices(data: st.DataObject) -> None:
    """Of those that are left when each operand has summed what stands in it alone."""
    labels = "abcde"
    sizes = {label: data.draw(SMALL) for label in labels}
    one, other = (data.draw(st.lists(st.sampled_from(labels), min_size=1, max_size=3, unique=True)) for _ in range(2))
    wanted = data.draw(st.lists(st.sampled_from(sorted(set(one) | set(other))), unique=True))
    kept = [
        {label for label in mine if label in theirs or label in wanted} for mine, theirs in ((one, other), (other, one))
    ]
    together = sorted(kept[0] | kept[1])
    products = sum(1 for _ in positions(tuple(sizes[label] for label in together)))
    summed = set(together) - set(wanted)
    shapes = [tuple(sizes[label] for label in mine) for mine in (one, other)]
    equation = f"{''.join(one)},{''.join(other)}->{''.join(wanted)}"
    work = formulas.einsum(equation, shapes)
    assert work.macs == (products if summed else 0)
    assert work.kind == ("matrix" if summed else "elementwise")
    if not summed:
        assert work.other_flops >= products


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 24),
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)], 120),
        ("bhid, bhjd -> bhij", [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 5),
        ("i,i->", [(7,), (7,)], 7),
        ("i,j->ij", [(3,), (4,)], 0),
        ("ij->ji", [(3, 4)], 0),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
    ],
)
def test_equations_are_read_as_numpy_reads_them(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    np.einsum(equation, *(np.zeros(shape) for shape in shapes))  # it takes them
    assert formulas.einsum(equation, shapes).macs == macs


@pytest.mark.parametrize(("equation", "shapes"), [("ij,jk->ik", [(2, 3)]), ("ij->i", [(2,)]), ("i->i", [(2, 3)])])
def test_an_equation_that_does_not_fit_is_refused(equation: str, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="einsum"):
        formulas.einsum(equation, shapes)


@EXAMPLES
@given(batch=SMALL, heads=SMALL, queries=SMALL, keys=st.integers(0, 5), width=SMALL, value=SMALL)
def test_attention_takes_both_products_of_each_head(
    batch: int, heads: int, queries: int, keys: int, width: int, value: int
) -> None:
    products = 0
    for _ in positions((batch, heads, queries)):
        for _ in range(keys):
            products += width  # of the score
        for _ in range(value):
            products += keys  # of the output
    work = formulas.attention((batch, heads, queries, width), keys, value, masked=True)
    assert work.macs == products
    assert work.activations == batch * heads * queries * (keys + value)
    assert work.other_flops == 7 * batch * heads * queries * keys


@EXAMPLES
@given(
    kind=st.sampled_from(["rnn", "gru", "lstm"]), steps=SMALL, batch=SMALL, inner=SMALL, hidden=SMALL,
    directions=st.integers(1, 2), bias=st.booleans(),
)  # fmt: skip
def test_a_recurrent_layer_applies_every_matrix_once_a_step(
    kind: str, steps: int, batch: int, inner: int, hidden: int, directions: int, bias: bool
) -> None:
    products = other = 0
    for _ in positions((directions, steps, batch)):
        for _ in positions((formulas.GATES[kind], hidden)):
            products += inner + hidden
            other += 1 + (2 if bias else 0)  # the two products added, and two biases
        other += hidden * {"rnn": 1, "gru": 3 + 5, "lstm": 5 + 4}[kind]  # activations and the new state
    matrices = formulas.GATES[kind] * hidden * (inner + hidden)
    work = formulas.recurrent(kind, steps * batch, [(matrices, hidden, hidden)] * directions, bias=bias)
    assert (work.macs, work.other_flops) == (products, other)
    assert work.activations == directions * steps * batch * hidden


def test_prices_are_those_of_the_documentation() -> None:
    assert formulas.elementwise((2, 3)).other_flops == 6
    assert formulas.normalisation((2, 3), affine=True).other_flops == 30
    assert formulas.normalisation((2, 3), affine=True, price=formulas.KNOWN_STATISTICS).other_flops == 12
    assert formulas.normalisation((2, 3), affine=False, price=formulas.KNOWN_STATISTICS).fvcore_other_flops == 6
    assert formulas.normalisation((2, 3), affine=False).fvcore_other_flops == 24
    assert formulas.pooling((1, 2, 3, 3), 4).other_flops == 72
    assert formulas.interpolation((2, 2), 4, fvcore=4).other_flops == 28
    assert formulas.interpolation((2, 2), 1, fvcore=1).kind == "copy"
