# SPDX-License-Identifier: Apache-2.0
"""The least time that a kernel can take on a device whose ceilings were measured.

It is the longer of two: its products at the device's peak for their type, and its bytes at the bandwidth of the levels
of memory that they can come from (S. Williams, A. Waterman and D. Patterson, "Roofline", Communications of the ACM 52
(2009); A. Ilic, F. Pratas and L. Sousa, "Cache-aware Roofline model", IEEE Computer Architecture Letters 13 (2014)).

Which level bytes come from is modelled, and never to the kernel's disadvantage: of what the layers hand each other, as
much as a level holds is taken from it, the innermost first; weights, which an inference reads once and the next one
again, come from the innermost level that holds the whole model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling
    from pyperf_infer.roofline.work.counts import Kernel, Operation

ABOVE = 1.05  # of its roof: that is two measurements, each of which may be a few percent off
# Where a device has no arithmetic of a type, values are converted and computed with as this one.
_COMPUTED_AS = {"float16": "float32", "bfloat16": "float32", "tf32": "float32"}


@dataclass(frozen=True)
class RoofTime:
    """In seconds. `time_s` is the sum over kernels of the longer of the two, `compute_bound` on which side most of it
    lies. `level` is that of which the bytes take the longest, "" where no byte moves; `precision` that of most of the
    products, "" where there are none."""

    time_s: float
    compute_s: float
    memory_s: float
    compute_bound: bool
    level: str
    precision: str


class Roofs:
    """The ceilings that hold for one model on one device.

    `asked`: the run's precision, which tells apart the types of two bytes, and tf32 from float32. `model_bytes`: of
    weights and activations together, by which it is told where the weights can stay from one inference to the next.
    """

    def __init__(self, ceilings: Ceilings, threads: int, *, asked: str, model_bytes: int) -> None:
        self._asked = asked
        self._peaks: dict[str, ComputeCeiling] = {}
        for one in ceilings.compute:
            if one.threads == threads and one.flops_per_s > self._peak_of(one.precision):
                self._peaks[one.precision] = one
        self._rates: dict[str, float] = {}
        for each in ceilings.memory:
            if each.threads == threads:
                self._rates[each.level] = max(each.bytes_per_s, self._rates.get(each.level, 0.0))
        self._levels = [
            (one.level, one.capacity_bytes) for one in ceilings.levels if self._rates.get(one.level, 0.0) > 0.0
        ]
        self._weights_at = next(
            (place for place, (_, size) in enumerate(self._levels) if size is None or size >= model_bytes),
            len(self._levels) - 1,
        )

    @property
    def complete(self) -> bool:
        """Whether there is any ceiling of memory; without one nothing can be said of anything."""
        return bool(self._levels)

    def peak(self, precision: str) -> ComputeCeiling | None:
        """That of `precision`, or of what is computed with in its place."""
        return self._peaks.get(precision) or self._peaks.get(_COMPUTED_AS.get(precision, ""))

    def precision_of(self, operation: Operation) -> str:
        """The type of what an operation multiplies, by its first operand."""
        first = operation.inputs[0] if operation.inputs else operation.outputs[0]
        if not first.floating:
            return "int8"
        if first.item_bytes == 8:
            return "float64"
        if first.item_bytes == 2:
            return self._asked if self._asked in ("float16", "bfloat16") else "float16"
        return "tf32" if self._asked == "tf32" else "float32"

    def of(self, kernels: Iterable[Kernel]) -> RoofTime | None:
        """Of kernels that run one after the other; None where the peak of a product's type is not known."""
        compute_s = memory_s = 0.0
        bound_s = {True: 0.0, False: 0.0}  # by whether computing bounds
        by_level: dict[str, float] = {}
        by_precision: dict[str, int] = {}
        for kernel in kernels:
            computing = self._compute_s(kernel, by_precision)
            if computing is None:
                return None
            moving = self._memory_s(kernel, by_level)
            bound_s[computing >= moving] += max(computing, moving)
            compute_s, memory_s = compute_s + computing, memory_s + moving
        level = max(by_level, key=lambda one: by_level[one], default="") if memory_s else ""
        precision = max(by_precision, key=lambda one: by_precision[one], default="")
        time_s, compute_bound = sum(bound_s.values()), bound_s[True] > bound_s[False]
        return RoofTime(time_s, compute_s, memory_s, compute_bound, level, precision)

    def _compute_s(self, kernel: Kernel, by_precision: dict[str, int]) -> float | None:
        seconds = 0.0
        for one in kernel.operations:
            if not one.work.macs:
                continue
            precision = self.precision_of(one)
            peak = self.peak(precision)
            if peak is None:
                return None
            by_precision[precision] = by_precision.get(precision, 0) + one.work.macs
            seconds += 2 * one.work.macs / peak.flops_per_s
        return seconds

    def _memory_s(self, kernel: Kernel, by_level: dict[str, float]) -> float:
        """Adds the seconds of each level to `by_level`, and returns their sum."""
        parts = [0.0] * len(self._levels)
        left = float(kernel.read_bytes + kernel.written_bytes - kernel.weight_bytes)
        for place, (_, size) in enumerate(self._levels):
            here = left if size is None or place == len(parts) - 1 else min(left, float(size))
            parts[place] += here
            left -= here
        parts[self._weights_at] += kernel.weight_bytes
        total = 0.0
        for (level, _), moved in zip(self._levels, parts, strict=True):
            seconds = moved / self._rates[level]
            by_level[level] = by_level.get(level, 0.0) + seconds
            total += seconds
        return total

    def _peak_of(self, precision: str) -> float:
        known = self._peaks.get(precision)
        return known.flops_per_s if known else 0.0
