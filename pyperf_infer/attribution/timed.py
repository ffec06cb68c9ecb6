# SPDX-License-Identifier: Apache-2.0
"""The times of a model's layers on each backend, and how they are joined with its graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.attribution.layers import Joined, join_modules, join_nodes
from pyperf_infer.models.spec import ModelStructure

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.profile.backends import BackendName
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.results.profile_schema import ProfileTable
    from pyperf_infer.roofline.work.counts import Graph

Shapes = Mapping[str, tuple[int, ...]]
_HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Timed:
    """`structure`: what was executed, for the counter. `float_bytes`: of its floating-point tensors, where they were
    converted after it was built."""

    table: ProfileTable
    structure: ModelStructure
    float_bytes: int | None
    join: Callable[[Graph], Joined]


def time_layers(
    backend: BackendName, model: LoadedModel, shapes: Shapes, options: BackendOptions, plan: ProfilePlan, *, seed: int
) -> Timed:
    """Raises what the profile of that backend raises."""
    plan = replace(plan, memory=False, python=False, trace=False)
    return (_on_torch if backend == "torch" else _on_onnxruntime)(model, shapes, options, plan, seed)


def _on_torch(model: LoadedModel, shapes: Shapes, options: BackendOptions, plan: ProfilePlan, seed: int) -> Timed:
    from pyperf_infer.profile.torch_profile import profile_torch

    with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
        profile = profile_torch(model, shapes, options, Path(folder), plan, seed=seed)
    table = profile.tables[0]
    structure = ModelStructure(model.name, model.inputs, model.parameters, model.module, None)
    float_bytes = 2 if options.precision in _HALF else None
    return Timed(table, structure, float_bytes, lambda graph: join_modules(graph, table.rows))


def _on_onnxruntime(model: LoadedModel, shapes: Shapes, options: BackendOptions, plan: ProfilePlan, seed: int) -> Timed:
    from pyperf_infer.profile.onnxruntime_profile import time_nodes

    done = time_nodes(model, shapes, options, plan, seed=seed)
    structure = ModelStructure(model.name, model.inputs, model.parameters, None, done.file)
    on_device = options.gpu_index is not None
    return Timed(
        done.table, structure, None, lambda graph: join_nodes(graph, done.table.rows, done.nodes, on_device=on_device)
    )
