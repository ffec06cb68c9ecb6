# SPDX-License-Identifier: Apache-2.0
"""Kernels find the nodes that launched them, however far the two profilers' clocks are apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.profile.kernel_times import KernelTimes, kernel_times
from pyperf_infer.profile.onnxruntime_events import Event, Inference, NodeTotals, inferences
from pyperf_infer.profile.onnxruntime_kernels import joined

MARK = "a call"


@dataclass
class Traced:
    name: str
    cat: str
    ts: float
    dur: float
    args: dict[str, Any] = field(default_factory=dict)


def call(begin: int, *spans: tuple[str, int, int]) -> list[Event]:
    nodes = [Event("Node", f"{name}_kernel_time", at, length, 1, {"op_name": name}) for name, at, length in spans]
    last = max(event.ts + event.dur for event in nodes)
    return [*nodes, Event("Session", "model_run", begin, last + 3 - begin)]


def calls(*events: list[Event]) -> list[Inference]:
    return inferences([event for one in events for event in one])[0]


class Trace:
    """What Kineto records; `shift` is how far its clock is ahead."""

    def __init__(self, shift: float) -> None:
        self.shift = shift
        self.events: list[Traced] = []

    def mark(self, begin: float, end: float) -> None:
        self.events.append(Traced(MARK, "user_annotation", begin + self.shift, end - begin))

    def launch(self, at: float, us: float, *, known: bool = True, kind: str = "kernel") -> None:
        correlation = len(self.events)
        if known:
            self.events.append(
                Traced("cudaLaunchKernel", "cuda_runtime", at + self.shift, 1, {"correlation": correlation})
            )
        self.events.append(Traced("gemm", kind, at + self.shift + 500, us, {"correlation": correlation}))


def by_name(times: KernelTimes) -> dict[object, int]:
    return {key[0]: ns for key, ns in times.of_node.items()}


def two_calls() -> list[Inference]:
    return calls(
        call(100, ("a", 102, 10), ("b", 120, 20), ("c", 150, 5)),
        call(300, ("a", 302, 12), ("b", 321, 20), ("c", 351, 6)),
    )


@pytest.mark.parametrize("shift", [0.0, 1.7e9, -250.5])
def test_kernels_go_to_the_node_in_which_they_were_launched(shift: float) -> None:
    trace = Trace(shift)
    trace.mark(92, 900)
    trace.mark(292, 1900)
    for base in (0, 200):
        trace.launch(base + 106, 3)
        trace.launch(base + 125, 7)
        trace.launch(base + 135, 1)
        trace.launch(base + 153, 2, kind="gpu_memcpy")
    times = kernel_times(two_calls(), trace.events, MARK)
    assert by_name(times) == {"a": 6000, "b": 16000, "c": 4000}
    assert (times.inferences, times.lost, times.outside_ns, times.unknown_ns, times.matched_share) == (2, 0, 0, 0, 1.0)


@given(
    st.lists(st.tuples(st.integers(6, 40), st.integers(0, 12), st.integers(1, 3)), min_size=1, max_size=8),
    st.floats(-1e12, 1e12, allow_nan=False),
    st.integers(0, 20),
    st.integers(0, 500),
)
def test_no_clock_however_far_off_mixes_up_nodes_that_are_well_apart(
    shape: list[tuple[int, int, int]], shift: float, before: int, after: int
) -> None:
    """Nodes with gaps of at least 6 us, launches at the first and the last moment of each."""
    begin, spans, launches = 1000, [], []
    at = begin
    for index, (gap, length, kernels) in enumerate(shape):
        at += gap
        spans.append((f"n{index}", at, length))
        launches += [(f"n{index}", at + length * number / kernels, index + 1) for number in range(kernels)]
        launches.append((f"n{index}", at + length, index + 1))
        at += length
    profile = calls(call(begin, *spans))
    trace = Trace(round(shift))
    trace.mark(begin - before, begin + profile[0].run.dur + after)
    for _, moment, us in launches:
        trace.launch(moment, us)
    times = kernel_times(profile, trace.events, MARK)
    wanted: dict[object, int] = {}
    for name, _, us in launches:
        wanted[name] = wanted.get(name, 0) + us * 1000
    assert sum(by_name(times).values()) == sum(wanted.values())
    assert by_name(times) == wanted


def test_clocks_that_drift_apart_between_calls_are_laid_over_each_other_call_by_call() -> None:
    trace = Trace(5000)
    trace.mark(99, 160)
    for at in (106, 130, 153):
        trace.launch(at, 1)
    trace.shift = 9000
    trace.mark(299, 362)
    for at in (306, 330, 353):
        trace.launch(at, 1)
    assert by_name(kernel_times(two_calls(), trace.events, MARK)) == {"a": 2000, "b": 2000, "c": 2000}


def test_what_no_node_launched_and_what_has_no_launch_is_told_apart() -> None:
    trace = Trace(0)
    trace.mark(50, 1000)
    trace.launch(60, 4)  # a transfer before the run
    for at in (103, 111, 121, 139, 151):
        trace.launch(at, 1)
    trace.launch(130, 5, known=False)
    times = kernel_times(two_calls()[:1], trace.events, MARK)
    assert (times.outside_ns, times.unknown_ns) == (4000, 5000)
    assert times.matched_share == pytest.approx(5 / 14)


def test_work_between_the_calls_is_none_of_theirs() -> None:
    trace = Trace(0)
    trace.mark(95, 170)
    trace.launch(106, 1)
    trace.launch(500, 9)
    assert by_name(kernel_times(two_calls()[:1], trace.events, MARK)) == {"a": 1000}


def test_the_innermost_of_nested_nodes_launched_it() -> None:
    profile = calls(call(0, ("body", 20, 10), ("loop", 10, 40)))
    trace = Trace(0)
    trace.mark(-3, 60)
    for at, us in ((12, 1), (25, 2), (45, 4)):
        trace.launch(at, us)
    assert by_name(kernel_times(profile, trace.events, MARK)) == {"loop": 5000, "body": 2000}


def test_recordings_that_contradict_each_other_count_for_nothing() -> None:
    trace = Trace(0)
    trace.mark(100, 110)  # shorter than the run in it
    trace.launch(105, 1)
    times = kernel_times(two_calls()[:1], trace.events, MARK)
    assert (times.inferences, times.lost, times.of_node) == (0, 1, {})
    assert kernel_times(two_calls(), trace.events, MARK).lost == 2  # and a mark too few


def totals() -> NodeTotals:
    return NodeTotals.of_nodes(two_calls())


def test_the_pass_puts_kernels_at_their_nodes_and_says_what_has_none() -> None:
    key = next(node.key for node in two_calls()[0].nodes if node.name == "b")
    found = joined(KernelTimes(inferences=2, of_node={key: 6000}, outside_ns=3000, unknown_ns=1000), totals(), None)
    assert found.totals is not None
    assert {node.name: node.device_ns for node in found.totals.nodes} == {"a": 0, "b": 6000, "c": 0}
    assert found.inferences == 2
    assert [said.split(" ")[0] for said in found.not_told] == ["30.0%", "10.0%"]


@pytest.mark.parametrize(
    ("times", "why"),
    [(KernelTimes(inferences=3), "saw nothing run on the device"), (KernelTimes(lost=4), "of 4 calls contradict")],
)
def test_a_pass_without_kernels_says_why(times: KernelTimes, why: str) -> None:
    found = joined(times, totals(), None)
    assert found.totals is None
    assert why in found.not_told[0]
