# SPDX-License-Identifier: Apache-2.0
"""Multiplications of a convolution: counted one by one, and how many of them a fast algorithm may save."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyperf_infer.roofline.convolution import Convolution, FastAlgorithm


def convolution(
    kernel: tuple[int, ...], stride: int | tuple[int, ...] = 1, size: int = 8, **changes: object
) -> Convolution:
    dimensions = len(kernel)
    steps = (stride,) * dimensions if isinstance(stride, int) else stride
    made = Convolution(
        input=(2, 6, *[size] * dimensions),
        weight=(4, 3, *kernel),
        output=(2, 4, *[(size - taps) // step + 1 for taps, step in zip(kernel, steps, strict=True)]),
        stride=steps,
        padding=(0,) * dimensions,
        dilation=(1,) * dimensions,
        transposed=False,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@st.composite
def any_convolution(draw: st.DrawFn, most_padding: int = 4) -> Convolution:
    dimensions = draw(st.integers(1, 2))

    def sizes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    kernel, stride, padding, dilation = sizes(1, 4), sizes(1, 3), sizes(0, most_padding), sizes(1, 3)
    outer = sizes(3, 9)
    inner = tuple(
        (size + 2 * pad - step * (taps - 1) - 1) // jump + 1
        for size, pad, step, taps, jump in zip(outer, padding, dilation, kernel, stride, strict=True)
    )
    assume(min(inner) > 0)
    transposed = draw(st.booleans())
    here, there = (inner, outer) if transposed else (outer, inner)
    return Convolution((2, 3, *here), (3, 2, *kernel), (2, 2, *there), stride, padding, dilation, transposed)


def products_by_tap(one: Convolution) -> dict[tuple[int, ...], int]:
    """For each tap of the kernel: how many products with it there are where both partners exist. One by one."""
    inner, outer = (one.input, one.output) if one.transposed else (one.output, one.input)
    counts = dict.fromkeys(itertools.product(*map(range, one.weight[2:])), 0)
    for tap in counts:
        for place in itertools.product(*map(range, inner[2:])):
            partner = [
                at * jump - pad + step * index
                for at, jump, pad, step, index in zip(place, one.stride, one.padding, one.dilation, tap, strict=True)
            ]
            counts[tap] += all(0 <= at < size for at, size in zip(partner, outer[2:], strict=True))
    return counts


@given(any_convolution())
def test_the_least_is_what_meets_the_input_less_what_is_saved(one: Convolution) -> None:
    by_tap = products_by_tap(one)
    real = one.input[0] * one.weight[0] * one.weight[1] * sum(by_tap.values())
    saved = {FastAlgorithm.NONE: real, FastAlgorithm.WINOGRAD: real // 4, FastAlgorithm.UNBOUNDED: 0}
    assert one.least_macs == saved[one.fast_algorithm]
    assert one.least_macs <= one.macs
    assert one.needs_whole_weight == all(by_tap.values())


@given(any_convolution(most_padding=0))
def test_without_padding_the_definition_counts_what_meets_the_input(one: Convolution) -> None:
    assert one.macs == one.input[0] * one.weight[0] * one.weight[1] * sum(products_by_tap(one).values())


def test_macs_of_the_definition() -> None:
    """The first layer of a ResNet: N·Cout·ΠO·(Cin/g)·Πk; and a transposed one by its input's positions."""
    stem = Convolution((2, 3, 224, 224), (64, 3, 7, 7), (2, 64, 112, 112), (2, 2), (3, 3), (1, 1), False)
    assert stem.macs == 2 * 64 * 112 * 112 * 3 * 7 * 7
    up = Convolution((2, 16, 10, 10), (16, 8, 2, 2), (2, 8, 20, 20), (2, 2), (0, 0), (1, 1), True)
    assert up.macs == up.least_macs == 2 * 16 * 10 * 10 * 8 * 2 * 2


@pytest.mark.parametrize(
    ("kernel", "stride", "algorithm"),
    [
        ((1, 1), 1, FastAlgorithm.NONE),
        ((1,), 1, FastAlgorithm.NONE),
        ((3, 3), 2, FastAlgorithm.NONE),
        ((7, 7), 2, FastAlgorithm.NONE),
        ((3, 3), 1, FastAlgorithm.WINOGRAD),
        ((2, 2), 1, FastAlgorithm.WINOGRAD),
        ((1, 3), 1, FastAlgorithm.WINOGRAD),
        ((3,), 1, FastAlgorithm.WINOGRAD),
        ((5, 5), 1, FastAlgorithm.UNBOUNDED),
        ((1, 7), 1, FastAlgorithm.UNBOUNDED),
        ((4, 4), 1, FastAlgorithm.UNBOUNDED),
        ((3, 3, 3), 1, FastAlgorithm.UNBOUNDED),
    ],
)
def test_which_algorithm_could_save_multiplications(
    kernel: tuple[int, ...], stride: int, algorithm: FastAlgorithm
) -> None:
    assert convolution(kernel, stride).fast_algorithm is algorithm


def test_a_stride_in_one_dimension_leaves_the_other_to_be_sped_up() -> None:
    assert convolution((3, 3), stride=(2, 1)).fast_algorithm is FastAlgorithm.WINOGRAD
    assert convolution((3, 5), stride=(2, 1)).fast_algorithm is FastAlgorithm.UNBOUNDED
    assert convolution((5, 3), stride=(2, 1)).fast_algorithm is FastAlgorithm.WINOGRAD


def test_a_map_of_one_pixel_needs_the_middle_of_a_padded_kernel_alone() -> None:
    point = convolution((3, 3), size=1, output=(2, 4, 1, 1), padding=(1, 1))
    assert not point.needs_whole_weight
    assert (point.macs, point.least_macs) == (2 * 4 * 3 * 9, 2 * 4 * 3 // 4)
    assert convolution((3, 3), size=2, output=(2, 4, 2, 2), padding=(1, 1)).needs_whole_weight
