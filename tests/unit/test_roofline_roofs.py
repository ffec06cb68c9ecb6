# SPDX-License-Identifier: Apache-2.0
"""The least time of kernels, by ceilings in round numbers."""

from __future__ import annotations

import pytest
from ceilings import PEAKS, RATES, make_ceilings
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.roofline.roofs import Roofs
from pyperf_infer.roofline.work.counts import Kernel, Operation, Value, Work

SMALL = 10_000  # bytes of a model that L2 holds, and L1 does not
LARGE = 10**9


def product(macs: int, item_bytes: float = 4, *, floating: bool = True) -> Operation:
    operand = Value("a", (1,), item_bytes, floating)
    return Operation("matmul", "layer", (operand, operand), (operand,), Work("matrix", macs))


def kernel(macs: int = 0, read: int = 0, written: int = 0, weights: int = 0, item_bytes: float = 4) -> Kernel:
    return Kernel((product(macs, item_bytes),), read, written, {"w": weights} if weights else {})


def roofs(touched_bytes: int = LARGE, *, asked: str = "float32", peaks: dict[str, float] | None = None) -> Roofs:
    return Roofs(make_ceilings(peaks or PEAKS), 2, asked=asked, touched_bytes=touched_bytes)  # type: ignore[arg-type]


def test_products_take_the_peak_of_their_type() -> None:
    found = roofs().of([kernel(macs=500_000_000, read=100, written=100)])
    assert found is not None
    assert found.compute_s == pytest.approx(1e9 / 1e12)
    assert (found.time_s, found.compute_bound, found.precision) == (found.compute_s, True, "float32")


def test_bytes_come_from_the_innermost_level_as_far_as_it_holds_them() -> None:
    found = roofs().of([kernel(read=150_000, written=51_000)])
    assert found is not None
    assert found.memory_s == pytest.approx(100_000 / 100e9)  # while the caches hand on all of it
    assert (found.level, found.compute_bound, found.precision) == ("memory", False, "")
    inside = roofs().of([kernel(read=500, written=500)])
    assert inside is not None
    assert (inside.level, inside.memory_s) == ("L1", pytest.approx(1_000 / 800e9))


@pytest.mark.parametrize(
    ("touched_bytes", "level", "rate"),
    [(500, "L1", 800e9), (SMALL, "L2", 400e9), (100_000, "L2", 400e9), (100_001, "memory", 100e9)],
)
def test_weights_come_from_the_level_that_holds_the_whole_model(touched_bytes: int, level: str, rate: float) -> None:
    found = roofs(touched_bytes).of([kernel(read=400, weights=400)])
    assert found is not None
    assert (found.level, found.memory_s) == (level, pytest.approx(400 / rate))


def test_kernels_one_after_the_other_take_the_sum_of_the_longer_ones() -> None:
    computing, moving = kernel(macs=10**9), kernel(macs=1, read=10**8)
    alone = [roofs().of([one]) for one in (computing, moving)]
    both = roofs().of([computing, moving])
    assert both is not None
    assert both.time_s == pytest.approx(sum(one.time_s for one in alone if one is not None))
    assert both.time_s > max(both.compute_s, both.memory_s)  # which each leave one of the two out
    assert both.compute_bound is (alone[0].time_s > alone[1].time_s)  # type: ignore[union-attr]


def test_nothing_takes_no_time() -> None:
    found = roofs().of([])
    assert found is not None
    assert (found.time_s, found.level, found.precision, found.compute_bound) == (0, "", "", False)


@pytest.mark.parametrize(
    ("item_bytes", "floating", "asked", "precision"),
    [
        (4, True, "float32", "float32"),
        (4, True, "tf32", "tf32"),
        (8, True, "float32", "float64"),
        (2, True, "bfloat16", "bfloat16"),
        (2, True, "float16", "float16"),
        (2, True, "float32", "float16"),  # a file of float16, run as it is
        (1, False, "float32", "int8"),
    ],
)
def test_the_type_of_the_first_operand_says_whose_peak_it_is(
    item_bytes: int, floating: bool, asked: str, precision: str
) -> None:
    assert roofs(asked=asked).precision_of(product(1, item_bytes, floating=floating)) == precision


