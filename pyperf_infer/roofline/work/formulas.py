# SPDX-License-Identifier: Apache-2.0
"""The work of operations by their shapes, the same for every graph they may stand in.

Multiply-accumulates are those of the definition: padding's zeros and what a causal mask hides count. Prices of what is
no product, in FLOPs: a bias 1 an output; an elementwise operation 1 an output, whatever it takes (a GELU too); a
normalisation over statistics that are known (batch normalisation in inference) 2 an element, over its own 5, without a
mean (RMS) 4; a softmax 5; a reduction 1 an input, a variance 4; a pooling 1 an element of each window; an interpolation
between n neighbours 2n - 1 an output.

fvcore's convention (fvcore 0.1.5, nn/flop_count.py, which timm's tables follow) adds to the macs: 2 an element for
batch normalisation with weights (1 without), 5 for layer, group and instance normalisation (4 without), 1 an input for
adaptive average pooling, 1 an output for nearest and 4 for bilinear interpolation and sampling on a grid; and nothing
else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from pyperf_infer.roofline.work.counts import Kind, Shape, Work

SOFTMAX, OWN_STATISTICS, KNOWN_STATISTICS, RMS, VARIANCE = 5, 5, 2, 4, 4
# Of a recurrent layer, a unit and step: gates added up, their biases, activations, and the new state.
_RECURRENT = {"rnn": (1, 2, 1, 0), "gru": (3, 6, 3, 5), "lstm": (4, 8, 5, 4)}
_MOST_ORDERED = 6  # operands of an einsum
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def convolution_macs(input: Shape, weight: Shape, output: Shape, *, transposed: bool) -> int:  # noqa: A002
    """N·Cout·ΠO·(Cin/g)·Πk, transposed N·Cin·ΠI·(Cout/g)·Πk: the weight holds all but N and the positions.

    `input` and `output` are (N, channels, spatial...), or without N; `weight` is (Cout, Cin/g, k...), transposed
    (Cin, Cout/g, k...).
    """
    spatial = len(weight) - 2
    where = input if transposed else output
    batch = where[0] if len(where) == len(weight) else 1
    return batch * math.prod(where[len(where) - spatial :]) * math.prod(weight)


def convolution(input: Shape, weight: Shape, output: Shape, *, transposed: bool = False, bias: bool = False) -> Work:  # noqa: A002
    """See :func:`convolution_macs`."""
    outputs = math.prod(output)
    macs = convolution_macs(input, weight, output, transposed=transposed)
    return Work("matrix", macs, other_flops=outputs if bias else 0, activations=outputs)


def matmul(left: Shape, output: Shape, *, bias: bool = False) -> Work:
    """Πout·K, K being the last dimension of `left`: broadcast, batched, with vectors on either side."""
    outputs = math.prod(output)
    return Work("matrix", outputs * left[-1], other_flops=outputs if bias else 0, activations=outputs)


def attention(query: Shape, keys: int, value_width: int, *, masked: bool = False) -> Work:
    """B·Hq·Sq·Skv·(Dqk + Dv), fused or not, whatever the mask leaves of it; heads of keys that are shared count for
    each head that uses them. `query` is (..., Sq, Dqk)."""
    rows, width = math.prod(query[:-1]), query[-1]
    scores = rows * keys
    return Work(
        "matrix",
        scores * (width + value_width),
        other_flops=scores * (SOFTMAX + 1 + masked),
        activations=scores + rows * value_width,
    )


def recurrent(kind: str, steps: int, layers: Sequence[tuple[int, int, int]], *, bias: bool) -> Work:
    """Every matrix is applied once a step; `steps` is sequence length times batch.

    `layers`: the elements of its matrices, the units and the outputs of each layer and direction.
    """
    gates, biases, activations, state = _RECURRENT[kind]
    units = sum(hidden for _, hidden, _ in layers)
    price = gates + (biases if bias else 0) + activations + state
    return Work(
        "matrix",
        steps * sum(elements for elements, _, _ in layers),
        other_flops=steps * units * price,
        activations=steps * sum(outputs for _, _, outputs in layers),
    )


def einsum(equation: str, shapes: Sequence[Shape]) -> Work:
    """Pairwise in the order that takes the fewest multiplications, indices of one operand alone summed first.

    A pair that shares no summed index is an elementwise product, and an operand alone a sum.

    Raises:
        ValueError: an equation that does not fit the shapes.
    """
    operands, wanted, sizes = _labels(equation, shapes)
    # All orders are tried as long as they are few; what an intermediate result takes is no matter.
    search = "optimal" if len(operands) <= _MOST_ORDERED else "greedy"
    path = np.einsum_path(
        ",".join(operands) + "->" + wanted,
        *(np.broadcast_to(0.0, shape) for shape in shapes),
        optimize=(search, sys.maxsize),
    )[0][1:]
    macs = other = written = 0
    for places in path:
        taken = [operands.pop(place) for place in sorted(places, reverse=True)]
        kept = set(wanted).union(*operands)
        # What stands in one operand of the two alone, and is summed, goes before they meet.
        reduced = []
        for number, one in enumerate(taken):
            rest = set().union(*(other for place, other in enumerate(taken) if place != number))
            left = "".join(dict.fromkeys(label for label in one if label in kept | rest))
            if len(left) < len(set(one)):
                other += _product(set(one), sizes)
            reduced.append(left)
        everything = set().union(*reduced)
        result = "".join(sorted(everything & kept))
        if len(reduced) > 1 and everything - kept:
            macs += _product(everything, sizes)
            written += _product(set(result), sizes)
        elif len(reduced) > 1:
            other += _product(everything, sizes)
        operands.append(result)
    kind: Kind = "matrix" if macs else "elementwise"
    return Work(kind, macs, other_flops=other, activations=written if macs else 0)


def _labels(equation: str, shapes: Sequence[Shape]) -> tuple[list[str], str, dict[str, int]]:
    """The operands' labels with "..." spelt out, those of the result, and the size of each."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    operands = given.split(",")
    if len(operands) != len(shapes):
        raise ValueError(f"einsum {equation!r} takes {len(operands)} operands and got {len(shapes)}")
    free = [label for label in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if label not in equation]
    extra = max(
        (len(shape) - len(one.replace("...", "")) for one, shape in zip(operands, shapes, strict=True)), default=0
    )
    dots = "".join(reversed(free[: max(0, extra)]))
    spelt = []
    for one, shape in zip(operands, shapes, strict=True):
        number = len(shape) - len(one.replace("...", ""))
        if number < 0 or (number > 0 and "..." not in one):
            raise ValueError(f"einsum {equation!r} does not fit an operand of shape {shape}")
        spelt.append(one.replace("...", dots[len(dots) - number :]))
    counts = "".join(spelt)
    if not arrow:
        wanted = dots + "".join(sorted(label for label in set(counts) - set(dots) if counts.count(label) == 1))
    sizes: dict[str, int] = {}
    for one, shape in zip(spelt, shapes, strict=True):
        for label, size in zip(one, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, size)) if size else 0
    return spelt, wanted.replace("...", dots), sizes


