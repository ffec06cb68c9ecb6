# SPDX-License-Identifier: Apache-2.0
"""Whether two backends compute the same, measured against how far the outputs move from one input to another.

A difference says nothing by itself: 1e-4 is little for logits that spread over 10 and everything for an output that
never leaves 3.0001. Its measure is the movement of the output between two inputs; an output that does not move
would agree with anything and is not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyperf_infer.results.schema import OutputParity, Parity

Array: TypeAlias = NDArray[Any]
Status: TypeAlias = Literal["equal", "different", "not checked", "invalid"]

DEFAULT_RTOL = 1e-3  # float32 against float32
DEFAULT_ATOL = 0.0
# A rounding error of 2**-11 (tf32, float16) or 2**-8 (bfloat16) in each of some fifty layers, in another order in each
# backend; float32's own is 2**-24, and its tolerance generous. ResNet-50 with random weights, whose output moves
# little, differed from float32 by 0.020 in float16 and 0.16 in bfloat16, and compiled from eager by 0.014 and 0.10.
_RTOL = {"float32": DEFAULT_RTOL, "tf32": 2e-2, "float16": 4e-2, "bfloat16": 3e-1}

# Rounding noise of an output, in units of its type's epsilon times its largest value. Sums in another order differ by
# a few units in float32 networks; 16 leaves room and is still 2e-6 of the value.
ROUNDING_UNITS = 16


def default_rtol(precision: str) -> float:
    """The tolerance, relative to the output's movement, at which two backends of one precision count as equal."""
    return _RTOL[precision]


def compare_outputs(
    reference_a: Sequence[Array],
    reference_b: Sequence[Array],
    other_a: Sequence[Array],
    other_b: Sequence[Array],
    rtol: float = DEFAULT_RTOL,
    atol: float = DEFAULT_ATOL,
    *,
    names: Sequence[str] | None = None,
    reference: str = "torch",
    other: str = "onnxruntime",
) -> Parity:
    """Compares the outputs of two backends on two inputs, a and b.

    The four sequences hold one array an output, in the same order. For each output,
    movement = max|reference_a - reference_b|, and it is

    - ``invalid`` where any of its four arrays has a NaN or an infinity,
    - ``different`` where shapes or kinds of types differ,
    - ``not checked`` where the movement is no more than rounding noise of the output's size,
    - ``equal`` where |reference - other| <= atol + rtol * movement everywhere and for both inputs,
    - ``not checked`` where it is not, rtol was above 0, and the difference is still only rounding noise (the output
      moves, but too little for its size to tell),
    - ``different`` otherwise.

    For integers and bools the difference is the share of elements that are not equal and the movement the share that
    changes between a and b; atol, which is in the values' unit, does not count there. The whole is invalid or
    different where one output is, not checked where none could be, else equal, with a reason that names what was
    not checked.
    """
    counts = {len(outputs) for outputs in (reference_a, reference_b, other_a, other_b)}
    if len(counts) != 1:
        counted = f"{reference} has {len(reference_a)} outputs, {other} has {len(other_a)}"
        return Parity(
            status="different", reference=reference, other=other, outputs=[], rtol=rtol, atol=atol, reason=counted
        )
    labels = list(names) if names is not None else [f"output_{index}" for index in range(len(reference_a))]
    outputs: list[OutputParity] = []
    reasons: list[str] = []
    for label, ra, rb, oa, ob in zip(labels, reference_a, reference_b, other_a, other_b, strict=True):
        output, reason = _compare_one(label, (ra, rb), (oa, ob), rtol, atol, (reference, other))
        outputs.append(output)
        if reason:
            reasons.append(f"{label}: {reason}")
    return Parity(
        status=_overall([output.status for output in outputs]),
        reference=reference,
        other=other,
        outputs=outputs,
        rtol=rtol,
        atol=atol,
        reason="; ".join(reasons) or None,
    )


def _overall(statuses: Sequence[Status]) -> Status:
    order: tuple[Status, ...] = ("invalid", "different", "equal")
    return next((status for status in order if status in statuses), "not checked")


