# SPDX-License-Identifier: Apache-2.0
"""Work of a known size, to try the tool on: it does the same steps every time, and 2% slower is 2% more steps."""

from __future__ import annotations

import sys
import time

from pyperf_infer import _core

_TRIED_STEPS = 100_000
_TRIES = 30
_CLOCK_MONOTONIC_COARSE = 6  # Linux's number; its resolution is one tick of the timer, and Python has no name for it


def ns_per_step() -> float:
    """What one step takes: the least of some tries, since what disturbs a try makes it longer."""
    target = _core.SpinTarget(_TRIED_STEPS)
    return min(_core.run_batched(target, 1) for _ in range(_TRIES)) / _TRIED_STEPS


def steps_for(duration_s: float, step_ns: float) -> int:
    """How many steps take about that long."""
    return max(1, round(duration_s * 1e9 / step_ns))


def slowed(steps: int, slow_down: float) -> int:
    """The steps of work that takes a share of `slow_down` longer."""
    return round(steps * (1 + slow_down))


def timer_tick_s() -> float | None:
    """The period of the kernel's timer interrupt; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    tick = time.clock_getres(_CLOCK_MONOTONIC_COARSE)
    return tick if 1e-4 <= tick <= 0.1 else None
