# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's profile read: no time counted twice, no inference that is not whole, and lines that are no JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import MeasurementError
from pyperf_infer.profile.onnxruntime_events import (
    Event,
    Inference,
    NodeTotals,
    arena_peak_bytes,
    inferences,
    read_events,
)


def ran(name: str, ts: int, dur: int, *, tid: int = 1, **args: Any) -> Event:
    known = {"op_name": "Op", "provider": "CPU", "node_index": name, "output_size": "8"}
    return Event("Node", f"{name}_kernel_time", ts, dur, tid, {**known, **args})


def run(ts: int, dur: int) -> Event:
    return Event("Session", "model_run", ts, dur)


def own(inference: Inference) -> dict[str, int]:
    return {node.name: node.own_us for node in inference.nodes}


def text(*events: Event) -> str:
    fields = [
        {"cat": one.cat, "name": one.name, "ts": one.ts, "dur": one.dur, "tid": one.tid, "args": one.args}
        for one in events
    ]
    return "[\n" + ",\n".join(json.dumps(one) for one in fields) + "\n]\n"


def test_what_runs_inside_of_a_node_is_not_its_own_time() -> None:
    """A Loop's event holds those of its body, which stand before it; loops nest."""
    events = [
        ran("before", 0, 5),
        ran("inner", 12, 4),
        ran("inner loop", 11, 6),
        ran("body", 18, 2),
        ran("inner", 23, 4),
        ran("inner loop", 22, 7),
        ran("loop", 10, 30),
        ran("after", 41, 2),
        run(0, 50),
    ]
    (inference,), left = inferences(events)
    assert left == 0
    assert [node.name for node in inference.nodes] == [
        "before",
        "loop",
        "inner loop",
        "inner",
        "body",
        "inner loop",
        "inner",
        "after",
    ]
    totals = NodeTotals()
    totals.add(inference)
    assert {node.name: (node.calls, node.own_us, node.total_us, node.has_parts) for node in totals.nodes} == {
        "before": (1, 5, 5, False),
        "loop": (1, 30 - 13 - 2, 30, True),
        "inner loop": (2, 2 + 3, 13, True),
        "inner": (2, 8, 8, False),
        "body": (1, 2, 2, False),
        "after": (1, 2, 2, False),
    }


def test_threads_do_not_hold_each_others_nodes() -> None:
    (inference,), _ = inferences([ran("a", 5, 10, tid=1), ran("b", 0, 30, tid=2), run(0, 40)])
    assert own(inference) == {"a": 10, "b": 30}


def test_a_neighbour_that_began_in_the_same_microsecond_costs_nothing() -> None:
    (inference,), _ = inferences([ran("short", 7, 0), ran("long", 7, 9), run(0, 20)])
    assert own(inference) == {"short": 0, "long": 9}


@dataclass
class Made:
    """A node with what runs inside of it, in nanoseconds."""

    begin: int
    end: int
    own: int
    parts: list[Made] = field(default_factory=list)

    def events(self, into: list[tuple[str, Event]]) -> None:
        for part in self.parts:
            part.events(into)
        begin, length = self.begin // 1000, (self.end - self.begin) // 1000
        into.append((f"n{len(into)}", ran(f"n{len(into)}", begin, length)))

    def all(self) -> list[Made]:
        return [one for part in self.parts for one in part.all()] + [self]


@st.composite
def nodes(draw: st.DrawFn, begin: int = 0, depth: int = 3) -> Made:
    at = begin
    parts = []
    for _ in range(draw(st.integers(0, 3 if depth else 0))):
        part = draw(nodes(at + draw(st.integers(0, 3000)), depth - 1))
        parts.append(part)
        at = part.end
    end = at + draw(st.integers(0, 5000))
    return Made(begin, end, end - begin - sum(part.end - part.begin for part in parts), parts)


