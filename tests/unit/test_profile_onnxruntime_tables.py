# SPDX-License-Identifier: Apache-2.0
"""The nodes' table: sessions put together, weights counted once, modules named, and what stays open said."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_cases
import pytest
from onnx import TensorProto, helper, numpy_helper

from pyperf_infer.profile.graph_sources import Sources, find_sources
from pyperf_infer.profile.onnxruntime_events import Event, NodeTotals, inferences
from pyperf_infer.profile.onnxruntime_graph import Graph, Node, read_graph
from pyperf_infer.profile.onnxruntime_layers import layers_of, module_path
from pyperf_infer.profile.onnxruntime_nodes import MergedNode, merge
from pyperf_infer.profile.onnxruntime_table import COLUMNS, mapped_share, node_rows, untold
from pyperf_infer.results.profile_csv import table_csv
from pyperf_infer.results.profile_schema import ProfileTable

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import ProfileRow


def profiled(*spans: tuple[str, str, int], times: int = 1) -> NodeTotals:
    """Nodes (name, operator, microseconds) that ran one after the other."""
    totals = NodeTotals()
    for _ in range(times):
        events, at = [], 0
        for index, (name, op, length) in enumerate(spans):
            known = {"op_name": op, "provider": "CPU", "node_index": str(index), "output_size": "4"}
            events.append(Event("Node", f"{name}_kernel_time", at, length, 1, known))
            at += length + 1
        totals.add(inferences([*events, Event("Session", "model_run", 0, at)])[0][0])
    return totals


def one(op: str, name: str, inputs: Sequence[str], output: str) -> Node:
    return Node(name, op, tuple(inputs), (output,), uses=tuple(inputs))


GIVEN = Graph(
    (one("Conv", "first", ["x", "w"], "a"), one("Relu", "", ["a"], "b"), one("Conv", "last", ["b", "w"], "y")),
    ("x",),
    ("y",),
    {"w": 6},
    frozenset({"w"}),
)


def session(first: str, second: str) -> Graph:
    """As ONNX Runtime lays it out, with the names that it made up in this session."""
    nodes = (
        one("ReorderInput", first, ["x"], "t0"),
        one("Conv", "b_nchwc", ["t0", "w"], "t1"),
        one("Conv", "y_nchwc", ["t1", "w"], "t2"),
        one("ReorderOutput", second, ["t2"], "y"),
    )
    return Graph(nodes, ("x",), ("y",), {"w": 6}, frozenset({"w"}))


def ran(graph: Graph, *lengths: int, times: int = 1) -> tuple[NodeTotals, Graph]:
    return profiled(
        *((node.name, node.op, at) for node, at in zip(graph.nodes, lengths, strict=True)), times=times
    ), graph


def trace(graph: Graph) -> Sources:
    return find_sources(graph, GIVEN)


def test_sessions_that_number_their_nodes_anew_are_put_together_by_what_they_stand_for() -> None:
    one_name, another = session("Reorder_1", "Reorder_2"), session("Reorder_2", "Reorder_1")
    nodes = merge([ran(one_name, 1, 20, 30, 4), ran(another, 3, 22, 30, 6)], trace)
    assert [(node.total.name, node.total.calls, node.total.own_us) for node in nodes] == [
        ("Reorder_1", 2, 4),
        ("b_nchwc", 2, 42),
        ("y_nchwc", 2, 60),
        ("Reorder_2", 2, 10),
    ]
    assert [[node.label for node in merged.origin] for merged in nodes] == [
        ["first", "b"],
        ["first", "b"],
        ["last"],
        ["last"],
    ]
    assert [node.put_in for node in nodes] == [True, False, False, True]


def test_a_session_without_its_graph_has_rows_without_sources() -> None:
    nodes = merge([(profiled(("a", "Conv", 5)), None)], trace)
    assert [(node.total.name, node.origin, node.weights) for node in nodes] == [("a", (), None)]


def test_nodes_without_names_are_found_by_their_operator_in_order() -> None:
    graph = Graph((one("Cos", "", ["x"], "a"), one("Sin", "", ["a"], "b"), one("Cos", "", ["b"], "y")), ("x",), ("y",))
    nodes = merge(
        [(profiled(("Cos_0", "Cos", 1), ("Sin_1", "Sin", 2), ("Cos_2", "Cos", 3)), graph)],
        lambda new: find_sources(new, graph),
    )
    assert [[old.label for old in node.origin] for node in nodes] == [["a"], ["b"], ["y"]]


def test_of_unnamed_nodes_of_which_some_did_not_run_none_is_guessed() -> None:
    graph = Graph((one("Cos", "", ["x"], "a"), one("Cos", "", ["a"], "y")), ("x",), ("y",))
    (node,) = merge([(profiled(("Cos_1", "Cos", 1)), graph)], lambda new: find_sources(new, graph))
    assert node.origin == ()


def rows(nodes: Sequence[MergedNode], whole_ms: float = 0.1, times: int = 1) -> list[ProfileRow]:
    return node_rows(nodes, inferences=times, whole_ms=whole_ms, modules=frozenset())


def test_times_are_means_of_an_inference_and_a_shared_weight_counts_once() -> None:
    graph = session("i", "o")
    found = rows(merge([ran(graph, 1, 20, 30, 4, times=4)], trace), times=4)
    assert [(row.name, row.calls, row.time_ms, row.parameters, row.output_bytes) for row in found] == [
        ("i", 1, 0.001, 0, 4),
        ("b_nchwc", 1, 0.02, 6, 4),
        ("y_nchwc", 1, 0.03, 0, 4),
        ("o", 1, 0.004, 0, 4),
    ]
    assert [row.share for row in found] == pytest.approx([0.01, 0.2, 0.3, 0.04])
    assert all(row.total_ms is None and row.device_time_ms is None for row in found)
    assert mapped_share(found) == 1.0


def test_the_time_on_a_device_is_a_mean_over_its_own_pass() -> None:
    totals, graph = ran(session("i", "o"), 1, 20, 30, 4)
    other = session("o", "i")
    first = inferences(
        [
            Event("Node", f"{node.name}_kernel_time", 0, 1, 1, {"op_name": node.op, "provider": "CPU"})
            for node in other.nodes
        ]
        + [Event("Session", "model_run", 0, 9)]
    )[0][0]
    device = NodeTotals.of_nodes([first])
    device.put_on_device(
        {node.key: 5000 * (index + 1) for index, node in enumerate(sorted(first.nodes, key=lambda run: run.op))}
    )
    nodes = merge([(totals, graph), (device, other)], trace)
    found = node_rows(nodes, inferences=1, whole_ms=0.1, modules=frozenset(), device_inferences=5)
    assert [(row.name, row.calls, row.device_time_ms) for row in found] == [
        ("i", 1, 0.003),
        ("b_nchwc", 1, 0.001),
        ("y_nchwc", 1, 0.002),
        ("o", 1, 0.004),
    ]


def test_what_is_not_traced_is_named_with_its_share() -> None:
    found = rows(
        merge([(profiled(("known", "Relu", 30), *((f"lost {index}", "Conv", 1) for index in range(10))), None)], trace)
    )
    found[0].sources = ["relu"]
    assert mapped_share(found) == pytest.approx(0.75)
    (said,) = untold(found, [False] * 11)
    assert said.startswith(
        "10 nodes could not be traced to nodes of the given graph, 25.0% of the nodes' time: Conv 'lost 0'"
    )
    assert said.endswith("and 2 more")
    assert untold(found[:1], [False]) == []
    (one,), (two,) = untold(found[:1], [True]), untold([found[0], found[0]], [True] * 2)
    assert one.startswith("1 node (Relu), 100.0% of the nodes' time, was put in by ONNX Runtime")
    assert one.endswith("it shows the sources of the nodes that it serves")
    assert two.endswith("they show the sources of the nodes that they serve")


def test_a_table_without_time_has_no_share() -> None:
    found = rows(merge([(profiled(("a", "Relu", 0)), None)], trace), whole_ms=0.0)
    assert (mapped_share(found), found[0].share) == (None, None)


def test_the_csv_has_a_line_a_node_and_runs_nothing_in_a_spreadsheet() -> None:
    found = rows(merge([(profiled(("=HYPERLINK()", "Conv", 30), ("b", "Relu", 1)), None)], trace))
    found[1].input_shapes, found[1].sources, found[1].layers = [[1, 3], []], ["p", "q"], ["m.0"]
    table = ProfileTable(
        name="onnxruntime nodes", backend="onnxruntime", method="", inferences=1, rows=found, whole_ms=0.04,
        rest_ms=0.009, perturbation=None,
    )  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(table_csv(table, COLUMNS))))
    assert [line["name"] for line in lines] == ["'=HYPERLINK()", "b", "", ""]
    assert [(line["record"], line["time_ms"]) for line in lines[2:]] == [("rest", "0.009"), ("whole", "0.04")]
    assert lines[0]["plain_ms"] == ""
    assert (lines[1]["input_shapes"], lines[1]["sources"], lines[1]["layers"]) == ("1x3; scalar", "p; q", "m.0")
    assert (lines[1]["time_ms"], lines[1]["total_ms"]) == ("0.001", "")


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"pkg.torch.onnx.name_scopes": "['', 'layer1', 'layer1.0', 'relu']"}, "layer1.0"),
        ({"pkg.torch.onnx.name_scopes": "['', 'add']"}, ""),
        ({"pkg.torch.onnx.name_scopes": "not a list", "namespace": ": Net/fc: Linear/linear: aten.linear"}, "fc"),
        ({"namespace": "_empty_nn_module_stack_from_metadata_hook: x/sym_size: aten.sym_size.int"}, None),
        ({"namespace": "alone"}, None),
        ({}, None),
    ],
)
def test_the_exporters_notes_name_the_innermost_module(metadata: dict[str, str], path: str | None) -> None:
    assert module_path(metadata) == path


def test_layers_are_those_of_the_notes_and_of_the_weights() -> None:
    notes = {"pkg.torch.onnx.name_scopes": "['', 'module', 'module.bn', 'batch_norm']"}
    node = Node("c", "Conv", ("x", "module.conv.weight", "val_3"), ("y",), metadata=notes)
    assert layers_of([node, node], frozenset({"", "conv", "bn"})) == ("conv", "bn")
    assert layers_of([node], frozenset()) == ("module.bn",)


def test_a_weight_of_several_layers_names_none_that_a_node_is_not_of() -> None:
    """Exporters keep equal weights once: every bias of zeros is called after the first layer that has one."""
    nodes = [
        Node(
            path,
            "Add",
            ("x", "first.bias", f"{path}.own"),
            (f"{path}.y",),
            metadata={"pkg.torch.onnx.name_scopes": f"['', '{path}', 'add']"} if path != "unknown" else {},
        )
        for path in ("first", "second", "unknown")
    ]
    modules = frozenset({"", "first", "second"})
    origins = [MergedNode(profiled((one.name, "Add", 1)).nodes[0], (one,), put_in=False, weights=None) for one in nodes]
    found = node_rows(origins, inferences=1, whole_ms=0.1, modules=modules)
    assert [row.layers for row in found] == [["first"], ["second"], ["first"]]
    again = [MergedNode(one.total, (nodes[1],), put_in=False, weights=None) for one in origins]
    found = node_rows(again, inferences=1, whole_ms=0.1, modules=modules)
    assert all(row.layers == ["first", "second"] for row in found)  # of one module alone: it may have been folded


def test_a_file_is_read_with_its_subgraphs_and_without_its_weights(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["s", "inner"], ["m"]),
            helper.make_node("Add", ["m", "outer"], ["s2"]),
            helper.make_node("Identity", ["c"], ["c2"]),
        ],
        "body",
        [
            onnx_cases.value("i", (), TensorProto.INT64),
            onnx_cases.value("c", (), TensorProto.BOOL),
            onnx_cases.value("s", (4,)),
        ],
        [onnx_cases.value("c2", (), TensorProto.BOOL), onnx_cases.value("s2", (4,))],
        [numpy_helper.from_array(np.ones(4, np.float32), "inner")],
    )
    nodes = [
        helper.make_node("Constant", [], ["n"], value=numpy_helper.from_array(np.array(3))),
        helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=body),
    ]
    constants = [numpy_helper.from_array(np.ones(4, np.float32), "outer")]
    graph = read_graph(
        onnx_cases.save(
            tmp_path / "m.onnx", nodes, [onnx_cases.value("x", (4,))], [onnx_cases.value("y", (4,))], constants
        )
    )
    (loop,) = graph.nodes
    assert loop.uses == ("n", "x", "outer")
    assert [node.op for node in graph.every_node()] == ["Loop", "Mul", "Add", "Identity"]
    assert (graph.constants, graph.weights) == ({"outer": 4, "n": 0}, {"outer"})
    assert loop.subgraphs["body"].weights == {"inner"}
    loops = profiled(("loop", "Loop", 9), ("Mul_0", "Mul", 1), ("Add_1", "Add", 1), ("Identity_2", "Identity", 1))
    found = rows(merge([(loops, graph)], lambda new: find_sources(new, graph)))
    assert [(row.kind, row.parameters) for row in found] == [("Loop", 0), ("Mul", 4), ("Add", 4), ("Identity", 0)]
