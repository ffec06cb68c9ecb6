# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pyperf_infer.convert.parity import ROUNDING_UNITS, compare_outputs

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Parity

Array = NDArray[Any]
RTOL = 1e-3
EPSILON = float(np.finfo(np.float32).eps)

shapes = hnp.array_shapes(max_dims=3, max_side=4)
# No value so small that scaling it would leave float32's normal range: that rounds.
values = st.floats(-1e3, 1e3, width=32).map(lambda value: value if abs(value) > 1e-20 else 0.0)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Array, Array]:
    """Two outputs of one shape that differ by more than rounding."""
    shape = draw(shapes)
    first, second = (draw(hnp.arrays(np.float32, shape, elements=values)) for _ in "ab")
    size = max(np.abs(first).max(), np.abs(second).max())
    movement = np.abs(first.astype(np.float64) - second).max()
    assume(size > 1e-3)
    assume(movement > 4 * ROUNDING_UNITS * EPSILON * size)
    return first, second


def compare(reference: tuple[Array, Array], other: tuple[Array, Array], **options: float) -> Parity:
    return compare_outputs([reference[0]], [reference[1]], [other[0]], [other[1]], **options)


@given(pairs())
def test_an_output_equals_itself(pair: tuple[Array, Array]) -> None:
    parity = compare(pair, pair)
    assert (parity.status, parity.outputs[0].largest_difference, parity.reason) == ("equal", 0.0, None)


@given(pairs(), st.integers(-20, 20), st.floats(0, 2e-3))
def test_scaling_outputs_scales_movement_and_difference_and_not_the_verdict(
    pair: tuple[Array, Array], exponent: int, error: float
) -> None:
    factor = np.float32(2.0**exponent)  # exact, so that rounding does not come in
    others = (pair[0] * np.float32(1 + error), pair[1])
    plain = compare(pair, others)
    scaled = compare((pair[0] * factor, pair[1] * factor), (others[0] * factor, others[1] * factor))
    assert scaled.outputs[0].movement == pytest.approx(plain.outputs[0].movement * factor, rel=1e-12)
    assert scaled.outputs[0].largest_difference == pytest.approx(
        plain.outputs[0].largest_difference * factor, rel=1e-12, abs=0
    )
    assert scaled.status == plain.status


@given(pairs(), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 3), st.data())
def test_a_value_that_is_not_finite_is_always_invalid(
    pair: tuple[Array, Array], bad: float, where: int, data: st.DataObject
) -> None:
    arrays = [pair[0].copy(), pair[1].copy(), pair[0].copy(), pair[1].copy()]
    arrays[where].flat[data.draw(st.integers(0, pair[0].size - 1))] = bad
    parity = compare((arrays[0], arrays[1]), (arrays[2], arrays[3]))
    assert parity.status == "invalid"
    assert f"1 of {pair[0].size} values from {'torch' if where < 2 else 'onnxruntime'}" in str(parity.reason)


@given(hnp.arrays(np.float32, shapes, elements=values), st.floats(-1e3, 1e3, width=32))
def test_a_constant_output_is_never_checked(constant: Array, offset: float) -> None:
    """Whatever the other backend says: equal to it would be luck, and different a matter of rounding."""
    other = constant + np.float32(offset)
    assert compare((constant, constant), (other, other)).status == "not checked"
    assert compare((constant, constant), (constant, constant)).status == "not checked"


@given(pairs(), st.floats(1.01, 1e3), st.booleans(), st.data())
def test_a_perturbation_above_the_tolerance_is_always_different(
    pair: tuple[Array, Array], excess: float, first: bool, data: st.DataObject
) -> None:
    reference = (pair[0].astype(np.float64), pair[1].astype(np.float64))
    movement = np.abs(reference[0] - reference[1]).max()
    size = max(np.abs(array).max() for array in reference)
    others = [reference[0].copy(), reference[1].copy()]
    target = others[0 if first else 1]
    # Rounding of the reference's own type: here float64, far below the tolerance.
    target.flat[data.draw(st.integers(0, target.size - 1))] += excess * RTOL * movement
    assume(excess * RTOL * movement > ROUNDING_UNITS * np.finfo(np.float64).eps * size)
    parity = compare(reference, (others[0], others[1]), rtol=RTOL)
    assert parity.status == "different"
    assert parity.outputs[0].relative == pytest.approx(excess * RTOL, rel=1e-3)


@given(pairs(), st.floats(0, 0.99))
def test_a_perturbation_within_the_tolerance_is_equal(pair: tuple[Array, Array], part: float) -> None:
    reference = (pair[0].astype(np.float64), pair[1].astype(np.float64))
    movement = np.abs(reference[0] - reference[1]).max()
    other = (reference[0] + part * RTOL * movement, reference[1])
    assert compare(reference, other, rtol=RTOL).status == "equal"


