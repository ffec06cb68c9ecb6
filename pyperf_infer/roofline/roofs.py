# SPDX-License-Identifier: Apache-2.0
"""The least time that a kernel can take on a device whose ceilings were measured.

It is the longer of two: its products at the device's peak for their type, and its bytes at the bandwidth of the levels
of memory that they can come from (S. Williams, A. Waterman and D. Patterson, "Roofline", Communications of the ACM 52
(2009); A. Ilic, F. Pratas and L. Sousa, "Cache-aware Roofline model", IEEE Computer Architecture Letters 13 (2014)).

Which level bytes come from is modelled, in favour of the shortest time: of what the layers hand each other, as much as
a level holds is taken from it, the innermost first; weights come from the innermost level that holds all that a call of
the model touches, since the call before has left them there. Levels deliver at the same time, and each hands on what
comes from those outside of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def peaks_of_threads(ceilings: Ceilings, threads: int) -> dict[str, ComputeCeiling]:
    """The highest peak of each precision over that many threads; a GPU has one."""
    found: dict[str, ComputeCeiling] = {}
    for one in ceilings.compute:
        known = found.get(one.precision)
        if one.threads == threads and (known is None or one.flops_per_s > known.flops_per_s):
            found[one.precision] = one
    return found


def rates_of_threads(ceilings: Ceilings, threads: int) -> dict[str, float]:
    """The highest bandwidth of each level in bytes a second, of any pattern, over that many threads."""
    found: dict[str, float] = {}
    for one in ceilings.memory:
        if one.threads == threads:
            found[one.level] = max(one.bytes_per_s, found.get(one.level, 0.0))
    return found


def threads_of(ceilings: Ceilings, asked: int) -> int:
    """Whose ceilings hold for a run on `asked` threads: a GPU has none to count, and more threads than cores add
    nothing."""
    return 1 if ceilings.device != "cpu" else min(asked, ceilings.threads)


def _filled(levels: Sequence[str], measured: Mapping[str, float]) -> dict[str, float]:
    """A level that could not be measured is taken to be as fast as the next one inside of it, or else outside."""
    found: dict[str, float] = {}
    rate = next((measured[level] for level in levels if level in measured), 0.0)
    for level in levels:
        rate = measured.get(level, rate)
        found[level] = rate
    return found


class Roofs:
    """The ceilings that hold for one model on one device.

    `threads`: of the run. `asked`: its precision, which tells apart the types of two bytes, and tf32 from float32.
    `touched_bytes`: what a call of the model touches of weights and activations, by which it is told where the weights
    can stay from one call to the next.
    """

    def __init__(self, ceilings: Ceilings, threads: int, *, asked: str, touched_bytes: int) -> None:
        self._asked = asked
        threads = threads_of(ceilings, threads)
        self._peaks = peaks_of_threads(ceilings, threads)
        measured = rates_of_threads(ceilings, threads)
        self._levels = [(one.level, one.capacity_bytes) for one in ceilings.levels] if measured else []
        self._rates = _filled([level for level, _ in self._levels], measured)
        self._weights_at = next(
            (place for place, (_, size) in enumerate(self._levels) if size is None or size >= touched_bytes),
            len(self._levels) - 1,
        )

    def peak(self, precision: str) -> ComputeCeiling | None:
        """That of `precision`, or of what is computed with in its place."""
        return self._peaks.get(precision) or self._peaks.get(_COMPUTED_AS.get(precision, ""))

    def precision_of(self, operation: Operation, kernel: Kernel | None = None) -> str:
        """The type of what an operation multiplies, by its first operand; within `kernel`, by what that was before it
        was dequantised, since that is what a runtime multiplies where it can."""
        first = operation.inputs[0] if operation.inputs else operation.outputs[0]
        if kernel is not None:
            first = kernel.dequantised.get(first.name, first)
        if not first.floating:
            return "int8"
        if first.item_bytes == 8:
            return "float64"
        if first.item_bytes == 2:
            return self._asked if self._asked in ("float16", "bfloat16") else "float16"
        return "tf32" if self._asked == "tf32" else "float32"

    def of(self, kernels: Iterable[Kernel]) -> RoofTime | None:
        """Of kernels that run one after the other; None where the peak of a product's type, or any bandwidth, is not
        known."""
        if not self._levels:
            return None
        compute_s = memory_s = 0.0
        bound_s = {True: 0.0, False: 0.0}  # by whether computing bounds
        by_level: dict[str, float] = {}
        by_precision: dict[str, int] = {}
        for kernel in kernels:
            computing = self._compute_s(kernel, by_precision)
            if computing is None:
                return None
            moving, level = self._memory_s(kernel)
            by_level[level] = by_level.get(level, 0.0) + moving
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
            precision = self.precision_of(one, kernel)
            peak = self.peak(precision)
            if peak is None:
                return None
            by_precision[precision] = by_precision.get(precision, 0) + one.work.macs
            seconds += 2 * one.work.macs / peak.flops_per_s
        return seconds

    def _memory_s(self, kernel: Kernel) -> tuple[float, str]:
        """The longest of what each level takes to hand on all that comes from it and from outside of it, and which."""
        parts = [0.0] * len(self._levels)
        left = float(kernel.read_bytes + kernel.written_bytes - kernel.weight_bytes)
        for place, (_, size) in enumerate(self._levels):
            here = left if size is None or place == len(parts) - 1 else min(left, float(size))
            parts[place] += here
            left -= here
        parts[self._weights_at] += kernel.weight_bytes
        longest, slowest, through = 0.0, self._levels[0][0], 0.0
        for (level, _), moved in zip(reversed(self._levels), reversed(parts), strict=True):
            through += moved
            if through / self._rates[level] > longest:
                longest, slowest = through / self._rates[level], level
        return longest, slowest
