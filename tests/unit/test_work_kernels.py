# SPDX-License-Identifier: Apache-2.0
"""What runs in one go, and the bytes that then move."""

from __future__ import annotations

import pytest

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, VIEW, Graph, Kernel, ModelWork, Operation, Value, Work
from pyperf_infer.roofline.work.kernels import (
    Dataflow,
    activation_bytes_peak,
    bytes_of_model,
    first_reads,
    kernels,
    touched_weight_bytes,
)

X, W, Y, Z = (Value(name, (4, 8), 4.0) for name in "xwyz")
PRODUCT = Work("matrix", 100)
ACTIVATION = formulas.elementwise((4, 8))


def op(name: str, work: Work, inputs: list[Value], outputs: list[Value]) -> Operation:
    return Operation(name, name, tuple(inputs), tuple(outputs), work)


def graph(*operations: Operation, outputs: list[Value], weights: tuple[Value, ...] = (W,)) -> Graph:
    return Graph(operations, weights, (X,), tuple(outputs))


def moved(kernel: Kernel) -> tuple[list[str], int, int]:
    return [one.op for one in kernel.operations], kernel.read_bytes, kernel.written_bytes


def test_an_activation_joins_the_product_before_it() -> None:
    found = kernels(graph(op("mm", PRODUCT, [X, W], [Y]), op("relu", ACTIVATION, [Y], [Z]), outputs=[Z]))
    assert [moved(one) for one in found] == [(["mm", "relu"], 256, 128)]


def test_not_where_somebody_else_needs_what_the_product_made() -> None:
    both = graph(op("mm", PRODUCT, [X, W], [Y]), op("relu", ACTIVATION, [Y], [Z]), outputs=[Y, Z])
    assert [moved(one) for one in kernels(both)] == [(["mm"], 256, 128), (["relu"], 128, 128)]


def test_not_where_it_makes_more_than_it_takes() -> None:
    wide = Value("z", (2, 4, 8), 4.0)
    spread = graph(op("mm", PRODUCT, [X, W], [Y]), op("add", ACTIVATION, [Y, W], [wide]), outputs=[wide])
    assert [one for one, *_ in map(moved, kernels(spread))] == [["mm"], ["add"]]


def test_a_sum_joins_the_later_of_two_products() -> None:
    sum_of_two = graph(
        op("first", PRODUCT, [X, W], [Y]),
        op("second", PRODUCT, [X, W], [Z]),
        op("add", ACTIVATION, [Y, Z], [Value("s", (4, 8), 4.0)]),
        outputs=[Value("s", (4, 8), 4.0)],
    )
    assert [moved(one) for one in kernels(sum_of_two)] == [(["first"], 256, 128), (["second", "add"], 384, 128)]


def test_batch_normalisation_over_known_statistics_joins_and_over_its_own_does_not() -> None:
    for price, together in ((formulas.KNOWN_STATISTICS, True), (formulas.OWN_STATISTICS, False)):
        work = formulas.normalisation((4, 8), affine=True, price=price)
        found = kernels(graph(op("mm", PRODUCT, [X, W], [Y]), op("norm", work, [Y], [Z]), outputs=[Z]))
        assert (len(found) == 1) is together


def test_views_move_nothing_and_hand_on_what_they_are_views_of() -> None:
    view = Value("v", (8, 4), 4.0)
    seen = graph(
        op("mm", PRODUCT, [X, W], [Y]), op("view", VIEW, [Y], [view]), op("relu", ACTIVATION, [view], [Z]), outputs=[Z]
    )
    assert sorted(moved(one) for one in kernels(seen)) == [(["mm", "relu"], 256, 128), (["view"], 0, 0)]


def test_a_view_that_repeats_its_tensor_reads_no_more_of_it_than_there_is() -> None:
    repeated = Value("v", (64, 4, 8), 4.0)
    (_, kernel) = kernels(graph(op("expand", VIEW, [X], [repeated]), op("sum", COPY, [repeated], [Y]), outputs=[Y]))
    assert kernel.read_bytes == X.size_bytes


def test_parts_of_one_tensor_add_up_to_no_more_than_it() -> None:
    parts = [Value(f"part{number}", (2, 8), 4.0) for number in range(3)]
    split = op("split", VIEW, [X], parts[:2])
    (_, both) = kernels(graph(split, op("mul", PRODUCT, parts[:2], [Y]), outputs=[Y]))
    assert both.read_bytes == 128
    (_, one) = kernels(graph(split, op("mul", PRODUCT, parts[:1], [Y]), outputs=[Y]))
    assert one.read_bytes == 64
    overlapping = op("split", VIEW, [X], parts)
    (_, all_three) = kernels(graph(overlapping, op("mul", PRODUCT, parts, [Y]), outputs=[Y]))
    assert all_three.read_bytes == 128


def test_what_nobody_needs_is_not_written() -> None:
    (kernel,) = kernels(graph(op("two", PRODUCT, [X, W], [Y, Z]), outputs=[Y]))
    assert kernel.written_bytes == 128


def test_a_tensor_that_is_read_twice_counts_once() -> None:
    (kernel,) = kernels(graph(op("mm", PRODUCT, [X, X], [Y]), outputs=[Y]))
    assert kernel.read_bytes == X.size_bytes


