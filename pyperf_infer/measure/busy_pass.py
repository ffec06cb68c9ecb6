# SPDX-License-Identifier: Apache-2.0
"""The GPU-busy times of rows that have been measured, in passes of their own at the end of a run.

A profiler may stay attached to the process and slow down what comes later: nothing is timed after the first pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Backend, PreparedBackend
    from pyperf_infer.backends.busy import Busy
    from pyperf_infer.measure.case import Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.gpu import GpuSide
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Result

PHASE = "GPU-busy pass"
# Why there is no figure, until or unless a pass gives one.
OTHER_MODELS = (
    "not measured: other models are timed after it in this process, which the profiler may slow down; run it alone"
)
_NOT_YET = "not measured: the run ended before its pass, which is after everything that is timed"
_BROKE_OFF = "not measured: measuring broke off with an error"
_RANGED = "not measured: --profile-range leaves the profiler to Nsight"

# Calls of a pass: some, and no more than a fraction of a second's worth, since every kernel is recorded.
_FEWEST_CALLS, _MOST_CALLS, _BUSY_NS = 3, 30, 200_000_000
_WARM_UP_NS = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row with numbers, and what made it."""

    case: Case
    backend: Backend
    result: Result
    median_ns: float


def wants_pass(result: Result, plan: RunPlan) -> bool:
    """Whether a pass is still to come for a row. Until then, or for good, the row says why there is no figure."""
    summary = result.summary
    if result.method.gpu is None:
        return False
    if plan.profile_range:
        summary.gpu_busy_method = _RANGED
    elif result.error is not None:
        summary.gpu_busy_method = _BROKE_OFF
    else:
        summary.gpu_busy_method = _NOT_YET
        return True
    return False


def measure_busy(row: Measured, around: Surroundings, side: GpuSide) -> None:
    """Fills in the row's GPU-busy time, or why there is none: whatever goes wrong here, the row stays as it is."""
    calls = max(_FEWEST_CALLS, min(_MOST_CALLS, int(_BUSY_NS / max(1.0, row.median_ns))))
    summary = row.result.summary
    try:
        with around.phases.timed(PHASE), _prepared(row, around, side) as prepared:
            busy = _busy(prepared, calls, side.facts.ordinal)
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0] or type(error).__name__
        summary.gpu_busy_method = f"not measured: {said}"
        return
    summary.gpu_busy_ms = busy.ms_per_call
    how = f"{busy.method}; {calls} calls one after the other on one stream (mode latency)"
    summary.gpu_busy_method = how if busy.missing is None else f"not measured: {busy.missing}"


@contextmanager
def _prepared(row: Measured, around: Surroundings, side: GpuSide) -> Iterator[PreparedBackend]:
    model = row.case.model
    side.release_cached()
    row.backend.convert(model, row.case.shapes)
    prepared = row.backend.prepare(model, make_inputs(model.inputs, row.case.shapes, around.plan.seed))
    try:
        yield prepared
    finally:
        with suppress(Exception):  # after a lost device nothing can be freed; what went wrong first is what counts
            prepared.close()


def _busy(prepared: PreparedBackend, calls: int, device: int) -> Busy:
    from pyperf_infer.backends.busy import gpu_busy  # imports torch

    def run(count: int) -> None:
        _core.run_batch(prepared.target, _core.Samples(), count)

    with prepared.measuring(), garbage_collection(enabled=False):
        end_ns = _core.now_ns() + _WARM_UP_NS
        while _core.now_ns() < end_ns:
            run(1)
        return gpu_busy(run, calls, device=device)
