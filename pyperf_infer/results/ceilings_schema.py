# SPDX-License-Identifier: Apache-2.0
"""What a device was seen to do at most: rates of arithmetic and of moving bytes. docs/roofline.md has more.

A ceiling is the highest of several runs, since whatever disturbs a run only slows it down; the median and the spread
stand beside it. Rates are in operations, or bytes, a second, over all threads together.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import (  # noqa: TC001  msgspec reads them
    AboveZero,
    NonNegative,
    Positive,
    UtcTime,
)

Precision = Literal["float64", "float32", "tf32", "bfloat16", "float16", "int8"]


class ComputeCeiling(Struct, kw_only=True):
    """The most multiply-adds, each of which is two operations, of one type of operands."""

    precision: Precision
    threads: Positive  # at the same time, each on a core of its own; 1 on a GPU
    instructions: str  # "avx512 fma", "amx bf16", "torch.mm": what was executed
    flops_per_s: AboveZero  # the highest of the runs
    median_flops_per_s: AboveZero
    spread: NonNegative  # (highest - lowest) / median of the runs
    runs: Positive
    clock_hz: AboveZero | None  # next to the runs, the highest seen; None where it was not measured
    flops_per_cycle: AboveZero | None  # of one core, by its maker; None where that is not known
    share_of_theory: NonNegative | None  # flops_per_s over threads x flops_per_cycle x clock_hz
    datasheet_flops_per_s: AboveZero | None  # dense; of GPUs


class MemoryCeiling(Struct, kw_only=True):
    """The most bytes that were read and written a second at one level of the memory."""

    level: str  # "L1", "L2", "L3", "memory"
    pattern: Literal["load", "copy", "triad"]
    threads: Positive
    bytes_per_s: AboveZero  # the highest of the runs; what the program reads and writes, no more
    median_bytes_per_s: AboveZero
    spread: NonNegative
    runs: Positive
    working_set_bytes: Positive  # of all threads together
    non_temporal: bool  # stores that go around the caches
    datasheet_bytes_per_s: AboveZero | None


class MemoryLevel(Struct, kw_only=True):
    """What one level holds, of what can be used by the threads together."""

    level: str
    capacity_bytes: Positive | None  # None of the memory itself


class Ceilings(Struct, kw_only=True):
    """All ceilings of one device that were measured in one go."""

    device: str  # "cpu", "cuda:0"
    device_name: str
    machine: str  # what tells machines apart: roofline.ceilings.machine
    measured_utc: UtcTime
    tool_version: str
    threads: Positive  # the most at a time
    microarchitecture: str | None
    microarchitecture_source: str | None  # where its operations a cycle are from
    levels: list[MemoryLevel]  # innermost first; the memory last
    compute: list[ComputeCeiling]
    memory: list[MemoryCeiling]
    not_measured: list[str]  # in sentences: what could not be, and why
    other_load: NonNegative | None  # of the CPUs' time, what other programs took meanwhile; None where not known
    sm_clock_mhz: NonNegative | None = None  # of a GPU, the median under load
    power_w: NonNegative | None = None
    warnings: list[str] = []
    duration_s: NonNegative = 0.0
