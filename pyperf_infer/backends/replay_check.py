# SPDX-License-Identifier: Apache-2.0
"""Whether what a CUDA graph replays follows its input.

A graph replays addresses. Where the session read its input from elsewhere when it was captured, or a value from the
host, every replay gives the outputs of that first input, at a speed that looks good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyperf_infer.convert.parity import compare_outputs
from pyperf_infer.errors import MeasurementError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array
    from pyperf_infer.ort_session import OnnxSession

# Of how far the outputs move between the two inputs: a replay that is right stays within rounding and the choice of
# other algorithms, and one that is stale is off by all of it.
_RTOL = 0.25
_STALE = "replayed outputs do not follow the input"


def other_values(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Other inputs of the same shapes and types: the same values backwards, so that indices stay valid."""
    return {name: _backwards(array) for name, array in inputs.items()}


def _backwards(array: Array) -> Array:
    other = array.reshape(-1)[::-1].reshape(array.shape).copy()
    is_number = array.dtype.kind == "f" or "float" in array.dtype.name  # bfloat16 is "V" to NumPy
    return (other + array.dtype.type(1)).astype(array.dtype) if is_number else other


def check_replay(
    session: OnnxSession,
    plain: tuple[Mapping[str, Array], Mapping[str, Array]],
    inputs: tuple[Mapping[str, Array], Mapping[str, Array]],
) -> str:
    """Compares replays of a session that has captured inputs[0] with `plain`, the outputs of a session without a graph.

    The second input is written in place of the first, and outputs are poisoned before every replay. The first input is
    back in place in the end. Returns what the check found: "outputs follow the input", or why that cannot be told.

    Raises:
        MeasurementError: they do not.
    """
    session.poison_outputs()
    first = session.run()
    session.poison_outputs()
    session.write(inputs[1])
    second = session.run()
    session.write(inputs[0])
    session.run()
    untouched = [
        name for name, array in second.items() if _is_poison(array) and not _is_poison(plain[1].get(name, array))
    ]
    if untouched:
        raise MeasurementError(f"{_STALE}: a replay does not write {', '.join(untouched)}")
    names = [name for name in second if all(_is_finite(one[name]) for one in plain)]
    plain_a, plain_b, replayed_a, replayed_b = ([one[name] for name in names] for one in (*plain, first, second))
    found = compare_outputs(
        plain_a,
        plain_b,
        replayed_a,
        replayed_b,
        rtol=_RTOL,
        names=names,
        reference="a session without a graph",
        other="the replay",
    )
    if found.status in ("different", "invalid"):
        raise MeasurementError(f"{_STALE}: {found.reason}")
    if found.status == "equal":
        return "outputs follow the input"
    return f"not told: {found.reason or 'no output is a finite number'}"


def _is_poison(array: Array) -> bool:
    return array.size > 0 and array.tobytes() == b"\xff" * array.nbytes


def _is_finite(array: Array) -> bool:
    is_number = array.dtype.kind in "fc" or "float" in array.dtype.name
    return not is_number or bool(np.isfinite(array.astype(np.complex128)).all())
