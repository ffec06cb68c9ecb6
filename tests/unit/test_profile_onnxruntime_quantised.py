# SPDX-License-Identifier: Apache-2.0
"""Nodes that compute with integers, back to those between Quantize and Dequantize that they execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph_cases import graph, labels, node

from pyperf_infer.profile.graph_sources import find_sources

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Node


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
