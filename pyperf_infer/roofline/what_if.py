# SPDX-License-Identifier: Apache-2.0
"""What the figures of a device allow a model to take: a model of it, and no measurement.

A kernel takes the longer of what its products take at the device's dense peak and what its bytes take at the bandwidth
of its memory (S. Williams, A. Waterman and D. Patterson, "Roofline", Communications of the ACM 52 (2009)); a call takes
the sum over its kernels. Launches, caches, clocks below boost, what is no product, and padding to the tiles of the
hardware are not in it, nor what makes a device faster: Winograd's algorithm, and fusing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyperf_infer.roofline.hardware import Device
    from pyperf_infer.roofline.work.counts import Kernel, ModelWork

Bound = Literal["compute", "memory"]
CountAt = Callable[[int], "ModelWork"]  # the work at a batch size


@dataclass(frozen=True)
class KernelTime:
    """In seconds; the longer of the two is what it takes."""

    kernel: Kernel
    compute_s: float
    memory_s: float

    @property
    def time_s(self) -> float:
        return max(self.compute_s, self.memory_s)

    @property
    def bound(self) -> Bound:
        return "compute" if self.compute_s >= self.memory_s else "memory"


@dataclass(frozen=True)
class WhatIf:
    """A batch on one device. Times in seconds."""

    work: ModelWork
    kernels: tuple[KernelTime, ...]

    @property
    def time_s(self) -> float:
        return sum(one.time_s for one in self.kernels)

    @property
    def compute_bound_share(self) -> float:
        """Of the time, in kernels that computing bounds."""
        total = self.time_s
        bound = sum(one.time_s for one in self.kernels if one.bound == "compute")
        return bound / total if total else 0.0


@dataclass(frozen=True)
class Scaled:
    """A batch split over several devices; each computes its part, and the first hands out inputs and collects outputs.

    `transfer_s` is what the interconnect takes for that; `efficiency` is one device's time over `devices` times this.
    """

    devices: int
    time_s: float
    transfer_s: float
    efficiency: float


def what_if(work: ModelWork, device: Device, precision: str) -> WhatIf:
    """Raises InputError where the device's peak in `precision` is not known."""
    peak = device.peak(precision)
    return WhatIf(
        work,
        tuple(
            KernelTime(
                kernel,
                2 * sum(one.work.macs for one in kernel.operations) / peak,
                (kernel.read_bytes + kernel.written_bytes) / device.bandwidth_bytes_per_s,
            )
            for kernel in work.kernels
        ),
    )


def largest_batch(count_at: CountAt, device: Device) -> int | None:
    """The largest batch whose weights and activations fit in the device's memory; 0 where not even one does.

    Memory grows with the batch at least in proportion, so that the line through two counts is never too high: what it
    finds is the answer, or too large and then halved towards. None where memory does not grow.
    """
    one, two = (memory_bytes(count_at(batch)) for batch in (1, 2))
    if one > device.memory_bytes:
        return 0
    if two <= one:
        return None
    fits, does_not = 1, int((device.memory_bytes - one) // (two - one)) + 2
    if memory_bytes(count_at(does_not - 1)) <= device.memory_bytes:
        return does_not - 1
    while does_not - fits > 1:
        middle = (fits + does_not) // 2
        if memory_bytes(count_at(middle)) <= device.memory_bytes:
            fits = middle
        else:
            does_not = middle
    return fits


def turning_batch(count_at: CountAt, device: Device, precision: str) -> int | None:
    """The smallest batch whose products take longer in all than its bytes do; None where none does.

    Both grow with the batch in proportion beyond what the weights take, so that two counts tell.
    """
    first, second = (what_if(count_at(batch), device, precision) for batch in (1, 2))
    compute = [sum(one.compute_s for one in each.kernels) for each in (first, second)]
    memory = [sum(one.memory_s for one in each.kernels) for each in (first, second)]
    gap, closing = memory[0] - compute[0], (compute[1] - compute[0]) - (memory[1] - memory[0])
    if gap <= 0:
        return 1
    return 1 + math.ceil(gap / closing) if closing > 0 else None


def scaled(count_at: CountAt, device: Device, precision: str, batch: int, devices: int) -> Scaled:
    """Data parallelism: the part of each is the batch over their number, rounded up."""
    alone = what_if(count_at(batch), device, precision).time_s
    part = what_if(count_at(math.ceil(batch / devices)), device, precision)
    used = min(devices, math.ceil(batch / math.ceil(batch / devices)))
    moved = (part.work.input_bytes + part.work.output_bytes) * (used - 1)
    one_way = device.interconnect_bytes_per_s / 2
    transfer_s = moved / one_way
    time_s = part.time_s + transfer_s
    return Scaled(devices, time_s, transfer_s, alone / (devices * time_s) if time_s else 0.0)


def memory_bytes(work: ModelWork) -> int:
    """Weights, and the most of inputs, outputs and what lies between them at a time; no workspace, no context."""
    return work.weight_bytes + work.activation_bytes_peak