def test_levels_hand_on_what_comes_from_outside_of_them() -> None:
    """An inner level may be the slower one: what comes from memory goes through it."""
    slow = Roofs(make_ceilings(rates={"L1": 50e9, "memory": 100e9}), 2, asked="float32", touched_bytes=LARGE)
    found = slow.of([kernel(read=1_000_000)])
    assert found is not None
    assert (found.level, found.memory_s) == ("L1", pytest.approx(1_000_000 / 50e9))


def test_a_level_that_was_not_measured_is_as_fast_as_the_one_inside_of_it() -> None:
    ceilings = make_ceilings()
    ceilings.memory = [one for one in ceilings.memory if one.level != "L2"]
    found = Roofs(ceilings, 2, asked="float32", touched_bytes=LARGE).of([kernel(read=51_000)])
    assert found is not None
    assert found.memory_s == pytest.approx(51_000 / 800e9)
    ceilings.memory = [one for one in ceilings.memory if one.level == "memory"]
    only = Roofs(ceilings, 2, asked="float32", touched_bytes=LARGE).of([kernel(read=51_000)])
    assert only is not None
    assert only.memory_s == pytest.approx(51_000 / 100e9)


def test_what_was_dequantised_has_the_peak_of_integers() -> None:
    operand = Value("a", (1,), 4)
    matmul = Operation("matmul", "layer", (operand, operand), (operand,), Work("matrix", 10**9))
    quantised = Kernel((matmul,), 10, 10, dequantised={"a": Value("q", (1,), 1, floating=False)})
    both = roofs(peaks={"float32": 1e12, "int8": 4e12})
    found = both.of([quantised])
    assert found is not None
    assert (found.precision, found.compute_s) == ("int8", pytest.approx(2e9 / 4e12))


def test_where_there_is_no_arithmetic_of_a_type_it_is_computed_as_float32() -> None:
    only = roofs(asked="bfloat16")
    peak = only.peak("bfloat16")
    assert peak is not None
    assert peak.precision == "float32"
    both = roofs(asked="bfloat16", peaks={"float32": 1e12, "bfloat16": 8e12}).of([kernel(10**9, item_bytes=2)])
    assert both is not None
    assert both.compute_s == pytest.approx(2e9 / 8e12)


def test_a_type_without_a_peak_has_no_roof() -> None:
    assert roofs().of([Kernel((product(5, 1, floating=False),), 10, 10)]) is None
    assert roofs().of([Kernel((product(0, 1, floating=False),), 10, 10)]) is not None  # it multiplies nothing


def test_ceilings_of_other_thread_counts_do_not_hold() -> None:
    found = Roofs(make_ceilings(threads=2), 1, asked="float32", touched_bytes=1)
    assert found.peak("float32") is None
    assert found.of([kernel(read=1)]) is None
    more = Roofs(make_ceilings(threads=2), 8, asked="float32", touched_bytes=1)  # than there are cores
    assert more.peak("float32") is not None
    gpu = Roofs(make_ceilings(threads=1, device="cuda:0"), 8, asked="float32", touched_bytes=1)
    assert gpu.peak("float32") is not None


@given(
    macs=st.integers(0, 10**12),
    read=st.integers(0, 10**9),
    written=st.integers(0, 10**9),
    weights=st.integers(0, 10**9),
    touched_bytes=st.integers(0, 10**10),
)
def test_bounds_lie_between_those_of_the_fastest_and_the_slowest_level(
    macs: int, read: int, written: int, weights: int, touched_bytes: int
) -> None:
    one = kernel(macs, read + weights, written, weights)
    found = roofs(touched_bytes).of([one])
    assert found is not None
    moved = read + written + weights
    assert moved / max(RATES.values()) * (1 - 1e-9) <= found.memory_s <= moved / min(RATES.values()) * (1 + 1e-9)
    assert found.time_s == max(found.compute_s, found.memory_s)
    more = roofs(touched_bytes).of([kernel(macs, read + weights + 1_000, written, weights)])
    assert more is not None
    assert more.time_s >= found.time_s