def _product(labels: set[str], sizes: dict[str, int]) -> int:
    return math.prod(sizes[label] for label in labels)


def elementwise(output: Shape, price: int = 1) -> Work:
    return Work("elementwise", other_flops=price * math.prod(output))


def normalisation(input: Shape, *, affine: bool, price: int = OWN_STATISTICS, fvcore: bool = True) -> Work:  # noqa: A002
    """`fvcore`: whether it knows it; the price there depends on `affine` alone."""
    count = math.prod(input)
    theirs = (2 if price == KNOWN_STATISTICS else 5) - (0 if affine else 1)
    return Work("normalisation", other_flops=price * count, fvcore_other_flops=theirs * count if fvcore else 0)


def pooling(output: Shape, window: int) -> Work:
    return Work("pooling", other_flops=math.prod(output) * window)


def adaptive_pooling(input: Shape, *, average: bool) -> Work:  # noqa: A002
    """Windows hardly overlap, so that each input is in one of them."""
    count = math.prod(input)
    return Work("pooling", other_flops=count, fvcore_other_flops=count if average and len(input) == 4 else 0)


def reduction(input: Shape, price: int = 1) -> Work:  # noqa: A002
    return Work("reduction", other_flops=price * math.prod(input))


def interpolation(output: Shape, neighbours: int, *, fvcore: int = 0) -> Work:
    """Between so many neighbours: 1 copies the nearest."""
    count = math.prod(output)
    flops = (2 * neighbours - 1) * count if neighbours > 1 else 0
    return Work("elementwise" if flops else "copy", other_flops=flops, fvcore_other_flops=fvcore * count)


def gather(taken_bytes: int, table: int = 0) -> Work:
    """Rows of a table (the input at that position): as much is read of it as is taken."""
    return Work("copy", read_bytes={table: taken_bytes})
