# SPDX-License-Identifier: Apache-2.0
"""The nodes' time on a GPU, in a pass of its own: ONNX Runtime's profile of calls that PyTorch's profiler records too.

A node's own event is the host's time of launching its kernels. CUPTI, through Kineto, sees the kernels of every library
in the process, and slows the host down: the times on the host in this pass are of no use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.profile.kernel_times import KernelTimes, kernel_times
from pyperf_infer.profile.onnxruntime_events import NodeTotals, inferences, read_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyperf_infer.profile.onnxruntime_graph import Graph
    from pyperf_infer.profile.onnxruntime_runs import ProfiledSession

MARK = "pyperf-infer: one inference"
METHOD = "; device_time_ms is from CUPTI through torch.profiler, in a pass of its own"
_CALLS, _WARM_UP = 10, 3


@dataclass(frozen=True)
class DevicePass:
    """Sums over `inferences` calls on the device, with the session's graph; no sums where `not_told` says why."""

    totals: NodeTotals | None
    graph: Graph | None
    inferences: int
    not_told: tuple[str, ...]


def device_pass(open_session: Callable[[], ProfiledSession], device: int) -> DevicePass:
    """Records a few calls of a new session. Whatever keeps the profiler from working is told in the result."""
    from pyperf_infer.backends.torch_common import first_line  # imports torch, as those below

    try:
        return _recorded(open_session, device)
    except Exception as error:  # after everything that is timed: the table keeps what it has
        return DevicePass(None, None, 0, (_no_times(first_line(error)),))


def _recorded(open_session: Callable[[], ProfiledSession], device: int) -> DevicePass:
    import torch
    from torch.profiler import record_function

    from pyperf_infer.profile.kineto import Recording, read_trace, recorded, why_not

    missing = why_not() if torch.cuda.is_available() else "PyTorch finds no CUDA device"
    if missing is not None:
        return DevicePass(None, None, 0, (_no_times(missing),))
    session = open_session()
    _core.run_batch(session.target, _core.Samples(), _WARM_UP)

    def calls() -> None:
        for _ in range(_CALLS):
            with record_function(MARK):
                _core.run_batch(session.target, _core.Samples(), 1)
        torch.cuda.synchronize(device)

    recording = Recording(gpu=True)
    missing = recorded(calls, recording)
    path = session.end_profiling()
    try:
        runs, _ = inferences(read_events(path.read_bytes()).events)
    finally:
        path.unlink(missing_ok=True)
    if missing is not None:
        return DevicePass(None, None, 0, (_no_times(missing),))
    if len(runs) < _CALLS:
        raise MeasurementError("ONNX Runtime's profile of this pass was cut short")
    runs = runs[-_CALLS:]
    return joined(kernel_times(runs, read_trace(recording.trace()), MARK), NodeTotals.of_nodes(runs), session.graph)


def joined(times: KernelTimes, totals: NodeTotals, graph: Graph | None) -> DevicePass:
    """Puts the kernels' times at their nodes, and what has no node into words."""
    share = times.matched_share
    if not times.inferences:
        why = f"the two profilers' recordings of {times.lost} calls contradict each other"
        return DevicePass(None, None, 0, (_no_times(why),))
    if share is None:
        why = "the profiler saw nothing run on the device: CUPTI is not permitted, or in use by another tool"
        return DevicePass(None, None, 0, (_no_times(why),))
    totals.put_on_device(times.of_node)
    whole = sum(times.of_node.values()) + times.outside_ns + times.unknown_ns
    said = []
    if times.outside_ns:
        said.append(f"{times.outside_ns / whole:.1%} of the kernels' time, which was started outside of every node")
    if times.unknown_ns:
        said.append(f"{times.unknown_ns / whole:.1%} of the kernels' time, whose launch the profiler did not record")
    if times.lost:
        said.append(f"the kernels of {times.lost} calls, of which the two profilers' recordings contradict each other")
    return DevicePass(totals, graph, times.inferences, tuple(said))


def _no_times(why: str) -> str:
    return f"the nodes' time on the GPU: {why}"
