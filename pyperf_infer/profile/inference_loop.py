# SPDX-License-Identifier: Apache-2.0
"""Inferences until a plan is content."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.timing.target import to_ns

if TYPE_CHECKING:
    from pyperf_infer.profile.plan import ProfilePlan

# Of a table's budget; the rest is for what its instrument costs.
SHARE_OF_INFERENCES = 0.5
SHARE_OF_WARM_UP = 0.05

_LOOK = 3  # calls, to know about how long one takes
_REPORT_NS = 100_000_000
_BATCH_NS = 20_000_000


def batches(name: str, plan: ProfilePlan, call_ns: float, most: int) -> Iterator[int]:
    """How many inferences to run next without anything between them, until there are enough of them or half of a
    table's budget is spent.

    What is done between two batches leaves caches cold, so that a batch is long where calls are short.

    Args:
        name: what a progress display is told.
        call_ns: about how long one inference takes.
        most: the most that a batch can be.
    """
    begin_ns = told_ns = _core.now_ns()
    budget_ns = to_ns("max_duration_s", plan.max_duration_s * SHARE_OF_INFERENCES)
    least_ns = to_ns("duration_s", plan.duration_s)
    batch = max(1, min(most, int(_BATCH_NS / max(1.0, call_ns))))
    done = 0
    while True:
        batch_begin_ns = _core.now_ns()
        yield batch
        now_ns = _core.now_ns()
        done += batch
        elapsed_ns = now_ns - begin_ns
        if plan.progress is not None and now_ns - told_ns >= _REPORT_NS:
            plan.progress(name, done, elapsed_ns, budget_ns, (now_ns - batch_begin_ns) // batch)
            told_ns = now_ns
        if elapsed_ns >= budget_ns or (done >= plan.inferences and elapsed_ns >= least_ns):
            return


def warm_up(call: Callable[[], object], plan: ProfilePlan) -> float:
    """Calls until the times are steady. Returns about how long one takes, in nanoseconds."""
    target = _core.CallableTarget(call)
    _core.warm_up(
        target, budget_ns=to_ns("max_duration_s", plan.max_duration_s * SHARE_OF_WARM_UP), progress=plan.progress
    )
    samples = _core.Samples()
    _core.run_batch(target, samples, _LOOK)
    return float(statistics.median(samples.ns.tolist()))
