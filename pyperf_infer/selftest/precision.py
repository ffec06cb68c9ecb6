# SPDX-License-Identifier: Apache-2.0
"""How long a measurement takes until it is precise."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from pyperf_infer import _core, timers
from pyperf_infer.selftest.records import PrecisionLine
from pyperf_infer.selftest.work import steps_for

WORK_S = 0.001
CI = 0.01
BUDGET_S = 12.0  # a little beyond what is called too long


def time_to_precision(
    number: int, *, step_ns: float, confidence: float, progress: Callable[..., object] | None = None
) -> PrecisionLine:
    """Measures work of 1 ms until the interval of its median is within 1%, as fast as it can be had: warm-up and all.

    The wall time is that of the whole call, as a user waits for it.
    """
    target = _core.SpinTarget(steps_for(WORK_S, step_ns))
    begin = perf_counter()
    samples = timers.measure(
        target, duration=0.0, max_duration=BUDGET_S, ci=CI, confidence=confidence, progress=progress
    )
    wall_s = perf_counter() - begin
    return PrecisionLine(number=number, wall_s=wall_s, samples=len(samples.ns), converged=samples.converged)
