# SPDX-License-Identifier: Apache-2.0
"""The hand-written loop that the product's host cost is held against, on the fake driver: what it calls, and in which
order, is what it claims; and beside the product's own loop on the same graph.
"""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from fake_cuda import FakeCuda
from gpu import host_cost
from gpu.host_cost import LAUNCHES, SAMPLES, HandLoop

from pyperf_infer import _core

pytestmark = pytest.mark.skipif(not hasattr(_core, "GraphTarget"), reason="built without the GPU's part")


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as loaded:
        yield loaded


class Side:
    """The product's stream and graph on the fake driver, and the loop by hand on the same two."""

    def __init__(self, fake: FakeCuda) -> None:
        self.context = _core.GpuContext(0, str(fake.path))
        self.stream = _core.GpuStream(self.context)
        self.graph = fake.graph(1_000)
        lane = _core.GraphLane(self.graph, self.stream)
        self.target = _core.GraphTarget([lane], _core.StreamPlan())


@pytest.fixture
def side(fake: FakeCuda) -> Iterator[Side]:
    made = Side(fake)
    yield made
    del made


@pytest.fixture
def hand(fake: FakeCuda, side: Side) -> Iterator[HandLoop]:
    with HandLoop.compiled(str(fake.path), 0, side.graph, side.stream.handle) as loop:
        yield loop


def test_launches_in_a_row_are_launches_and_nothing_else(fake: FakeCuda, hand: HandLoop) -> None:
    fake.log()
    hand.launch_ns()
    lines = fake.log_lines()
    first = lines.index("cuGraphLaunch")
    assert lines[first : first + LAUNCHES] == ["cuGraphLaunch"] * LAUNCHES
    assert lines[first + LAUNCHES] == "cuStreamSynchronize"
    assert lines.count("cuGraphLaunch") == SAMPLES // LAUNCHES * LAUNCHES


def test_event_records_in_a_row_are_records_and_nothing_else(fake: FakeCuda, hand: HandLoop) -> None:
    fake.log()
    hand.record_ns()
    lines = fake.log_lines()
    first = lines.index("cuEventRecord")
    assert lines[first : first + LAUNCHES] == ["cuEventRecord"] * LAUNCHES
    assert "cuGraphLaunch" not in lines


def test_a_sample_by_hand_makes_the_calls_of_the_products(fake: FakeCuda, side: Side, hand: HandLoop) -> None:
    def one_sample(lines: list[str]) -> list[str]:
        """From the last launch but one to the last, without repeated questions."""
        end = len(lines) - 1 - lines[::-1].index("cuGraphLaunch")
        begin = end - 1 - lines[:end][::-1].index("cuGraphLaunch")
        kept = lines[begin:end]
        return [name for number, name in enumerate(kept) if number == 0 or name != kept[number - 1]]

    fake.log()
    hand.samples()
    by_hand = one_sample(fake.log_lines())
    fake.log()
    _core.run_batch(side.target, _core.Samples(), 10)
    assert one_sample(fake.log_lines()) == by_hand
    assert by_hand == ["cuGraphLaunch", "cuEventRecord", "cuEventQuery", "cuEventElapsedTime", "cuEventRecord"]


def test_both_sides_give_numbers_in_turn(side: Side, hand: HandLoop) -> None:
    found = host_cost.take_rounds(side.target, hand, 2)
    assert len(found) == 2
    for one in found:
        assert min(one.launch_ns, one.record_ns, *one.hand, *one.ours) > 0
        assert one.ours.submit_ns <= one.ours.latency_ns
        assert one.hand.submit_ns <= one.hand.latency_ns
    assert {figure.unit for figure in host_cost.judge(found)} == {"us"}


@pytest.mark.parametrize(
    "function", ["cuGraphLaunch", "cuEventRecord", "cuEventQuery", "cuEventCreate", "cuCtxPushCurrent"]
)
def test_a_call_that_fails_is_an_error_with_its_code(fake: FakeCuda, hand: HandLoop, function: str) -> None:
    fake.fail(function, 719)
    with pytest.raises(RuntimeError, match="CUresult 719"):
        hand.samples()


def test_it_leaves_nothing_behind(fake: FakeCuda, side: Side, hand: HandLoop) -> None:
    before = [fake.live(what) for what in ("events", "contexts")]
    hand.launch_ns()
    hand.record_ns()
    hand.samples()
    for function in ("cuGraphLaunch", "cuEventRecord"):
        fake.fail(function, 719)
        with pytest.raises(RuntimeError, match="719"):
            hand.samples()
    assert [fake.live(what) for what in ("events", "contexts")] == before


def test_a_library_that_is_no_driver_is_refused(side: Side) -> None:
    with (
        pytest.raises(RuntimeError, match="CUresult 500"),
        HandLoop.compiled(ctypes.util.find_library("m") or "libm.so.6", 0, side.graph, side.stream.handle),
    ):
        pass