def _compare_one(
    name: str,
    references: tuple[Array, Array],
    others: tuple[Array, Array],
    rtol: float,
    atol: float,
    backends: tuple[str, str],
) -> tuple[OutputParity, str | None]:
    def verdict(
        status: Status, reason: str | None, difference: float | None = None, movement: float | None = None
    ) -> tuple[OutputParity, str | None]:
        relative = difference / movement if difference is not None and movement else None
        if relative is not None and not np.isfinite(relative):
            relative = None
        return OutputParity(
            name=name, largest_difference=difference, movement=movement, relative=relative, status=status
        ), reason

    arrays = [np.asarray(array) for array in (*references, *others)]
    kinds = {_kind(array) for array in arrays}
    # Values first: where a shape differs too, a NaN is the graver finding.
    for array, backend in zip(arrays, (backends[0], backends[0], backends[1], backends[1]), strict=True):
        bad = _count_not_finite(array)
        if bad:
            return verdict("invalid", f"{bad} of {array.size} values from {backend} are NaN or infinite")
    for ours, theirs in zip(references, others, strict=True):
        if np.shape(ours) != np.shape(theirs):
            shapes = f"{list(np.shape(ours))} from {backends[0]}, {list(np.shape(theirs))} from {backends[1]}"
            return verdict("different", f"shapes differ: {shapes}")
    if len(kinds) != 1:
        types = f"{arrays[0].dtype} from {backends[0]}, {arrays[2].dtype} from {backends[1]}"
        return verdict("different", f"types differ: {types}")
    if kinds == {"other"}:
        return verdict("not checked", f"values of type {arrays[0].dtype} are not numbers")
    if arrays[0].shape != arrays[1].shape:
        return verdict("not checked", "its shape depends on the input's values, so that its movement is not defined")
    if arrays[0].size == 0:
        return verdict("not checked", "it has no elements")
    if kinds == {"discrete"}:
        movement = _share_unequal(arrays[0], arrays[1])
        difference = max(_share_unequal(arrays[0], arrays[2]), _share_unequal(arrays[1], arrays[3]))
        noise, allowed = 0.0, rtol * movement
    else:
        values = [_wide(array) for array in arrays]
        movement = _largest(values[0], values[1])
        difference = max(_largest(values[0], values[2]), _largest(values[1], values[3]))
        size = max(float(np.max(np.abs(value))) for value in values[:2])
        noise = ROUNDING_UNITS * max(_epsilon(array.dtype) for array in arrays) * size
        allowed = atol + rtol * movement
        if not (np.isfinite(movement) and np.isfinite(difference)):
            return verdict("invalid", "differences between its values exceed the range of float64")
    if movement <= noise:
        return verdict(
            "not checked", f"it does not depend on the input (moves by {movement:.3g})", difference, movement
        )
    if difference <= allowed:
        return verdict("equal", None, difference, movement)
    if rtol > 0 and difference <= noise:
        reason = f"it moves by {movement:.3g} only, and a difference of {difference:.3g} is rounding at its size"
        return verdict("not checked", reason, difference, movement)
    return verdict("different", f"differs by {difference:.3g}, allowed are {allowed:.3g}", difference, movement)


def _kind(array: Array) -> Literal["discrete", "real", "complex", "other"]:
    if array.dtype.kind in "biu":
        return "discrete"
    if array.dtype.kind == "c":
        return "complex"
    # numpy does not know that ml_dtypes' bfloat16 and float8 are numbers: to it they are void ("V").
    return "real" if array.dtype.kind == "f" or "float" in array.dtype.name else "other"


def _wide(array: Array) -> Array:
    """In double precision, in which differences of narrower types are exact or nearly so and do not overflow."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _count_not_finite(array: Array) -> int:
    if _kind(array) not in ("real", "complex"):
        return 0
    return int(array.size - np.count_nonzero(np.isfinite(_wide(array))))


def _largest(first: Array, second: Array) -> float:
    with np.errstate(over="ignore"):
        return float(np.max(np.abs(first - second)))


def _share_unequal(first: Array, second: Array) -> float:
    return float(np.count_nonzero(first != second) / first.size)


def _epsilon(dtype: np.dtype[Any]) -> float:
    if dtype.kind in "fc":
        return float(np.finfo(dtype).eps)
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