def test_atol_adds_to_what_is_allowed() -> None:
    reference = (np.array([0.0]), np.array([1.0]))
    other = (np.array([0.5]), np.array([1.0]))
    assert compare(reference, other, rtol=0.0, atol=0.4).status == "different"
    assert compare(reference, other, rtol=0.0, atol=0.5).status == "equal"


def test_a_difference_of_rounding_is_no_finding_where_the_output_hardly_moves() -> None:
    """At 1000 a float32 has steps of 6e-5: an output that moves by 0.005 cannot be held to 5e-6."""
    reference = (np.full(3, 1000, np.float32), np.full(3, 1000.005, np.float32))
    other = (np.nextafter(reference[0], np.float32(2000)), reference[1])
    parity = compare(reference, other)
    assert parity.status == "not checked"
    assert "rounding" in str(parity.reason)
    assert compare(reference, reference).status == "equal"
    # Who asks for an absolute tolerance gets it.
    assert compare(reference, other, rtol=0.0, atol=1e-6).status == "different"
    far = (reference[0] + np.float32(0.1), reference[1])
    assert compare(reference, far).status == "different"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.complex64])
def test_other_floating_types(dtype: Any) -> None:
    reference = (np.array([0.0, 1.0]).astype(dtype), np.array([3.0, 2.0]).astype(dtype))
    assert compare(reference, reference).status == "equal"
    assert compare(reference, (reference[0], np.array([3.0, 2.5]).astype(dtype))).status == "different"
    assert compare(reference, (reference[0], np.array([3.0, np.nan]).astype(dtype))).status == "invalid"


def test_float16_that_would_overflow_in_its_own_type() -> None:
    reference = (np.array([60000.0], np.float16), np.array([-60000.0], np.float16))
    assert compare(reference, reference).outputs[0].movement == pytest.approx(2 * float(np.float16(60000)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_whole_numbers_agree_or_do_not(dtype: Any) -> None:
    a, b = np.array([0, 1, 0, 1], dtype), np.array([1, 1, 1, 1], dtype)
    assert compare((a, b), (a, b)).outputs[0].movement == 0.5
    assert compare((a, b), (a, b)).status == "equal"
    parity = compare((a, b), (np.array([0, 1, 0, 0], dtype), b), atol=10.0)
    assert (parity.status, parity.outputs[0].largest_difference) == ("different", 0.25)
    assert compare((b, b), (b, b)).status == "not checked"


def test_unsigned_numbers_do_not_wrap_around() -> None:
    a, b = np.array([0], np.uint64), np.array([2**64 - 1], np.uint64)
    assert compare((a, b), (a, a)).status == "different"


def test_shapes_types_and_counts_that_differ() -> None:
    a, b = np.zeros((2, 3)), np.ones((2, 3))
    shaped = compare((a, b), (a.T, b.T))
    assert (shaped.status, "[2, 3] from torch, [3, 2] from onnxruntime" in str(shaped.reason)) == ("different", True)
    typed = compare((a, b), (a.astype(int), b.astype(int)))
    assert (typed.status, "types differ" in str(typed.reason)) == ("different", True)
    counted = compare_outputs([a], [b], [a, a], [b, b])
    assert (counted.status, counted.reason) == ("different", "torch has 1 outputs, onnxruntime has 2")


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "no elements"),
        (np.zeros(2), np.zeros(3), "depends on the input's values"),
        (np.array(["a"]), np.array(["b"]), "not numbers"),
    ],
)
def test_what_cannot_be_checked_says_why(a: Array, b: Array, says: str) -> None:
    parity = compare((a, b), (a, b))
    assert (parity.status, says in str(parity.reason)) == ("not checked", True)


def test_the_whole_is_as_bad_as_its_worst_output_and_names_what_was_not_checked() -> None:
    a, b, constant = np.array([0.0]), np.array([1.0]), np.array([5.0])
    reference = ([a, constant], [b, constant])
    fine = compare_outputs(*reference, *reference, names=["moves", "stays"])
    assert (fine.status, [output.status for output in fine.outputs]) == ("equal", ["equal", "not checked"])
    assert str(fine.reason).startswith("stays: it does not depend on the input")
    wrong = compare_outputs(*reference, [b, constant], [b, constant])
    assert wrong.status == "different"
    broken = compare_outputs(*reference, [b, constant * np.nan], [b, constant])
    assert broken.status == "invalid"
    assert compare_outputs([constant], [constant], [constant], [constant]).status == "not checked"


def test_a_difference_beyond_the_range_of_numbers_is_invalid() -> None:
    reference = (np.array([1e308]), np.array([-1e308]))
    assert compare(reference, reference).status == "invalid"
