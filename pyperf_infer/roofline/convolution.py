# SPDX-License-Identifier: Apache-2.0
"""How many multiplications a convolution takes, and with how few it can be computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

# Winograd's F(4x4, 3x3) takes 36 multiplications for 4 x 4 outputs where the definition takes 144 (Lavin and Gray,
# "Fast Algorithms for Convolutional Neural Networks", 2015). It is the largest tile that cuDNN uses. FFT in tiles of
# 32 x 32, at four real multiplications a complex one, takes 2,176 for 30 x 30 outputs and 8,100: it saves less.
WINOGRAD_SAVING = 4
_LARGEST_WINOGRAD_KERNEL = 3


class FastAlgorithm(Enum):
    """What can make a convolution take fewer multiplications than its definition."""

    NONE = "none"
    WINOGRAD = "winograd"
    UNBOUNDED = "unbounded"  # FFT, or Winograd at other sizes: how much they save grows with the kernel


@dataclass(frozen=True)
class Convolution:
    """One convolution, by its shapes.

    `input` and `output` are (batch, channels, spatial...); `weight` is (Cout, Cin/groups, kernel...), or for a
    transposed one (Cin, Cout/groups, kernel...). The others have one number a spatial dimension.
    """

    input: tuple[int, ...]
    weight: tuple[int, ...]
    output: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool

    @property
    def macs(self) -> int:
        """By the definition, padding included: N·Cout·ΠO·(Cin/g)·Πk, or transposed N·Cin·ΠI·(Cout/g)·Πk."""
        return self.input[0] * math.prod((self.input if self.transposed else self.output)[2:]) * math.prod(self.weight)

    @property
    def least_macs(self) -> int:
        """What no known algorithm goes below; 0 where that is not known.

        Products with the padding's zeros do not count: a kernel may leave them out.
        """
        if self.fast_algorithm is FastAlgorithm.UNBOUNDED:
            return 0
        macs = self.input[0] * self.weight[0] * self.weight[1] * math.prod(map(sum, self._uses_of_taps()))
        return macs // WINOGRAD_SAVING if self.fast_algorithm is FastAlgorithm.WINOGRAD else macs

    @property
    def fast_algorithm(self) -> FastAlgorithm:
        """Only dimensions with a stride of 1 and a kernel wider than 1 can be sped up; at most 3 x 3 is Winograd's."""
        fast = [size for size, step in zip(self.weight[2:], self.stride, strict=True) if size > 1 and step == 1]
        if not fast:
            return FastAlgorithm.NONE
        if len(fast) <= 2 and max(fast) <= _LARGEST_WINOGRAD_KERNEL:
            return FastAlgorithm.WINOGRAD
        return FastAlgorithm.UNBOUNDED

    @property
    def needs_whole_weight(self) -> bool:
        """Whether every tap of the kernel meets the input somewhere; one that meets padding alone need not be read."""
        return all(all(uses) for uses in self._uses_of_taps())

    def _uses_of_taps(self) -> list[list[int]]:
        """For each spatial dimension and each tap of the kernel in it: the positions at which it meets the input."""
        # A transposed convolution multiplies the same pairs as the one it transposes, with input and output swapped.
        here, there = (self.input, self.output) if self.transposed else (self.output, self.input)
        sizes = zip(here[2:], there[2:], self.weight[2:], self.stride, self.padding, self.dilation, strict=True)
        return [
            [_meetings(tap * dilation - padding, positions, partners, stride) for tap in range(taps)]
            for positions, partners, taps, stride, padding, dilation in sizes
        ]


def _meetings(shift: int, positions: int, partners: int, stride: int) -> int:
    """How many i in [0, `positions`) have i·stride + shift in [0, `partners`)."""
    first = max(0, -(shift // stride))  # the ceiling of -shift / stride
    last = min(positions - 1, (partners - 1 - shift) // stride)
    return max(0, last - first + 1)
