# SPDX-License-Identifier: Apache-2.0
"""One model at one batch size on several backends: prepared, and their outputs compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pyperf_infer.convert.parity import compare_outputs
from pyperf_infer.errors import OutOfMemoryError
from pyperf_infer.measure.eager import Eager, eager_outputs
from pyperf_infer.measure.entry import Case, Memory
from pyperf_infer.measure.gpu import DeviceMemory, GpuSide
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.shapes import ITEM_BYTES
from pyperf_infer.results.schema import Environment, Parity
from pyperf_infer.system.memory import PeakMemory, available_memory_bytes, memory_limit
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, Backend, PreparedBackend
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.timing.samples import Samples

REFERENCE = "torch"  # what parity is measured against, where it takes part
# What compilers made of the module, checked against the module itself also where that takes no part.
_ALWAYS_CHECKED = ("torch-compile", "torch-aoti")


class HasOutputs(Protocol):
    """Outputs on two inputs, and whose they are."""

    @property
    def name(self) -> str: ...
    @property
    def outputs_a(self) -> Mapping[str, Array]: ...
    @property
    def outputs_b(self) -> Mapping[str, Array]: ...


@dataclass(kw_only=True)
class Contestant:
    """A backend on this case, from being prepared to being timed."""

    backend: Backend
    prepared: PreparedBackend
    memory: Memory
    load_s: float | None
    export_s: float | None
    outputs_a: dict[str, Array]
    outputs_b: dict[str, Array]
    eager: Callable[[], Eager] | None = None  # where the outputs are to be checked against an eager call in any case
    device_memory: DeviceMemory | None = None
    parity: Parity | None = None
    samples: Samples | None = None
    row: int | None = None  # the number of its row, once it has one

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def no_graph(self) -> str | None:
        """Why a backend of CUDA graphs runs without one (--allow-eager-fallback); None where that is not so."""
        said = str(self.prepared.facts.settings.get("cudagraph", ""))
        return said if said.startswith("failed") else None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all cases of a run share."""

    plan: RunPlan
    environment: Environment
    phases: Phases
    observer: Observer
    gpu: GpuSide | None = None  # None on the CPU


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What loading the module took. It is the part of a backend that runs the module itself, and of no other."""

    seconds: float
    module_bytes: int  # of its parameters and buffers


def prepare(case: Case, backend: Backend, loaded: Loaded, around: Surroundings) -> Contestant:
    """Loads the model into the backend, runs it on two inputs and leaves the first in place."""
    plan = around.plan
    with around.phases.timed("draw inputs"):
        _check_room(case)
        inputs_a = make_inputs(case.model.inputs, case.shapes, plan.seed)
        inputs_b = make_inputs(case.model.inputs, case.shapes, plan.seed + 1)
    with around.phases.timed("convert"):
        export_s = backend.convert(case.model, case.shapes)
    used_before = 0
    if around.gpu is not None:
        around.gpu.release_cached()
        used_before = around.gpu.used_memory_bytes()
    # A GPU's driver maps its own and the device's memory into the process, which the limit would count.
    limit = memory_limit() if around.gpu is None else nullcontext()
    with around.phases.timed(f"prepare {backend.name}"), PeakMemory() as peak, limit:
        prepared = backend.prepare(case.model, inputs_a)
        outputs_a = prepared.outputs()
        prepared.bind(inputs_b)
        outputs_b = prepared.outputs()
        prepared.bind(inputs_a)
    device_memory = None
    if around.gpu is not None:
        used = around.gpu.used_memory_bytes()
        device_memory = DeviceMemory(after_preparing_bytes=used, increase_bytes=used - used_before)
    load_s, module_bytes = prepared.facts.load_s, 0
    if load_s is None:  # it runs the module that is there already
        load_s, module_bytes = loaded.seconds, loaded.module_bytes
    memory = Memory(peak_bytes=peak.peak_bytes, increase_bytes=peak.increase_bytes + module_bytes, method=peak.method)
    return Contestant(
        backend=backend,
        prepared=prepared,
        memory=memory,
        load_s=load_s,
        export_s=export_s,
        outputs_a=outputs_a,
        outputs_b=outputs_b,
        eager=(lambda: eager_outputs(case, plan)) if backend.name in _ALWAYS_CHECKED else None,
        device_memory=device_memory,
    )


def _check_room(case: Case) -> None:
    """Drawing billions of numbers takes minutes: where they cannot fit, that is said before."""
    needed = 2 * sum(math.prod(case.shapes[spec.name]) * ITEM_BYTES[spec.dtype] for spec in case.model.inputs)
    available = available_memory_bytes()
    if needed > available:
        raise OutOfMemoryError(
            f"two sets of inputs take {format_bytes(needed)}, and {format_bytes(available)} are available"
        )


def reference_of(contestants: Sequence[Contestant]) -> Contestant | None:
    """PyTorch, or the first where that takes no part."""
    return next((one for one in contestants if one.name == REFERENCE), contestants[0] if contestants else None)


def compare_all_outputs(
    contestants: Sequence[Contestant], around: Surroundings, reference: Contestant | None = None
) -> None:
    """Fills in `parity`: each against the reference, which may be closed; without one against `reference_of`.

    Where that is not PyTorch, and a compiler's work on the module is among them, the module is called for it.
    """
    against: HasOutputs | None = reference or reference_of(contestants)
    if against is None:
        return
    eager = next((one.eager for one in contestants if one.eager is not None), None)
    if against.name != REFERENCE and eager is not None:
        with around.phases.timed("call the module for its outputs"):
            against = eager()
    with around.phases.timed("compare outputs"):
        for one in contestants:
            alone = one is against
            one.parity = _not_finite(one, around.plan) if alone else _parity(against, one, around.plan)


def _parity(reference: HasOutputs, other: Contestant, plan: RunPlan) -> Parity:
    if isinstance(reference, Eager) and reference.failed is not None:
        return _not_finite(other, plan) or Parity(
            status="not checked",
            reference=reference.name,
            other=other.name,
            outputs=[],
            rtol=plan.rtol,
            atol=plan.atol,
            reason=reference.failed,
        )
    return compare_outputs(
        list(reference.outputs_a.values()),
        list(reference.outputs_b.values()),
        list(other.outputs_a.values()),
        list(other.outputs_b.values()),
        plan.rtol,
        plan.atol,
        names=list(reference.outputs_a),
        reference=reference.name,
        other=other.name,
    )


def _not_finite(one: Contestant, plan: RunPlan) -> Parity | None:
    """Outputs that are no numbers are a finding also where there is nothing to compare them with."""
    broken = [name for name, array in one.outputs_a.items() if not _finite(array)]
    if not broken:
        return None
    reason = f"{', '.join(broken)} of {one.name}: NaN or infinity in the output"
    return Parity(
        status="invalid",
        reference=one.name,
        other=one.name,
        outputs=[],
        rtol=plan.rtol,
        atol=plan.atol,
        reason=reason,
    )


def _finite(array: Array) -> bool:
    if array.dtype.kind not in "fcV":  # V: bfloat16
        return True
    return bool(np.isfinite(array.astype(np.float32) if array.dtype.kind == "V" else array).all())