def test_of_a_table_only_the_rows_that_are_taken_count() -> None:
    table = Value("w", (1000, 8), 4.0)
    taken = graph(op("embedding", formulas.gather(128), [table, X], [Y]), outputs=[Y], weights=(table,))
    (kernel,) = kernels(taken)
    assert (kernel.read_bytes, kernel.written_bytes) == (128 + 128, 128)


def test_the_model_reads_each_weight_and_input_once_and_writes_its_outputs() -> None:
    unused = Value("unused", (100,), 4.0)
    whole = graph(
        op("first", PRODUCT, [X, W], [Y]), op("second", PRODUCT, [Y, W], [Z]), outputs=[Z], weights=(W, unused)
    )
    assert bytes_of_model(whole) == 3 * 128


def test_memory_is_freed_after_its_last_use() -> None:
    chain = graph(
        op("first", PRODUCT, [X, W], [Y]),
        op("second", PRODUCT, [Y, W], [Z]),
        op("third", PRODUCT, [Z, W], [Value("s", (4, 8), 4.0)]),
        outputs=[Value("s", (4, 8), 4.0)],
    )
    assert activation_bytes_peak(chain) == 2 * 128  # what is read and what is written
    last = Value("s", (4, 8), 4.0)
    kept = graph(
        op("first", PRODUCT, [X, W], [Y]),
        op("second", PRODUCT, [Y, W], [Z]),
        op("third", PRODUCT, [X, Z], [last]),
        outputs=[last],
    )
    assert activation_bytes_peak(kept) == 3 * 128


def test_what_a_kernel_makes_for_itself_takes_no_memory() -> None:
    fused = graph(op("mm", PRODUCT, [X, W], [Y]), op("relu", ACTIVATION, [Y], [Z]), outputs=[Z])
    assert activation_bytes_peak(fused) == 2 * 128


def test_in_another_precision_floats_shrink_and_integers_stay() -> None:
    tokens = Value("t", (4,), 8.0, floating=False)
    table = Value("w", (100, 8), 4.0)
    taken = Graph(
        (op("embedding", formulas.gather(128), [table, tokens], [Y]),), (table,), (tokens,), (Y,)
    ).in_precision(2)
    (kernel,) = kernels(taken)
    assert (kernel.read_bytes, kernel.written_bytes) == (64 + 32, 64)
    assert bytes_of_model(taken) == 1600 + 32 + 64


def test_types_below_a_byte_are_rounded_up_as_a_whole() -> None:
    assert Value("int4", (3,), 0.5).size_bytes == 2


def test_totals_are_sums_and_unknown_operators_are_named() -> None:
    operations = (
        op("mm", Work("matrix", 100, other_flops=5, activations=7), [X, W], [Y]),
        op("norm", Work("normalisation", other_flops=50, fvcore_other_flops=20), [Y], [Z]),
        op("strange", Work("unknown"), [Z], [Y]),
    )
    work = ModelWork("m", {}, 3, 0, 0, 0, 0, 1, kernels(graph(*operations, outputs=[Y])))
    assert (work.macs, work.flops_model, work.flops_all, work.fvcore_flops) == (100, 200, 255, 120)
    assert work.activations == 7
    assert work.unknown_ops == {"strange": 1}
    assert work.bytes_min_layer == pytest.approx(128 * 2 + 128 + 128 * 2 + 128 * 2)


def test_of_any_operations_the_bytes_in_and_out_can_be_told() -> None:
    made = graph(op("mm", PRODUCT, [X, W], [Y]), op("relu", ACTIVATION, [Y], [Z]), outputs=[Z])
    flow = Dataflow(made)
    mm, relu = made.operations
    assert moved(flow.kernel([mm])) == (["mm"], 256, 128)
    assert moved(flow.kernel([relu])) == (["relu"], 128, 128)
    whole = flow.kernel([mm, relu])
    assert moved(whole) == (["mm", "relu"], 256, 128)
    assert (whole.weights, whole.weight_bytes, whole.macs) == ({"w": 128}, 128, 100)


def test_a_weight_is_read_from_outside_by_its_first_reader_alone() -> None:
    made = graph(op("one", PRODUCT, [X, W], [Y]), op("two", PRODUCT, [Y, W], [Z]), outputs=[Z])
    found = kernels(made)
    assert touched_weight_bytes(found) == 128
    assert [one.weight_bytes for one in found] == [128, 128]
    again = first_reads(found)
    assert [one.weight_bytes for one in again] == [128, 0]
    assert [one.read_bytes for one in again] == [256, 256]


def test_of_a_table_the_rows_that_are_taken_are_touched() -> None:
    tokens, table = Value("t", (4,), 8.0, floating=False), Value("w", (100, 8), 4.0)
    taken = Graph((op("embedding", formulas.gather(128), [table, tokens], [Y]),), (table,), (tokens,), (Y,))
    assert touched_weight_bytes(kernels(taken)) == 128


def test_integers_are_known_behind_what_was_dequantised() -> None:
    stored, plain = Value("q", (4, 8), 1.0, floating=False), Value("dq", (4, 8), 4.0)
    made = Graph(
        (op("DequantizeLinear", VIEW, [stored], [plain]), op("mm", PRODUCT, [plain, W], [Y])), (W,), (stored,), (Y,)
    )
    assert kernels(made)[1].dequantised == {"dq": stored}
    assert kernels(graph(op("mm", PRODUCT, [X, W], [Y]), outputs=[Y]))[0].dequantised == {}
