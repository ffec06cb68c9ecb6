# SPDX-License-Identifier: Apache-2.0
"""The outputs that PyTorch itself gives, for checking what a compiler made of a module. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pyperf_infer.backends.registry import make_backend
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.plan import RunPlan

_BACKEND: Final = "torch"


@dataclass(frozen=True, kw_only=True)
class Eager:
    """Outputs of eager calls on a run's two inputs; none where the calls failed, and why."""

    outputs_a: Mapping[str, Array]
    outputs_b: Mapping[str, Array]
    failed: str | None = None
    name: str = _BACKEND


def eager_outputs(case: Case, plan: RunPlan) -> Eager:
    """Calls the module on the inputs that every backend gets, in the same precision.

    Raises:
        OutOfMemoryError, or what `is_out_of_memory` knows: it does not fit.
    """
    options = replace(plan.options, streams=1, include_transfers=False)
    inputs = [make_inputs(case.model.inputs, case.shapes, seed) for seed in (plan.seed, plan.seed + 1)]
    try:
        prepared = make_backend(_BACKEND, options).prepare(case.model, inputs[0])
        try:
            outputs_a = prepared.outputs()
            prepared.bind(inputs[1])
            return Eager(outputs_a=outputs_a, outputs_b=prepared.outputs())
        finally:
            prepared.close()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        said = str(error).strip().split("\n", 1)[0]
        return Eager(outputs_a={}, outputs_b={}, failed=f"the module itself fails: {said}")
