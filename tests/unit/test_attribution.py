# SPDX-License-Identifier: Apache-2.0
"""Timed layers joined with a graph's operations, and set against ceilings in round numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from ceilings import make_ceilings
from profile_documents import row, table

from pyperf_infer.attribution.layers import Joined, join_modules, join_nodes
from pyperf_infer.attribution.rows import Asked, roofline
from pyperf_infer.profile.onnxruntime_events import NodeTotal
from pyperf_infer.profile.onnxruntime_graph import Node
from pyperf_infer.profile.onnxruntime_nodes import MergedNode
from pyperf_infer.roofline.roofs import Roofs
from pyperf_infer.roofline.work.counts import COPY, UNKNOWN, VIEW, Graph, ModelWork, Operation, Value, Work
from pyperf_infer.roofline.work.kernels import activation_bytes_peak, bytes_of_model, kernels

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import ProfileRow
    from pyperf_infer.results.roofline_schema import Roofline

PRODUCT = Work("matrix", macs=5_000_000)  # 10 us at 1 TFLOP/s


def value(name: str, count: int = 100) -> Value:
    return Value(name, (count,), 4)


def op(name: str, layer: str, inputs: Sequence[str], output: str, work: Work = PRODUCT) -> Operation:
    return Operation(name, layer, tuple(map(value, inputs)), (value(output),), work)


def graph(*operations: Operation, weights: Sequence[str] = ("w",), output: str = "y") -> Graph:
    return Graph(operations, tuple(map(value, weights)), (value("x"),), (value(output),))


CONV_RELU = graph(
    op("conv", "block.conv", ["x", "w"], "a"),
    op("relu", "block", ["a"], "b", Work("elementwise", other_flops=100)),
    op("reshape", "block", ["b"], "c", VIEW),
    op("conv", "head", ["c", "w"], "y"),
)


def work_of(given: Graph) -> ModelWork:
    return ModelWork(
        "m", {"x": (100,)}, 100, 400, 400, 400, activation_bytes_peak(given), bytes_of_model(given), kernels(given)
    )


def result(given: Graph, joined: Joined, rows: Sequence[ProfileRow], **more: object) -> Roofline:
    work = work_of(given)
    roofs = Roofs(make_ceilings(), 2, asked="float32", touched_bytes=10**9)
    asked = Asked("m", 1, {"x": (100,)}, "float32", "cpu", "torch", 2)
    return roofline(asked, work, joined, table(rows=rows, **more), roofs, make_ceilings())


def names(joined: Joined) -> dict[str, list[str]]:
    return {one.row.name: [each.op for each in one.operations] for one in joined.layers}


def test_an_operation_belongs_to_the_innermost_module_whose_time_is_known() -> None:
    rows = [row(""), row("block"), row("block.conv"), row("head")]
    joined = join_modules(CONV_RELU, rows)
    assert names(joined) == {"": [], "block": ["relu", "reshape"], "block.conv": ["conv"], "head": ["conv"]}
    assert joined.left_over == []


def test_what_no_module_is_called_for_goes_to_the_one_around_it() -> None:
    assert names(join_modules(CONV_RELU, [row("block"), row("head")]))["block"] == ["conv", "relu", "reshape"]
    lost = join_modules(CONV_RELU, [row("block")]).left_over
    assert [one.name for one in lost] == ["head"]


def test_a_module_that_goes_by_two_paths_has_the_operations_of_both() -> None:
    twice = graph(op("conv", "one", ["x", "w"], "a"), op("conv", "two", ["a", "w"], "y"))
    assert names(join_modules(twice, [row("one", aliases=["two"])])) == {"one": ["conv", "conv"]}


def test_eagerly_each_operation_reads_and_writes_for_itself() -> None:
    (block,) = (one for one in join_modules(CONV_RELU, [row("")]).layers)
    assert [one.read_bytes + one.written_bytes for one in block.kernels] == [1200, 800, 0, 1200]


Timed = tuple["ProfileRow", MergedNode]


def node(name: str, outputs: Sequence[str], *, time_ms: float = 1.0, put_in: bool = False) -> Timed:
    origin = tuple(Node(f"from {one}", "op", (), (one,)) for one in outputs)
    made = MergedNode(NodeTotal(name, "Conv", "CPU"), origin, put_in, None)
    return row(name, "Conv", time_ms, sources=[one.label for one in origin]), made


def joined_nodes(given: Graph, *nodes: Timed, on_device: bool = False) -> Joined:
    return join_nodes(given, [one for one, _ in nodes], [one for _, one in nodes], on_device=on_device)


def test_a_fused_node_moves_what_goes_in_and_out_of_all_that_it_stands_for() -> None:
    joined = joined_nodes(CONV_RELU, node("fused", ["a", "b", "c"]), node("head", ["y"]))
    assert names(joined) == {"fused": ["conv", "relu", "reshape"], "head": ["conv"]}
    (kernel,) = joined.layers[0].kernels
    assert (kernel.read_bytes, kernel.written_bytes, kernel.weight_bytes) == (800, 400, 400)
    assert joined.left_over == []


def test_an_operation_counts_once_and_for_the_node_that_takes_the_longest() -> None:
    joined = joined_nodes(CONV_RELU, node("short", ["a", "b"], time_ms=1), node("long", ["a", "y"], time_ms=2))
    assert names(joined) == {"short": ["relu"], "long": ["conv", "conv"]}


def test_what_was_put_in_to_change_a_layout_stands_for_nothing() -> None:
    joined = joined_nodes(CONV_RELU, node("ReorderInput", ["a"], put_in=True, time_ms=9), node("conv", ["a", "b", "y"]))
    assert names(joined) == {"ReorderInput": [], "conv": ["conv", "relu", "conv"]}
    assert [one.put_in for one in joined.layers] == [True, False]
    found = result(CONV_RELU, joined, [one.row for one in joined.layers])
    assert (found.idle_share, found.formula_share, found.mapped_share) == (pytest.approx(0.9), 1.0, 1.0)
    assert found.layers[0].bound == "overhead"


def test_a_node_without_sources_is_not_mapped_and_its_operations_are_told() -> None:
    joined = joined_nodes(CONV_RELU, node("mystery", []), node("conv", ["a", "b"]))
    assert [one.mapped for one in joined.layers] == [False, True]
    assert [one.name for one in joined.left_over] == ["head"]
    found = result(CONV_RELU, joined, [one.row for one in joined.layers])
    assert (found.mapped_share, found.formula_share) == (0.5, 0.5)
    assert any("head" in one for one in found.not_told)
    mystery = found.layers[0]
    assert (mystery.bound, mystery.roof_ms, mystery.gap_ms, mystery.share_of_roof) == ("unknown", None, None, None)


def test_on_a_gpu_the_time_is_that_of_the_device() -> None:
    made, merged = node("conv", ["a"])
    made.device_time_ms = 0.25
    assert joined_nodes(CONV_RELU, (made, merged), on_device=True).layers[0].time_ms == 0.25


def test_layers_are_set_against_their_roofs_and_sum_up() -> None:
    rows = [
        row("", time_ms=0.002), row("block", time_ms=0.004),
        row("block.conv", time_ms=0.02), row("head", time_ms=0.04),
    ]  # fmt: skip
    found = result(CONV_RELU, join_modules(CONV_RELU, rows), rows, whole_ms=0.07)
    outer, block, conv, head = found.layers
    assert (outer.bound, outer.roof_ms) == ("overhead", 0)
    assert (conv.flops_model, conv.macs, conv.precision, conv.bound) == (10_000_000, 5_000_000, "float32", "compute")
    assert conv.roof_ms == pytest.approx(0.01)
    assert conv.share_of_roof == pytest.approx(0.5)
    assert conv.gap_ms == pytest.approx(0.01)
    assert conv.flops_per_s == pytest.approx(1e7 / 2e-5)
    assert conv.bytes_per_s == pytest.approx(1200 / 2e-5)
    assert conv.intensity_flops_per_byte == pytest.approx(1e7 / 1200)
    assert head.share_of_roof == pytest.approx(0.25)
    assert (block.bound, block.macs, block.flops_all, block.precision) == ("overhead", 0, 100, None)
    assert found.roof_ms == pytest.approx(sum(one.roof_ms or 0 for one in found.layers))
    assert (found.layers_ms, found.rest_ms) == (pytest.approx(0.066), pytest.approx(0.004))
    assert found.measured_ms == 10.0  # of the instrument's rounds, without it
    assert found.share_of_roof == pytest.approx(found.roof_ms / 10.0)
    assert (found.macs, found.overhead_ms) == (10_000_000, None)
    assert (found.idle_share, found.mapped_share) == (pytest.approx(0.002 / 0.066), 1.0)
    assert found.formula_share == 1.0
    assert found.bytes_min_layer == sum(one.bytes_min_layer for one in found.layers)


def test_memory_bounds_what_moves_much_and_says_of_which_level() -> None:
    big = Value("x", (10_000_000,), 4)
    copied = Graph((Operation("concat", "", (big,), (Value("y", (10_000_000,), 4),), COPY),), (), (big,), (value("y"),))
    rows = [row("", time_ms=2.0)]
    (layer,) = result(copied, join_modules(copied, rows), rows).layers
    assert (layer.bound, layer.memory_level) == ("memory", "memory")
    assert layer.memory_ms == pytest.approx(0.8, rel=0.01)
    assert layer.reason is None


def test_an_operator_without_a_formula_has_no_roof_and_its_share_of_the_time_is_told() -> None:
    odd = graph(op("mystery", "odd", ["x"], "a", UNKNOWN), op("conv", "conv", ["a", "w"], "y"))
    rows = [row("odd", time_ms=3.0), row("conv", time_ms=1.0)]
    found = result(odd, join_modules(odd, rows), rows)
    assert found.unknown_ops == {"mystery": 0.75}
    assert found.formula_share == 0.25
    assert (found.layers[0].bound, found.layers[0].roof_ms) == ("unknown", None)


def test_a_layer_above_its_roof_says_why() -> None:
    rows = [row("block", time_ms=0.0001), row("block.conv", time_ms=0.002), row("head", time_ms=0.04)]
    found = result(CONV_RELU, join_modules(CONV_RELU, rows), rows)
    conv = found.layers[1]
    assert conv.share_of_roof == pytest.approx(5.0)
    assert conv.reason is not None
    assert "must be wrong" in conv.reason
    assert found.layers[2].reason is None


def test_a_product_of_a_type_without_a_peak_has_no_roof_and_that_is_told() -> None:
    whole = Value("x", (100,), 1, floating=False)
    quantised = Graph((Operation("conv", "", (whole,), (whole,), PRODUCT),), (), (whole,), (whole,))
    rows = [row("", time_ms=1.0)]
    found = result(quantised, join_modules(quantised, rows), rows)
    assert found.layers[0].bound == "unknown"
    assert any("products of int8" in one for one in found.not_told)


def test_without_rounds_there_is_no_share_of_the_roof() -> None:
    rows = [row("", time_ms=1.0)]
    found = result(CONV_RELU, join_modules(CONV_RELU, rows), rows, perturbation=None)
    assert (found.measured_ms, found.share_of_roof, found.flops_per_s) == (None, None, None)
    assert found.roof_ms > 0


def test_a_smaller_excess_may_be_winograds_algorithm_or_a_clock() -> None:
    rows = [row("block.conv", time_ms=0.009), row("head", time_ms=0.04), row("block", time_ms=0.01)]
    conv = result(CONV_RELU, join_modules(CONV_RELU, rows), rows).layers[0]
    assert conv.share_of_roof == pytest.approx(1.11, abs=0.01)
    assert "Winograd" in (conv.reason or "")


def test_overhead_is_told_by_calls_that_only_make_views() -> None:
    views = graph(
        op("conv", "conv", ["x", "w"], "a"), op("reshape", "flatten", ["a"], "b", VIEW),
        op("relu", "relu", ["b"], "y", Work("elementwise", other_flops=100)),
    )  # fmt: skip
    rows = [row("", time_ms=1e-9), row("conv", time_ms=0.015), row("flatten", time_ms=0.1, calls=2.0), row("relu")]
    found = result(views, join_modules(views, rows), rows)
    assert found.overhead_ms == pytest.approx(0.05)  # the module itself does nothing, but is no call of anything
    conv = found.layers[1]
    assert (conv.roof_ms, conv.bound) == (pytest.approx(0.01), "compute")  # which explains most of its time
    assert found.layers[3].bound == "overhead"


def test_a_weight_comes_from_outside_once_a_call_and_from_the_caches_after_that() -> None:
    def weight(name: str) -> Value:
        return Value(name, (1_000_000,), 4)

    twice = Graph(
        (
            Operation("conv", "one", (value("x"), weight("w")), (value("a"),), Work("matrix")),
            Operation("conv", "two", (value("a"), weight("w")), (value("y"),), Work("matrix")),
        ),
        (weight("w"),), (value("x"),), (value("y"),),
    )  # fmt: skip
    rows = [row("one", time_ms=1.0), row("two", time_ms=1.0)]
    first, second = result(twice, join_modules(twice, rows), rows).layers
    assert (first.weight_bytes, second.weight_bytes) == (4_000_000, 0)
    assert first.bytes_min_layer == second.bytes_min_layer == 4_000_800
    assert first.memory_ms == pytest.approx(4_000_800 / 100e9 * 1e3, rel=0.01)
    assert (second.memory_ms or 0.0) < (first.memory_ms or 0.0)


def test_what_onnx_runtime_merges_counts_once() -> None:
    same = graph(
        op("MatMul", "m1", ["x", "w"], "a"), op("MatMul", "m2", ["x", "w"], "b"),
        op("Add", "add", ["a", "b"], "y", Work("elementwise", other_flops=100)),
    )  # fmt: skip
    both = joined_nodes(same, node("m1", ["a", "b"]), node("add", ["y"]))
    assert names(both) == {"m1": ["MatMul"], "add": ["Add"]}
    assert both.left_over == []
    apart = joined_nodes(same, node("m1", ["a"]), node("m2", ["b"]), node("add", ["y"]))
    assert names(apart) == {"m1": ["MatMul"], "m2": ["MatMul"], "add": ["Add"]}


def test_totals_are_of_what_ran() -> None:
    folded = graph(op("MatMul", "fold", ["w", "w"], "v"), op("conv", "conv", ["x", "v"], "y"))
    rows = [row("conv", time_ms=1.0)]
    found = result(folded, join_modules(folded, rows), rows)
    assert (found.macs, sum(one.macs for one in found.layers)) == (10_000_000, 5_000_000)
    assert found.flops_per_s == pytest.approx(1e7 / 10e-3)
    assert found.intensity_flops_per_byte == pytest.approx(1e7 / found.bytes_min_layer)


def test_flops_of_views_are_no_loss() -> None:
    """Dequantising is one: it moves nothing that its reader does not move, and computes."""
    quantised = graph(
        op("DequantizeLinear", "dq", ["x"], "a", Work("view", other_flops=200)), op("conv", "conv", ["a", "w"], "y")
    )
    rows = [row("dq"), row("conv")]
    found = result(quantised, join_modules(quantised, rows), rows)
    assert [one.flops_all for one in found.layers] == [200, 10_000_000]
    assert sum(one.flops_all for one in found.layers) == found.flops_all
