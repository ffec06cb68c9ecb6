# SPDX-License-Identifier: Apache-2.0
"""Whether watching the GPU through NVML slows what is measured: a graph with the product's monitor polling and without,
block by block in turn. The monitor is another process; without, it has ended.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

from gpu.common import NotYet, Row, median_of, run_row
from gpu.device import Gpu
from gpu.figures import Figure, at_most, failed, shown
from gpu.work import products
from pyperf_infer import _core
from pyperf_infer.statistics.compare import MARGIN, compare_rounds
from pyperf_infer.system.gpu_monitor import INTERVAL_MS, GpuMonitor

BLOCK_NS = 300_000_000
ROUNDS, ROUNDS_CORE = 30, 12
BOUND_PERCENT = 100 * MARGIN  # what a comparison calls the same


def block_p50_ns(target: _core.Target) -> float:
    """The median of a block."""
    plan = _core.StopPlan(
        min_samples=10, min_duration_ns=BLOCK_NS, max_duration_ns=2 * BLOCK_NS, relative_half_width=math.inf
    )
    samples = _core.Samples()
    _core.measure(target, plan, samples)
    return median_of(samples.ns.tolist())


def polled_block_p50_ns(target: _core.Target, uuid: str) -> tuple[float, int]:
    """As `block_p50_ns` while the monitor polls, and the readings it took in the block.

    Raises:
        NotYet: the GPU cannot be read here; says why.
    """
    with GpuMonitor(uuid, INTERVAL_MS) as monitor:
        if not monitor.ready():
            raise NotYet(f"the GPU cannot be watched: {monitor.why_not or 'no reading came in time'}")
        begin_ns = _core.now_ns()
        p50_ns = block_p50_ns(target)
        readings = monitor.readings(begin_ns, _core.now_ns())
    return p50_ns, len(readings)


def judge(off_ns: Sequence[float], on_ns: Sequence[float]) -> list[Figure]:
    """The ratio of the rounds, polled over not polled, with its interval."""
    ratio = compare_rounds(on_ns, off_ns)
    if ratio.interval is None:
        return [
            failed(
                "p50 with polling on and off apart", ratio.reason or "too few rounds", f"at most {BOUND_PERCENT:g} %"
            )
        ]
    low, high = ratio.interval
    return [
        at_most(
            "p50 with polling on and off apart", 100 * abs(ratio.ratio - 1), BOUND_PERCENT, "%",
            reason=f"on / off {ratio.ratio:.5f}, 95% interval {low:.5f} to {high:.5f}, {ratio.rounds} rounds",
        ),
        shown("p50 with polling off", median_of(off_ns) / 1e3, "us"),
    ]  # fmt: skip


def run(row: Row, options: argparse.Namespace) -> None:
    rounds = ROUNDS_CORE if options.core else ROUNDS
    off_ns: list[float] = []
    on_ns: list[float] = []
    readings = 0
    with Gpu(options.device) as gpu:
        work = products(gpu)
        target = gpu.graph_target(gpu.capture(work), keep=work)
        block_p50_ns(target)  # up to speed
        for number in range(rounds):
            for polled in (False, True) if number % 2 else (True, False):
                if polled:
                    p50_ns, seen = polled_block_p50_ns(target, gpu.facts.uuid)
                    on_ns.append(p50_ns)
                    readings += seen
                else:
                    off_ns.append(block_p50_ns(target))
    row.say(
        f"{rounds} rounds of a block each of {BLOCK_NS / 1e9:g} s, polled every {INTERVAL_MS:g} ms: {readings} readings"
    )
    row.add(*judge(off_ns, on_ns))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
