# SPDX-License-Identifier: Apache-2.0
"""The outputs of a contest's sides: compared where they are to be the same, and why not where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer.measure.case import compare_all_outputs
from pyperf_infer.results.schema import Parity

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Surroundings
    from pyperf_infer.measure.interleaved import Entrant


def compare_side(one: Entrant, first: Entrant | None, around: Surroundings) -> None:
    """Fills in the parity of `one`: against the baseline `first` where both compute the same function of the same
    inputs, else "not checked".

    What a compiler made of a module is checked against the module as well, and NaN is a finding in any case. `first` is
    None for the baseline itself, and where there is none.
    """
    contestant = one.contestant
    why = None if first is None else _why_not_alike(first, one)
    if first is None or why is not None:
        compare_all_outputs([contestant], replace(around, plan=one.plan))
        if first is not None and contestant.parity is None:
            contestant.parity = Parity(
                status="not checked",
                reference=first.label,
                other=one.label,
                outputs=[],
                rtol=one.plan.rtol,
                atol=one.plan.atol,
                reason=why,
            )
        return
    # Of two precisions, the coarser one's tolerance.
    plan = replace(one.plan, rtol=max(first.plan.rtol, one.plan.rtol), atol=max(first.plan.atol, one.plan.atol))
    compare_all_outputs([contestant], replace(around, plan=plan), first.contestant)
    if contestant.parity is not None and contestant.parity.reference == first.contestant.name:
        contestant.parity.reference, contestant.parity.other = first.label, one.label


def _why_not_alike(first: Entrant, other: Entrant) -> str | None:
    """Why two sides need not give the same outputs; None where they must."""
    mine, theirs = first.case, other.case
    if mine.model.name != theirs.model.name:
        return f"{theirs.model.name} is another model than {mine.model.name}"
    if first.plan.seed != other.plan.seed:
        return f"other inputs: seed {other.plan.seed} against {first.plan.seed}"
    if mine.model.weights.sha256 != theirs.model.weights.sha256:
        return "other weights"
    if mine.shapes != theirs.shapes:
        return f"other shapes: {_shapes(theirs.shapes)} against {_shapes(mine.shapes)}"
    return None


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
