# SPDX-License-Identifier: Apache-2.0
"""The clock that a quantity is read from, its step and its cost."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from pyperf_infer import _core

# Read on the device; everything else by the host.
_ON_DEVICE = ("gpu", "period", "h2d", "d2h")


class Clock(NamedTuple):
    """`overhead_ns` is what a sample of no work reads; `step_ns` the smallest difference two samples can have."""

    name: str
    overhead_ns: int
    step_ns: int


@cache
def steady_clock() -> Clock:
    """The host's clock in this process, measured once."""
    properties = _core.measure_steady_clock()
    return Clock(properties.name, properties.overhead_ns, properties.step_ns)


def clock_of(target: _core.Target, mode: str, overhead: _core.EventOverhead | None) -> Clock:
    """The clock of what `mode` judges on this target; `overhead` is what a GPU's own stream was found to add."""
    if overhead is None:
        return steady_clock()
    judged = target.quantities(mode)[0]
    if judged not in _ON_DEVICE:
        return Clock(steady_clock().name, overhead.latency_ns, steady_clock().step_ns)
    # Where all empty spans were alike nothing tells the step, and 1 ns is the finest that an event is read to.
    return Clock("gpu_event", overhead.span_ns if judged == "gpu" else 0, max(1, overhead.step_ns))
