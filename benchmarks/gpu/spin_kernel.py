# SPDX-License-Identifier: Apache-2.0
"""A kernel that spins a known time, captured in a CUDA graph and launched by the product: what we call its GPU span
against what the kernel itself reads on the device's clock, and against the profiler's kernel time.

span(T) - span(0) must be the time of the device's clock within 1 us or 2%, in mode latency and in mode cold, where the
launch is held back until all is queued. The offset span(0) is everything that our pair of events measures beside the
work: what the launch of the graph leaves between the events, the start and end of a kernel, the events themselves.
Profiling slows launches, so the profiler has runs of its own; its time of a kernel too contains the start and the end
of it, and its time(0) is subtracted alike.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

from gpu.common import Row, median_of, quartiles, run_row
from gpu.device import Gpu, column_us, take
from gpu.figures import Figure, at_most, shown
from gpu.spin import FINE_STEP_NS, Spinner, own_ns, profiled_ns

SPINS_US = (5, 20, 100, 1000)
RUNS = 30
BOUND_US = 1.0
BOUND_SHARE = 0.02
WARM_UP_SPINS = 300
MODES = ("latency", "cold")


class Times(NamedTuple):
    """RUNS runs of one spin, in microseconds: our span, and the device's own clock in the very same runs."""

    span: list[float]
    own: list[float]


def judge_clock(mode: str, spin_us: int, times: Times, nothing: Times) -> Figure:
    """Our span against the device's clock, given the times of a spin of no time. Runs are compared one by one."""
    spans = [span - median_of(nothing.span) for span in times.span]
    own = [one - median_of(nothing.own) for one in times.own]
    bound_us = max(BOUND_US, BOUND_SHARE * median_of(own))
    apart = [abs(span - one) for span, one in zip(spans, own, strict=True)]
    inside = sum(one <= bound_us for one in apart)
    return at_most(
        f"{mode}, spin of {spin_us} us: span(T) - span(0) and the device's clock apart, median of {len(apart)} runs",
        median_of(apart),
        bound_us,
        "us",
        spread=(min(apart), max(apart)),
        spread_of="runs",
        reason=f"span {median_of(spans):.3f} us, clock {median_of(own):.3f} us, {inside} of {len(apart)} runs inside",
    )


def judge_profiler(
    mode: str, spin_us: int, times: Times, nothing: Times, kernel_us: list[float], empty_us: list[float]
) -> Figure:
    """Our span against the profiler's time of the kernel, medians of as many runs."""
    span_us = median_of(times.span) - median_of(nothing.span)
    by_profiler_us = median_of(kernel_us) - median_of(empty_us)
    return at_most(
        f"{mode}, spin of {spin_us} us: span(T) - span(0) and the profiler's time(T) - time(0) apart",
        abs(span_us - by_profiler_us),
        max(BOUND_US, BOUND_SHARE * by_profiler_us),
        "us",
        reason=f"profiler's time(T) {median_of(kernel_us):.3f} us, time(0) {median_of(empty_us):.3f} us",
    )


def run(row: Row, options: argparse.Namespace) -> None:
    with Gpu(options.device) as gpu:
        spinner = Spinner(gpu)
        step_ns = spinner.wall_clock_step_ns()
        for _ in range(WARM_UP_SPINS):
            spinner.launch(1_000_000)
        clocks_per_ns = spinner.clocks_per_ns()
        clock = "wall clock (%globaltimer)" if step_ns <= FINE_STEP_NS else "multiprocessor's clock, calibrated"
        row.say(f"read at the ends of each spin: the {clock}; the wall clock steps by {step_ns} ns")
        clocks = [round(1000 * spin_us * clocks_per_ns) for spin_us in (0, *SPINS_US)]
        ours = {mode: [_times(gpu, spinner, one, mode, step_ns, clocks_per_ns) for one in clocks] for mode in MODES}
        kernels_us = _under_profiler(gpu, spinner, clocks)
        after = spinner.clocks_per_ns()
        overhead = gpu.graph_target(spinner.graph(0), keep=spinner).measure_overhead()
    row.add(
        shown("multiprocessor's clock", 1000 * clocks_per_ns, "MHz", reason=f"{1000 * after:,.4g} MHz after the runs"),
        shown(
            "span of an empty pair of events", overhead.span_ns / 1e3, "us", reason=f"steps of {overhead.step_ns} ns"
        ),
    )
    for mode, (nothing, *spins) in ours.items():
        spread = quartiles(nothing.span)
        row.add(
            shown(f"{mode}: span(0), the offset", median_of(nothing.span), "us", spread=spread, spread_of="quartiles")
        )
        for spin_us, times, kernel_us in zip(SPINS_US, spins, kernels_us[1:], strict=True):
            row.add(judge_clock(mode, spin_us, times, nothing))
            row.add(judge_profiler(mode, spin_us, times, nothing, kernel_us, kernels_us[0]))


def _times(gpu: Gpu, spinner: Spinner, clocks: int, mode: str, step_ns: int, clocks_per_ns: float) -> Times:
    target = gpu.graph_target(spinner.graph(clocks), keep=spinner)
    samples = take(target, RUNS, mode)
    if len(samples) != RUNS or target.gate_timeouts:
        raise RuntimeError(f"{len(samples)} samples of {RUNS}, {target.gate_timeouts} launches let go by the watchdog")
    own = own_ns(spinner.records()[-RUNS:], step_ns, clocks_per_ns)
    return Times(column_us(samples, "gpu"), [ns / 1e3 for ns in own])


def _under_profiler(gpu: Gpu, spinner: Spinner, clocks: list[int]) -> list[list[float]]:
    def launch_all() -> None:
        for one in clocks:
            for _ in range(RUNS):
                spinner.launch(one)

    seen = [ns / 1e3 for ns in profiled_ns(launch_all, "spin", gpu.stream)]
    if len(seen) != RUNS * len(clocks):
        raise RuntimeError(f"the profiler saw {len(seen)} launches of {RUNS * len(clocks)}")
    return [seen[begin : begin + RUNS] for begin in range(0, len(seen), RUNS)]


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