@given(nodes())
def test_every_node_gets_its_own_time_to_a_microsecond_a_part(tree: Made) -> None:
    events: list[tuple[str, Event]] = []
    tree.events(events)
    (inference,), _ = inferences([*(event for _, event in events), run(0, tree.end // 1000)])
    found = own(inference)
    for (name, _), node in zip(events, tree.all(), strict=True):
        assert abs(found[name] - node.own / 1000) < 1 + len(node.parts)
    assert sum(found.values()) <= tree.end // 1000


def test_an_inference_without_its_end_is_not_one() -> None:
    """ONNX Runtime stops recording after a million events."""
    complete, left = inferences([ran("a", 0, 1), run(0, 2), ran("a", 3, 1), ran("b", 4, 1)])
    assert (len(complete), left) == (1, 2)


def test_loading_and_other_events_are_no_nodes() -> None:
    events = [
        Event("Session", "session_initialization", 0, 9),
        Event("Node", "a_fence_before", 0, 1),
        ran("a", 1, 2),
        run(0, 4),
    ]
    (inference,), _ = inferences(events)
    assert own(inference) == {"a": 2}


def test_nodes_of_one_name_are_told_apart_by_their_number() -> None:
    """As those of a graph and of its subgraph, which may have the same names."""
    totals = NodeTotals()
    totals.add(
        Inference(
            run(0, 9),
            inferences([ran("n", 0, 2, node_index="4"), ran("n", 3, 3, node_index="7"), run(0, 9)])[0][0].nodes,
        )
    )
    assert [(node.name, node.own_us) for node in totals.nodes] == [("n", 2), ("n", 3)]


def test_shapes_are_those_of_the_first_call_and_strange_ones_are_left_out() -> None:
    first = ran("a", 0, 1, input_type_shape=[{"float": [1, 3]}, {"int64": []}, "?"], output_type_shape=None)
    second = ran("a", 2, 1, input_type_shape=[{"float": [2, 3]}])
    totals = NodeTotals()
    for inference in inferences([first, run(0, 1), second, run(2, 1)])[0]:
        totals.add(inference)
    (node,) = totals.nodes
    assert (node.input_shapes, node.output_shapes, node.output_bytes) == ([[1, 3], []], [], 16)


def test_a_profile_that_is_json_is_read_whole() -> None:
    profile = read_events(text(ran('a "b" \\ \n', 0, 1), run(0, 2)).encode())
    assert profile.whole
    assert [event.name for event in profile.events] == ['a "b" \\ \n_kernel_time', "model_run"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_names_that_are_not_escaped_are_read_all_the_same(name: str) -> None:
    line = (
        '{"cat" : "Node","tid" :1,"dur" :2,"ts" :3,"ph" : "X","name" :"NAME_kernel_time","args" : {"op_name" : "Add"}}'
    )
    last = json.dumps({"cat": "Session", "name": "model_run", "ts": 3, "dur": 4})
    data = f"[\n{line.replace('NAME', name)},\n{last}\n]\n"
    events = read_events(data.encode()).events
    assert [event.name for event in events][-1] == "model_run"
    assert len(events) == 2
    assert events[0].args == {"op_name": "Add"}


def test_a_line_that_is_lost_is_counted_and_the_others_stay() -> None:
    data = text(ran("a", 0, 1), run(0, 2)).replace("]\n", ',\n{"cat" : "Node", broken')
    profile = read_events(data.encode())
    assert (len(profile.events), profile.whole, profile.unreadable) == (2, False, 1)


@pytest.mark.parametrize("data", [b"", b"nothing", b"{}", b"[\n\xff\xfe"])
def test_what_is_no_profile_at_all_is_an_error(data: bytes) -> None:
    with pytest.raises(MeasurementError, match="no JSON"):
        read_events(data)


def memory(used: int, mark: int, delta: int) -> dict[str, str]:
    return {"mem_bytes_in_use": str(used), "mem_in_use_peak": str(mark), "mem_in_use_delta": str(delta)}


def first_of(*events: Event) -> Inference:
    return inferences([*events, run(0, 100)])[0][0]


def test_the_arenas_peak_is_above_what_was_there_before() -> None:
    first = first_of(
        ran("a", 0, 1, **memory(150, 150, 50)),
        ran("b", 2, 1, **memory(250, 250, 100)),
        ran("c", 4, 1, **memory(180, 250, 0)),
    )
    assert arena_peak_bytes(first) == 150


def test_scratch_memory_inside_of_a_node_shows_where_the_mark_rose() -> None:
    first = first_of(ran("a", 0, 1, **memory(150, 150, 50)), ran("b", 2, 1, **memory(160, 900, 10)))
    assert arena_peak_bytes(first) == 800


def test_a_mark_from_before_the_inference_is_not_its_own() -> None:
    first = first_of(ran("a", 0, 1, **memory(150, 900, 50)), ran("b", 2, 1, **memory(160, 900, 10)))
    assert arena_peak_bytes(first) == 60


def test_a_profile_that_tells_no_memory_gives_none() -> None:
    assert arena_peak_bytes(first_of(ran("a", 0, 1))) is None
    assert arena_peak_bytes(first_of()) is None
    two = first_of(ran("a", 0, 1, **memory(1, 1, 1)), ran("b", 2, 1, **memory(1, 1, 0), provider="CUDA"))
    assert arena_peak_bytes(two) is None
