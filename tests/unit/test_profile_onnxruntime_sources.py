# SPDX-License-Identifier: Apache-2.0
"""From the nodes of an optimised graph back to the given one: fusions, layouts, expansions, and nothing mixed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph_cases import graph, labels, node

from pyperf_infer.profile.graph_matching import names_of
from pyperf_infer.profile.graph_operators import operator
from pyperf_infer.profile.graph_sources import find_sources

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node


def test_an_unchanged_graph_is_its_own_source() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    old, new = (
        graph(nodes, ["y"], ("x",), "w"),
        graph([node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])], ["y"]),
    )
    assert labels(find_sources(new, old), new) == {"node_a": ["node_a"], "node_y": ["node_y"]}


def test_a_fused_node_stands_for_all_between_its_ends() -> None:
    old = graph(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Add", ["a", "b"], ["c"]),
            node("Gelu", ["c"], ["d"]),
            node("MatMul", ["d", "w2"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("w", "b", "w2"),
    )
    new = graph(
        [node("MatMul", ["x", "w"], ["a"]), node("BiasGelu", ["a", "b"], ["d"]), node("MatMul", ["d", "w2"], ["y"])],
        ["y"],
    )
    assert labels(find_sources(new, old), new) == {
        "node_a": ["node_a"],
        "node_d": ["node_c", "node_d"],
        "node_y": ["node_y"],
    }


def test_a_fused_node_with_several_outputs_stands_for_what_leads_to_each() -> None:
    """As SkipLayerNormalization, which also gives the sum."""
    old = graph(
        [
            node("Add", ["x", "r"], ["sum"]),
            node("LayerNormalization", ["sum"], ["n"]),
            node("Add", ["sum", "n"], ["y"]),
        ],
        ["y"],
        ("x", "r"),
    )
    new = graph(
        [node("SkipLayerNormalization", ["x", "r"], ["n", "sum"], "skip"), node("Add", ["sum", "n"], ["y"])],
        ["y"],
        ("x", "r"),
    )
    assert labels(find_sources(new, old), new) == {"skip": ["node_sum", "node_n"], "node_y": ["node_y"]}


def test_what_was_folded_into_a_constant_is_nobodys_source() -> None:
    old = graph([node("Shape", ["w"], ["s"]), node("Reshape", ["x", "s"], ["y"])], ["y"], ("x",), "w")
    new = graph([node("Reshape", ["x", "s"], ["y"])], ["y"], ("x",), "s")
    assert labels(find_sources(new, old), new) == {"node_y": ["node_y"]}


def test_a_removed_identity_belongs_to_the_node_behind_it() -> None:
    old = graph([node("Identity", ["x"], ["i"]), node("Relu", ["i"], ["y"])], ["y"])
    new = graph([node("Relu", ["x"], ["y"])], ["y"])
    assert labels(find_sources(new, old), new) == {"node_y": ["node_i", "node_y"]}


def test_of_two_equal_nodes_the_one_that_is_left_stands_for_both() -> None:
    """And the node behind the other one does not."""
    old = graph(
        [node("Exp", ["x"], ["a"]), node("Exp", ["x"], ["b"]), node("Neg", ["a"], ["c"]), node("Relu", ["b"], ["y"])],
        ["c", "y"],
    )
    new = graph([node("Exp", ["x"], ["b"]), node("Neg", ["b"], ["c"]), node("Relu", ["b"], ["y"])], ["c", "y"])
    assert labels(find_sources(new, old), new) == {
        "node_b": ["node_a", "node_b"],
        "node_c": ["node_c"],
        "node_y": ["node_y"],
    }


def test_nodes_of_a_new_layout_are_paired_and_what_was_put_in_shows_whom_it_serves() -> None:
    old = graph(
        [
            node("FusedConv", ["x", "w", "b"], ["r"]),
            node("Conv", ["r", "w2", "b2"], ["c"]),
            node("Add", ["c", "r"], ["s"]),
            node("Relu", ["s"], ["t"]),
            node("ReduceMean", ["t"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("w", "w2", "b", "b2"),
    )
    new = graph(
        [
            node("ReorderInput", ["x"], ["reorder_3"]),
            node("Conv", ["reorder_3", "reorder_9", "b"], ["reorder"], "r_nchwc"),
            node("Conv", ["reorder", "reorder_7", "b2", "reorder"], ["reorder_1"], "c_nchwc"),
            node("ReorderOutput", ["reorder_1"], ["t"], "out"),
            node("ReduceMean", ["t"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("reorder_9", "reorder_7", "b", "b2"),
    )
    found = find_sources(new, old)
    convolution = ["node_c", "node_s", "node_t"]
    assert labels(found, new) == {
        "node_reorder_3": ["node_r"],
        "r_nchwc": ["node_r"],
        "c_nchwc": convolution,
        "out": convolution,
        "node_y": ["node_y"],
    }
    assert {one.label for one in found.put_in} == {"node_reorder_3", "out"}


def test_a_batch_norm_may_become_a_convolution() -> None:
    old = graph(
        [
            node("BatchNormalization", ["x", "s"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("Conv", ["r", "w"], ["c"]),
            node("Neg", ["c"], ["y"]),
        ],
        ["y"],
        ("x",),
        "s",
        "w",
    )
    new = graph(
        [
            node("Conv", ["x", "t0"], ["t1"], "n_bn_nchwc"),
            node("Conv", ["t1", "t2"], ["t3"], "c_nchwc"),
            node("ReorderOutput", ["t3"], ["c"], "out"),
            node("Neg", ["c"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("t0", "t2"),
    )
    found = labels(find_sources(new, old), new)
    assert (found["n_bn_nchwc"], found["c_nchwc"]) == (["node_n", "node_r"], ["node_c"])


def test_a_transpose_that_was_pushed_on_keeps_its_source() -> None:
    old = graph([node("Transpose", ["x"], ["t"]), node("Slice", ["t"], ["s"]), node("Relu", ["s"], ["y"])], ["y"])
    new = graph(
        [
            node("Slice", ["x"], ["made_up"], "node_s"),
            node("Transpose", ["made_up"], ["s"], "T"),
            node("Relu", ["s"], ["y"]),
        ],
        ["y"],
    )
    found = labels(find_sources(new, old), new)
    assert found == {"node_s": ["node_s"], "T": ["node_t"], "node_y": ["node_y"]}


def test_a_node_that_became_several_is_the_source_of_each() -> None:
    old = graph([node("HardSwish", ["x"], ["h"]), node("Neg", ["h"], ["y"])], ["y"])
    new = graph(
        [
            node("HardSigmoid", ["x"], ["made_up"], "inner"),
            node("Mul", ["x", "made_up"], ["h"]),
            node("Neg", ["h"], ["y"]),
        ],
        ["y"],
    )
    assert labels(find_sources(new, old), new) == {"inner": ["node_h"], "node_h": ["node_h"], "node_y": ["node_y"]}


def test_gathers_that_became_a_split_share_it() -> None:
    old = graph(
        [
            node("Gather", ["x"], ["a"], index="0"),
            node("Gather", ["x"], ["b"], index="1"),
            node("Sub", ["a", "b"], ["y"]),
        ],
        ["y"],
    )
    new = graph(
        [
            node("Split", ["x"], ["s0", "s1"], "split"),
            node("Squeeze", ["s0"], ["a"]),
            node("Squeeze", ["s1"], ["b"]),
            node("Sub", ["a", "b"], ["y"]),
        ],
        ["y"],
    )
    found = labels(find_sources(new, old), new)
    assert found == {"split": ["node_a", "node_b"], "node_a": ["node_a"], "node_b": ["node_b"], "node_y": ["node_y"]}


def test_names_that_an_optimiser_made_up_join_nothing() -> None:
    """Two sessions number them anew: "token_1" is another value in each."""
    given = graph(
        [node("Conv", ["x", "w"], ["a"]), node("Conv", ["a", "v"], ["b"]), node("Neg", ["b"], ["y"])],
        ["y"],
        ("x",),
        "w",
        "v",
    )

    def laid_out(first: str, second: str) -> Graph:
        return graph(
            [
                node("Conv", ["x", "p"], [first], "a_nchwc"),
                node("Conv", [first, "q"], [second], "b_nchwc"),
                node("ReorderOutput", [second], ["b"], "out"),
                node("Neg", ["b"], ["y"]),
            ],
            ["y"],
            ("x",),
            *("p", "q"),
        )

    old, new = laid_out("token_1", "token_2"), laid_out("token_2", "token_1")
    step = find_sources(new, old, names_of(given))
    assert labels(step, new)["a_nchwc"] == ["a_nchwc"]
    whole = labels(step.after(find_sources(old, given, names_of(given))), new)
    assert whole == {"a_nchwc": ["node_a"], "b_nchwc": ["node_b"], "out": ["node_b"], "node_y": ["node_y"]}


SIBLINGS = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["x", "v"], ["b"]), node("Add", ["a", "b"], ["y"])]


def test_siblings_are_told_apart_by_what_is_carried_out_of_the_layout() -> None:
    old = graph(SIBLINGS, ["y"], ("x",), "w", "v")
    new = graph(
        [
            node("Conv", ["x", "t0"], ["t1"], "one"),
            node("Conv", ["x", "t2"], ["t3"], "other"),
            node("ReorderOutput", ["t3"], ["b"], "q"),
            node("ReorderOutput", ["t1"], ["a"], "p"),
            node("Add", ["a", "b"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("t0", "t2"),
    )
    found = labels(find_sources(new, old), new)
    assert found == {"one": ["node_a"], "other": ["node_b"], "q": ["node_b"], "p": ["node_a"], "node_y": ["node_y"]}


def test_two_that_nothing_tells_apart_both_show_what_they_do_together() -> None:
    old = graph(SIBLINGS, ["y"], ("x",), "w", "v")
    new = graph(
        [
            node("Conv", ["x", "t0"], ["t1"], "one"),
            node("Conv", ["x", "t2"], ["t3"], "other"),
            node("Add", ["t1", "t3"], ["t4"], "sum"),
            node("ReorderOutput", ["t4"], ["y"], "out"),
        ],
        ["y"],
        ("x",),
        *("t0", "t2"),
    )
    found = labels(find_sources(new, old), new)
    both = ["node_a", "node_b"]
    assert found == {"one": both, "other": both, "sum": ["node_y"], "out": ["node_y"]}


def test_nodes_of_subgraphs_are_traced_in_theirs() -> None:
    def loop(nodes: list[Node]) -> Graph:
        body = graph(nodes, ["o"], ("i",))
        return graph([node("Exp", ["x"], ["e"]), node("Loop", ["e"], ["l"], subgraphs={"body": body})], ["l"])

    old = loop([node("Sin", ["i"], ["a"]), node("Add", ["a", "e"], ["o"])])
    new = loop([node("FusedSinAdd", ["i", "e"], ["o"])])
    assert labels(find_sources(new, old), new) == {
        "node_e": ["node_e"],
        "node_l": ["node_l"],
        "node_o": ["node_a", "node_o"],
    }


def test_a_subgraph_of_a_node_that_is_not_traced_has_no_sources() -> None:
    body = graph([node("Sin", ["i"], ["o"])], ["o"], ("i",))
    old = graph([node("Relu", ["x"], ["y"])], ["y"])
    new = graph([node("Loop", ["x"], ["y"], subgraphs={"body": body})], ["y"])
    assert labels(find_sources(new, old), new) == {"node_y": ["node_y"], "node_o": []}


def test_the_operator_of_a_node_is_the_same_whatever_is_fused_into_it_and_in_whichever_type_it_computes() -> None:
    same = {
        "Conv": ("Conv", "FusedConv", "QLinearConv", "ConvInteger"),
        "MatMul": ("QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"),
        "Gemm": ("FusedGemm", "QGemm"),
        "MaxPool": ("NhwcMaxPool",),
        "Attention": ("QAttention",),
        "Sigmoid": ("QLinearSigmoid",),
    }
    for op, called in same.items():
        assert {operator(node(one, [], ["y"])) for one in called} == {op}
    for op in ("QuickGelu", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        assert operator(node(op, [], ["y"])) == op


def test_the_body_of_an_operator_is_traced_to_it_and_not_to_the_node_before_it() -> None:
    """As on a processor without float16, where ONNX Runtime derives the names of all float32 values."""
    given = graph(
        [node("Gemm", ["x", "w"], ["a"]), node("Gelu", ["a"], ["g"]), node("Gemm", ["g", "v"], ["y"])],
        ["y"],
        ("x",),
        *("w", "v"),
    )

    def widened(weights: tuple[str, str]) -> Graph:
        wide = "InsertedPrecisionFreeCast_"
        return graph(
            [
                node("Cast", ["x"], [f"{wide}x"], "widen"),
                node("Gemm", [f"{wide}x", weights[0]], [f"{wide}a"], "first"),
                node("Mul", ["half", f"{wide}a"], ["in_0"], "halve"),
                node("Sqrt", ["two"], ["in_1"], "root"),
                node("Div", [f"{wide}a", "in_1"], ["in_2"], "divide"),
                node("Erf", ["in_2"], ["in_3"], "erf"),
                node("Mul", ["in_0", "in_3"], [f"{wide}g"], "multiply"),
                node("Gemm", [f"{wide}g", weights[1]], [f"{wide}y"], "second"),
                node("Cast", [f"{wide}y"], ["y"], "narrow"),
            ],
            ["y"],
            ("x",),
            *("half", "two", *weights),
        )

    names = names_of(given)
    first, last = widened(("w", "v")), widened(("FusedBack_w", "FusedBack_v"))
    found = find_sources(last, first, names).after(find_sources(first, given, names))
    assert labels(found, last) == {
        "widen": ["node_a"],
        "first": ["node_a"],
        **{name: ["node_g"] for name in ("halve", "root", "divide", "erf", "multiply")},
        "second": ["node_y"],
        "narrow": ["node_y"],
    }
    assert {one.label for one in found.put_in} == {"widen", "narrow"}


def test_a_product_between_reshapes_that_were_put_in_is_that_of_the_given_graph() -> None:
    """As where a MatMul and an Add of three dimensions become a Gemm of two."""
    old = graph(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Add", ["a", "b"], ["c"]),
            node("MatMul", ["x", "v"], ["d"]),
            node("Add", ["d", "b"], ["e"]),
            node("Mul", ["c", "e"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("w", "v", "b"),
    )
    new = graph(
        [
            node("Reshape", ["x", "two"], ["t0"], "in"),
            node("Gemm", ["t0", "v", "b"], ["t1"], "one"),
            node("Reshape", ["t1", "three"], ["e"], "out"),
            node("Gemm", ["t0", "w", "b"], ["t2"], "other"),
            node("Reshape", ["t2", "three"], ["c"], "out 2"),
            node("Mul", ["c", "e"], ["y"]),
        ],
        ["y"],
        ("x",),
        *("w", "v", "b", "two", "three"),
    )
    found = find_sources(new, old)
    sources = labels(found, new)
    assert (sources["one"], sources["other"]) == (["node_d", "node_e"], ["node_a", "node_c"])
    assert {one.label for one in found.put_in} == {"in", "out", "out 2"}
    assert sources["node_y"] == ["node_y"]
