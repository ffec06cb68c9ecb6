# SPDX-License-Identifier: Apache-2.0
"""Rules of the fake driver: its clock, the order of its streams, and gates."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
from fake_cuda_calls import CALL, INVALID_VALUE, NOT_READY, NOT_SUPPORTED, POLL, RECORD, SUCCESS, Background, Gpu
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with Gpu.entered() as entered:
        yield entered


def test_the_clock_moves_by_the_cost_of_a_call_and_by_nothing_else(gpu: Gpu) -> None:
    before = gpu.fake.now_ns()
    assert gpu.fake.now_ns() == before
    gpu("cuCtxSynchronize")
    assert gpu.fake.now_ns() == before + CALL
    gpu.fake.call_cost(5_000, "cuCtxSynchronize")
    gpu.fake.call_cost(1)
    gpu("cuCtxSynchronize")
    gpu.made("cuCtxGetCurrent")
    gpu.fake.advance(70)
    assert gpu.fake.now_ns() == before + CALL + 5_000 + 1 + 70


def test_work_starts_when_it_is_queued_and_a_wait_jumps_to_its_end(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu("cuGraphLaunch", gpu.fake.graph(10_000), stream)
    queued = gpu.fake.now_ns()
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == queued + 10_000
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == queued + 10_000 + CALL  # there is nothing to wait for


def test_a_stream_works_off_its_queue_in_order_and_an_event_is_done_after_what_is_before_it(gpu: Gpu) -> None:
    stream, graph = gpu.stream(), gpu.fake.graph(10_000)
    start = gpu.recorded(stream)
    gpu("cuGraphLaunch", graph, stream)
    gpu("cuGraphLaunch", graph, stream)
    end = gpu.recorded(stream)
    gpu("cuEventSynchronize", end)
    gpu.fake.event_tick(1)
    assert gpu.elapsed_ns(start, end) == pytest.approx(20_000 + RECORD)


def test_streams_overlap(gpu: Gpu) -> None:
    one, other, graph = gpu.stream(), gpu.stream(), gpu.fake.graph(10_000)
    gpu("cuGraphLaunch", graph, one)
    gpu("cuGraphLaunch", graph, other)
    queued = gpu.fake.now_ns()
    gpu("cuCtxSynchronize")
    assert gpu.fake.now_ns() == queued + 10_000


def test_queries_are_not_ready_until_the_end_and_take_the_poll_step(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.record_cost(0)
    gpu.fake.enqueue(stream, 5_000)
    end = gpu.recorded(stream)
    begin = gpu.fake.now_ns() - 2 * CALL  # an event was made and recorded since
    polls = 0
    while gpu.code("cuEventQuery", end) == NOT_READY:
        polls += 1
        assert gpu.code("cuStreamQuery", stream) in (SUCCESS, NOT_READY)
    assert gpu.code("cuStreamQuery", stream) == SUCCESS
    assert polls > 0
    assert begin + 5_000 <= gpu.fake.now_ns() <= begin + 5_000 + 2 * (POLL + CALL) + CALL


def test_an_empty_pair_of_events_measures_a_record_in_whole_ticks(gpu: Gpu) -> None:
    stream = gpu.stream()
    start, end = gpu.recorded(stream), gpu.recorded(stream)
    gpu("cuEventSynchronize", end)
    measured = gpu.elapsed_ns(start, end)
    assert abs(measured - RECORD) < 32
    assert measured / 32 == pytest.approx(round(measured / 32))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100_000)), min_size=1, max_size=20))
def test_every_stream_ends_when_a_queue_in_order_would(work: list[tuple[int, int]]) -> None:
    with Gpu.entered() as gpu:
        fake = gpu.fake
        fake.event_tick(1)
        fake.record_cost(0)
        streams = [gpu.stream() for _ in range(3)]
        free_at = [0, 0, 0]
        origin = gpu.recorded(streams[0])
        gpu("cuEventSynchronize", origin)
        started = fake.now_ns() - CALL
        ends = []
        for number, duration in work:
            assert fake.enqueue(streams[number], duration) == SUCCESS
            free_at[number] = max(free_at[number], fake.now_ns()) + duration
            recorded = gpu.recorded(streams[number])
            free_at[number] = max(free_at[number], fake.now_ns())
            ends.append((recorded, free_at[number]))
        gpu("cuCtxSynchronize")
        for event, expected in ends:
            assert gpu.elapsed_ns(origin, event) == pytest.approx(expected - started, abs=0.5)


def test_a_graph_takes_its_durations_in_turn_and_a_clock_drop_lengthens_what_comes_later(gpu: Gpu) -> None:
    stream, graph = gpu.stream(), gpu.fake.graph(1_000, 2_000)
    spans = []
    for launch in range(4):
        if launch == 3:
            gpu.fake.clock_drop(2.0)
        gpu("cuGraphLaunch", graph, stream)
        queued = gpu.fake.now_ns()
        gpu("cuStreamSynchronize", stream)
        spans.append(gpu.fake.now_ns() - queued)
    assert spans == [1_000, 2_000, 1_000, 4_000]


def test_the_first_launch_of_each_graph_takes_the_host_longer(gpu: Gpu) -> None:
    stream, graph = gpu.stream(), gpu.fake.graph(0)
    gpu.fake.slow_first_launch(1_000_000)
    costs = []
    for each in (graph, graph, gpu.fake.graph(0)):
        before = gpu.fake.now_ns()
        gpu("cuGraphLaunch", each, stream)
        costs.append(gpu.fake.now_ns() - before)
    assert costs == [1_000_000 + CALL, CALL, 1_000_000 + CALL]


# ---- gates


def test_a_closed_gate_holds_back_what_is_behind_it_until_it_is_seen_open(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    gpu.gate(stream, flag)
    start = gpu.recorded(stream)
    gpu.fake.enqueue(stream, 10_000)
    gpu.fake.advance(1_000_000)
    before = gpu.fake.now_ns()
    assert gpu.code("cuStreamQuery", stream) == NOT_READY
    assert gpu.fake.now_ns() == before + CALL + POLL
    flag.value = 1
    opened = gpu.fake.now_ns()
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == opened + RECORD + 10_000
    assert gpu.code("cuEventQuery", start) == SUCCESS


def test_a_gate_that_is_open_takes_no_time(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    gpu.fake.enqueue(stream, 10_000)
    queued = gpu.fake.now_ns()
    gpu.gate(stream, flag)
    flag.value = 1
    gpu.fake.enqueue(stream, 5_000)
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == queued + 15_000


@pytest.mark.parametrize(
    ("seen", "wanted", "is_open"),
    [(0, 1, False), (1, 1, True), (2, 1, True), (2**31 + 2, 2, False), (1, 2**32 - 1, True), (2**32 - 1, 1, False)],
)
def test_a_gate_compares_across_the_wrap_around(gpu: Gpu, seen: int, wanted: int, is_open: bool) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    flag.value = seen
    gpu.gate(stream, flag, wanted)
    assert gpu.code("cuStreamQuery", stream) == (SUCCESS if is_open else NOT_READY)


def test_a_wait_behind_a_closed_gate_lasts_in_real_time_until_another_thread_opens_it(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    gpu.gate(stream, flag)
    event = gpu.recorded(stream)
    wait = Background(gpu, lambda: gpu.code("cuEventSynchronize", event))
    assert wait.is_blocked()
    flag.value = 1
    assert wait.ends_with() == SUCCESS


def test_a_submit_can_block_behind_a_gate(gpu: Gpu) -> None:
    stream, other, flag, graph = gpu.stream(), gpu.stream(), gpu.flag(), gpu.fake.graph(1_000)
    gpu.fake.block_submit_behind_gate(True)
    gpu.fake.enqueue(stream, 50_000)
    gpu.gate(stream, flag)
    gpu("cuGraphLaunch", graph, other)  # which has no gate
    launch = Background(gpu, lambda: gpu.code("cuGraphLaunch", graph, stream))
    assert launch.is_blocked()
    flag.value = 1
    assert launch.ends_with() == SUCCESS
    assert gpu.fake.pending(stream) == 1


def test_a_full_queue_blocks_behind_a_gate_and_costs_time_without_one(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    gpu.fake.queue_limit(2)
    gpu.fake.enqueue(stream, 50_000)
    queued = gpu.fake.now_ns()
    gpu.fake.enqueue(stream, 50_000)
    gpu.fake.enqueue(stream, 50_000)
    assert gpu.fake.now_ns() == queued + 50_000  # the first had to end
    gpu("cuStreamSynchronize", stream)
    gpu.gate(stream, flag)
    gpu.fake.enqueue(stream, 1)
    third = Background(gpu, lambda: gpu.fake.enqueue(stream, 1))
    assert third.is_blocked()
    flag.value = 1
    assert third.ends_with() == SUCCESS


def test_a_launch_can_synchronise_inside(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.sync_inside_launch(True)
    before = gpu.fake.now_ns()
    gpu("cuGraphLaunch", gpu.fake.graph(10_000), stream)
    assert gpu.fake.now_ns() == before + CALL + 10_000
    assert gpu.fake.pending(stream) == 0


def test_waits_for_values_can_be_unsupported_or_ill_addressed(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    address = ctypes.addressof(flag)
    assert gpu.code("cuStreamWaitValue32", stream, address + 1, 1, 0) == INVALID_VALUE
    assert gpu.code("cuStreamWaitValue32", stream, address + 4, 1, 0) == INVALID_VALUE
    gpu.fake.device_attribute(0, 122, 0)
    assert gpu.code("cuStreamWaitValue32", stream, address, 1, 0) == NOT_SUPPORTED
