# SPDX-License-Identifier: Apache-2.0
"""Ceilings that nobody measured, in round numbers."""

from __future__ import annotations

from collections.abc import Mapping

from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling, MemoryCeiling, MemoryLevel, Precision

PEAKS: Mapping[Precision, float] = {"float32": 1e12}
RATES = {"L1": 800e9, "L2": 400e9, "memory": 100e9}
CAPACITIES = {"L1": 1_000, "L2": 100_000}


def make_ceilings(
    peaks: Mapping[Precision, float] = PEAKS,
    rates: Mapping[str, float] = RATES,
    *,
    threads: int = 2,
    device: str = "cpu",
    machine: str = "m",
) -> Ceilings:
    return Ceilings(
        device=device,
        device_name="Imaginary 9000",
        machine=machine,
        measured_utc="2026-11-25T12:00:00Z",
        tool_version="0.1.0",
        threads=threads,
        microarchitecture=None,
        microarchitecture_source=None,
        levels=[MemoryLevel(level=level, capacity_bytes=CAPACITIES.get(level)) for level in rates],
        compute=[compute(precision, peak, threads) for precision, peak in peaks.items()],
        memory=[memory(level, rate, threads) for level, rate in rates.items()],
        not_measured=[],
        other_load=0.01,
    )


def compute(precision: Precision, peak: float, threads: int) -> ComputeCeiling:
    return ComputeCeiling(
        precision=precision,
        threads=threads,
        instructions="avx2 fma",
        flops_per_s=peak,
        median_flops_per_s=peak * 0.99,
        spread=0.02,
        runs=5,
        clock_hz=3e9,
        flops_per_cycle=None,
        share_of_theory=None,
        datasheet_flops_per_s=None,
    )


def memory(level: str, rate: float, threads: int) -> MemoryCeiling:
    return MemoryCeiling(
        level=level,
        pattern="load",
        threads=threads,
        bytes_per_s=rate,
        median_bytes_per_s=rate * 0.9,
        spread=0.1,
        runs=5,
        working_set_bytes=1 << 20,
        non_temporal=False,
        datasheet_bytes_per_s=None,
    )
