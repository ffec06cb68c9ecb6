# SPDX-License-Identifier: Apache-2.0
"""Nodes that compute with integers, back to those between Quantize and Dequantize that they execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph_cases import graph, labels, node

from pyperf_infer.profile.graph_sources import find_sources

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node


def test_products_between_renamed_integers_are_those_that_run_them() -> None:
    """As where the signed values of a file become unsigned ones, under names that the optimiser makes up."""
    weights = ("w", "v", "s", "z")
    old = graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
            node("DequantizeLinear", ["x_q", "s", "z"], ["x_d"]),
            node("DequantizeLinear", ["w", "s", "z"], ["w_d"]),
            node("MatMul", ["x_d", "w_d"], ["a"]),
            node("QuantizeLinear", ["a", "s", "z"], ["a_q"]),
            node("DequantizeLinear", ["a_q", "s", "z"], ["a_d"]),
            node("DequantizeLinear", ["v", "s", "z"], ["v_d"]),
            node("MatMul", ["a_d", "v_d"], ["b"]),
            node("QuantizeLinear", ["b", "s", "z"], ["b_q"]),
            node("DequantizeLinear", ["b_q", "s", "z"], ["y"]),
        ],
        ["y"],
        ("x",),
        *weights,
    )
    new = graph(
        [
            node("QuantizeLinear", ["x", "s", "u"], ["t0"], "quantize"),
            node("QLinearMatMul", ["t0", "s", "u", "w", "s", "z", "s", "u"], ["t1"], "first"),
            node("QLinearMatMul", ["t1", "s", "u", "v", "s", "z", "s", "u"], ["t2"], "second"),
            node("DequantizeLinear", ["t2", "s", "u"], ["y"], "dequantize"),
        ],
        ["y"],
        ("x",),
        *weights,
        "u",
    )
    assert labels(find_sources(new, old), new) == {
        "quantize": ["node_x_q"],
        "first": ["node_x_d", "node_w_d", "node_a", "node_a_q"],
        "second": ["node_a_d", "node_v_d", "node_b", "node_b_q"],
        "dequantize": ["node_y"],
    }


def test_a_product_of_two_values_keeps_them_in_order() -> None:
    """Scales and zero points lie between them in the node that computes with integers."""

    def dequantised(first: str, second: str) -> list[Node]:
        return [
            node("DequantizeLinear", [first, "s", "z"], ["p"]),
            node("DequantizeLinear", [second, "s", "z"], ["q"]),
        ]

    products = [
        node("MatMul", ["p", "q"], ["pq"]),
        node("QuantizeLinear", ["pq", "s", "z"], ["pq_q"]),
        node("MatMul", ["q", "p"], ["qp"]),
        node("QuantizeLinear", ["qp", "s", "z"], ["qp_q"]),
    ]
    ends = [node("DequantizeLinear", [name, "s", "z"], [end]) for name, end in (("pq_q", "y"), ("qp_q", "o"))]
    old = graph([*dequantised("a", "b"), *products, *ends], ["y", "o"], ("a", "b"), "s", "z")
    new = graph(
        [
            node("QLinearMatMul", ["b", "s", "u", "a", "s", "u", "s", "u"], ["t0"], "second"),
            node("QLinearMatMul", ["a", "s", "u", "b", "s", "u", "s", "u"], ["t1"], "first"),
            node("DequantizeLinear", ["t1", "s", "u"], ["y"]),
            node("DequantizeLinear", ["t0", "s", "u"], ["o"]),
        ],
        ["y", "o"],
        ("a", "b"),
        *("s", "u"),
    )
    found = labels(find_sources(new, old), new)
    both = ["node_p", "node_q"]
    assert found["first"] == [*both, "node_pq", "node_pq_q"]
    assert found["second"] == [*both, "node_qp", "node_qp_q"]
    assert (found["node_y"], found["node_o"]) == (["node_y"], ["node_o"])


def test_of_siblings_each_is_told_by_its_weights() -> None:
    old = graph(
        [
            node("DequantizeLinear", ["w", "s", "z"], ["w_d"]),
            node("DequantizeLinear", ["v", "s", "z"], ["v_d"]),
            node("Conv", ["x", "w_d"], ["a"]),
            node("Conv", ["x", "v_d"], ["b"]),
            node("QuantizeLinear", ["a", "s", "z"], ["a_q"]),
            node("QuantizeLinear", ["b", "s", "z"], ["b_q"]),
            node("DequantizeLinear", ["a_q", "s", "z"], ["a_d"]),
            node("DequantizeLinear", ["b_q", "s", "z"], ["b_d"]),
            node("Add", ["a_d", "b_d"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("w", "v", "s", "z"),
    )
    new = graph(
        [
            node("QLinearConv", ["x", "s", "u", "v", "s", "z", "s", "u"], ["t0"], "of v"),
            node("QLinearConv", ["x", "s", "u", "w", "s", "z", "s", "u"], ["t1"], "of w"),
            node("QLinearAdd", ["t1", "s", "u", "t0", "s", "u"], ["y"], "sum"),
        ],
        ["y"],
        ("x",),
        *("w", "v", "s", "z", "u"),
    )
    assert labels(find_sources(new, old), new) == {
        "of v": ["node_v_d", "node_b", "node_b_q"],
        "of w": ["node_w_d", "node_a", "node_a_q"],
        "sum": ["node_a_d", "node_b_d", "node_y"],
    }


def test_a_dequantize_that_was_copied_for_each_reader_is_the_same_in_each() -> None:
    def copied(names: tuple[str, str]) -> Graph:
        return graph(
            [
                node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("DequantizeLinear", ["q", "s", "z"], [names[0]], "one"),
                node("DequantizeLinear", ["q", "s", "z"], [names[1]], "other"),
                node("Exp", [names[0]], ["e"]),
                node("Add", ["e", names[1]], ["y"]),
            ],
            ["y"],
            ("x",),
            *("s", "z"),
        )

    old, new = copied(("d", "d")), copied(("made_up", "d"))
    old = graph([one for one in old.nodes if one.name != "other"], ["y"], ("x",), "s", "z")
    assert labels(find_sources(new, old), new) == {
        "node_q": ["node_q"],
        "one": ["one"],
        "other": ["one"],
        "node_e": ["node_e"],
        "node_y": ["node_y"],
    }


def test_a_quantize_that_was_put_in_stands_for_nothing_of_its_own() -> None:
    """As where it is moved in front of a Reshape, and stays behind it."""
    pair = [node("QuantizeLinear", ["r", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    old = graph([node("Exp", ["x"], ["e"]), node("Reshape", ["e", "k"], ["r"]), *pair], ["y"], ("x",), "s", "z", "k")
    new = graph(
        [
            node("Exp", ["x"], ["e"]),
            node("QuantizeLinear", ["e", "s", "z"], ["t0"], "put in"),
            node("DequantizeLinear", ["t0", "s", "z"], ["t1"], "put in 2"),
            node("Reshape", ["t1", "k"], ["r"]),
            *(node(one.op, one.inputs, one.outputs) for one in pair),
        ],
        ["y"],
        ("x",),
        *("s", "z", "k"),
    )
    found = find_sources(new, old)
    assert {one.label for one in found.put_in} == {"put in", "put in 2"}
    own = {one.label: labels(found, new)[one.label] for one in new.nodes if one not in found.put_in}
    assert own == {name: [name] for name in ("node_e", "node_r", "node_q", "node_y")}


def test_a_product_reads_integers_that_another_node_still_reads_dequantised() -> None:
    old = graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("Exp", ["d"], ["e"]),
            node("MatMul", ["d", "d"], ["m"]),
            node("QuantizeLinear", ["m", "s", "z"], ["m_q"]),
            node("DequantizeLinear", ["m_q", "s", "z"], ["y"]),
        ],
        ["e", "y"],
        ("x",),
        *("s", "z"),
    )
    new = graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("Exp", ["d"], ["e"]),
            node("QLinearMatMul", ["q", "s", "z", "q", "s", "z", "s", "u"], ["t0"], "product"),
            node("DequantizeLinear", ["t0", "s", "u"], ["y"]),
        ],
        ["e", "y"],
        ("x",),
        *("s", "z", "u"),
    )
    assert labels(find_sources(new, old), new) == {
        "node_q": ["node_q"],
        "node_d": ["node_d"],
        "node_e": ["node_e"],
        "product": ["node_m", "node_m_q"],
        "node_y": ["node_y"],
    }
