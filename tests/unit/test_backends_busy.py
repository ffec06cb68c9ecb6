# SPDX-License-Identifier: Apache-2.0
"""The GPU's busy time: the union of intervals, and which of the profiler's events are work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyperf_infer.backends.busy import METHOD, Event, busy_of, union_ns, work_intervals

INTERVALS = st.lists(st.tuples(st.integers(-50, 200), st.integers(0, 60)).map(lambda pair: (pair[0], sum(pair))))


@given(INTERVALS)
@example([(0, 5), (5, 9)])
@example([(0, 100), (10, 20), (30, 40)])
def test_the_union_counts_every_nanosecond_once(intervals: list[tuple[int, int]]) -> None:
    assert union_ns(intervals) == len({moment for begin, end in intervals for moment in range(begin, end)})


@given(INTERVALS, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(intervals: list[tuple[int, int]], random: object) -> None:
    shuffled = intervals * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert union_ns(shuffled) == union_ns(intervals)


@given(INTERVALS, INTERVALS)
def test_a_union_lies_between_its_longest_part_and_the_sum(
    some: list[tuple[int, int]], more: list[tuple[int, int]]
) -> None:
    both = union_ns(some + more)
    assert max(union_ns(some), union_ns(more)) <= both <= union_ns(some) + union_ns(more)


def test_a_lost_record_takes_no_time() -> None:
    assert union_ns([(100, 0), (10, 20), (15, 12)]) == 10
    assert union_ns([]) == 0


class MadeUp:
    """An event as the profiler of PyTorch 2.9 has it; one with a `kind` is as later ones have it."""

    def __init__(
        self,
        name: str = "gemm",
        begin: int = 0,
        end: int = 10,
        *,
        device: int = 0,
        on: str = "CUDA",
        annotation: bool = False,
        kind: str | None = None,
    ) -> None:
        self._name, self._begin, self._end = name, begin, end
        self._device, self._on, self._annotation = device, on, annotation
        if kind is not None:
            self.activity_type = lambda: kind

    def name(self) -> str:
        return self._name

    def device_type(self) -> SimpleNamespace:
        return SimpleNamespace(name=self._on)

    def device_index(self) -> int:
        return self._device

    def start_ns(self) -> int:
        return self._begin

    def end_ns(self) -> int:
        return self._end

    def is_user_annotation(self) -> bool:
        return self._annotation


def intervals_of(*events: MadeUp, device: int = 0) -> list[tuple[int, int]]:
    typed: list[Event] = list(events)  # type: ignore[arg-type]
    return work_intervals(typed, device)


@pytest.mark.parametrize("kind", ["kernel", "gpu_memcpy", "gpu_memset"])
def test_kernels_copies_and_fills_are_work(kind: str) -> None:
    assert intervals_of(MadeUp(begin=3, end=8, kind=kind)) == [(3, 8)]


@pytest.mark.parametrize("kind", ["gpu_user_annotation", "cuda_sync", "overhead", "cuda_event", "user_annotation"])
def test_nothing_else_on_the_devices_timeline_is(kind: str) -> None:
    assert intervals_of(MadeUp(kind=kind)) == []


def test_what_runs_on_the_host_or_on_another_device_is_not() -> None:
    host = MadeUp("cudaLaunchKernel", on="CPU", kind="cuda_runtime")
    first, second = MadeUp(begin=1, kind="kernel"), MadeUp(begin=2, device=1, kind="kernel")
    assert intervals_of(host, first, second) == [(1, 10)]
    assert intervals_of(host, first, second, device=1) == [(2, 10)]


def test_where_events_have_no_kind_annotations_and_waits_are_left_out_by_name() -> None:
    work = [
        MadeUp("Memcpy HtoD (Pinned -> Device)", 1),
        MadeUp("void gemm<float>(...)", 2),
        MadeUp("Memset (Device)", 3),
    ]
    waits = [MadeUp(name) for name in ("Context Sync", "Stream Sync", "Stream Wait Event", "Event Sync")]
    assert intervals_of(*waits, MadeUp("step", annotation=True), *work) == [(1, 10), (2, 10), (3, 10)]


def test_busy_time_and_kernels_are_those_of_one_call() -> None:
    """Two streams side by side: what overlaps is busy once, but both kernels count."""
    busy = busy_of([(0, 1_000_000), (500_000, 2_000_000), (10_000_000, 12_000_000)], calls=2)
    assert (busy.ms_per_call, busy.kernels_per_call, busy.missing) == (2.0, 1.5, None)
    assert busy.method == METHOD


def test_without_any_work_there_is_a_reason_and_no_zero() -> None:
    busy = busy_of([], calls=10)
    assert (busy.ms_per_call, busy.kernels_per_call) == (None, None)
    assert busy.missing is not None
    assert "saw nothing run on the device" in busy.missing
