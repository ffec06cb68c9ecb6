# SPDX-License-Identifier: Apache-2.0
"""A model on ONNX Runtime taken apart, by the nodes that run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.backends.onnxruntime import OnnxRuntime
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.shapes import batch_of
from pyperf_infer.profile.files import listed
from pyperf_infer.profile.onnxruntime_events import arena_peak_bytes
from pyperf_infer.profile.onnxruntime_kernels import METHOD as KERNELS
from pyperf_infer.profile.onnxruntime_kernels import DevicePass, device_pass
from pyperf_infer.profile.onnxruntime_levels import Levels
from pyperf_infer.profile.onnxruntime_nodes import merge
from pyperf_infer.profile.onnxruntime_runs import Profiled, Trial, profile_in_turn, try_out
from pyperf_infer.profile.onnxruntime_sessions import Sessions
from pyperf_infer.profile.onnxruntime_table import COLUMNS, mapped_share, node_rows, untold
from pyperf_infer.results.files import write_text
from pyperf_infer.results.profile_csv import table_csv
from pyperf_infer.results.profile_schema import Profile, ProfileTable
from pyperf_infer.system.memory import PeakMemory

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.profile.onnxruntime_nodes import MergedNode
    from pyperf_infer.profile.plan import ProfilePlan

TRACE, NODES = "onnxruntime-trace.json", "onnxruntime-nodes.csv"
_METHOD = (
    "ONNX Runtime's own profiler in the native loop: each node's kernel without the nodes inside of it, in whole "
    "microseconds rounded down; the whole is the profile's model_run. Runs of binding are left out, and the first "
    "quarter of each block of runs"
)
_ON_GPU = "; these are the host's times of launching the kernels" + KERNELS
_ARENA = "the most that ONNX Runtime's arena held in a session's first inference, from its profile, outputs included"
_RESIDENT = "what the process's resident memory grew by while a session's first two inferences ran ({method})"


@dataclass(frozen=True)
class NodeTimes:
    """What ran, node by node: `nodes` are those of the table's rows, in their order, traced to the graph of `file`.

    A converted file is removed with `backend`.
    """

    table: ProfileTable
    nodes: Sequence[MergedNode]
    file: Path
    backend: OnnxRuntime
    sessions: int
    trial: Trial
    resident: PeakMemory


def profile_onnxruntime(
    model: LoadedModel,
    shapes: Mapping[str, tuple[int, ...]],
    options: BackendOptions,
    folder: Path,
    plan: ProfilePlan,
    *,
    seed: int,
) -> Profile:
    """Profiles `model` node by node, and writes the profile and the table into `folder`, which exists.

    `shapes`: of every input, whole. `seed`: of the inputs.

    Raises:
        InputError, BackendError, UsageError: as backend `onnxruntime`.
        MeasurementError: one inference makes more events than ONNX Runtime records.
    """
    trace = folder / TRACE if plan.trace else None
    done = time_nodes(model, shapes, options, plan, seed=seed, trace=trace)
    write_text(folder / NODES, table_csv(done.table, COLUMNS))
    files = [listed(folder, NODES, "the table of nodes")]
    if trace is not None:
        what = "ONNX Runtime's own profile, a Chrome trace" + (" of the first session" if done.sessions > 1 else "")
        files.insert(0, listed(folder, TRACE, what))
    peak, method = _memory(done.trial, done.resident, options) if plan.memory else (None, None)
    return Profile(
        model=model.name,
        batch_size=batch_of(model.inputs, shapes),
        shapes={name: list(shape) for name, shape in shapes.items()},
        precision=options.precision,
        device=options.device,
        backend=OnnxRuntime.name,
        threads=options.threads,
        parameters=model.parameters,
        tables=[done.table],
        files=files,
        peak_memory_bytes=peak,
        memory_method=method,
    )


def time_nodes(
    model: LoadedModel,
    shapes: Mapping[str, tuple[int, ...]],
    options: BackendOptions,
    plan: ProfilePlan,
    *,
    seed: int,
    trace: Path | None = None,
) -> NodeTimes:
    """The nodes' times alone; ONNX Runtime's profile goes to `trace`. Raises what `profile_onnxruntime` does."""
    options = replace(options, streams=1)
    backend = OnnxRuntime(options)
    backend.convert(model, shapes)
    inputs = make_inputs(model.inputs, shapes, seed)
    plain = backend.prepare(model, inputs)
    try:
        with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as scratch:
            sessions = Sessions(backend.file_of(model).path, options, backend.provider, inputs, Path(scratch))
            trial, resident = _try_out(sessions)
            with plain.measuring():
                done = profile_in_turn(plain.target, sessions.open, trial, plan, trace)
            plain.close()
            on_device = None if options.gpu_index is None else device_pass(sessions.open, options.gpu_index)
    finally:
        plain.close()
    levels = Levels(sessions.model, options, backend.provider)
    device = [(on_device.totals, on_device.graph)] if on_device is not None and on_device.totals is not None else []
    nodes = merge([*done.sessions, *device], levels.trace)
    table = _table(model, options, done, on_device, nodes, sessions.no_graph or levels.missing, plan)
    return NodeTimes(table, nodes, sessions.model, backend, len(done.sessions), trial, resident)


def _try_out(sessions: Sessions) -> tuple[Trial, PeakMemory]:
    session = sessions.load()
    with PeakMemory() as peak:
        session.bind()
    return try_out(session), peak


def _table(
    model: LoadedModel,
    options: BackendOptions,
    done: Profiled,
    on_device: DevicePass | None,
    nodes: Sequence[MergedNode],
    missing: str | None,
    plan: ProfilePlan,
) -> ProfileTable:
    """`missing`: why the nodes' sources are not known."""
    paths = () if model.module is None else model.module.named_modules(remove_duplicate=False)
    measured = on_device is not None and on_device.totals is not None
    rows = node_rows(
        nodes,
        inferences=done.inferences,
        whole_ms=done.whole_ms,
        modules=frozenset(name for name, _ in paths),
        device_inferences=on_device.inferences if on_device is not None and measured else None,
    )
    not_told = [f"the nodes' sources: {missing}"] if missing else untold(rows, [node.put_in for node in nodes])
    not_told += on_device.not_told if on_device is not None else ()
    if done.unreadable:
        not_told.append(f"{done.unreadable} lines of ONNX Runtime's profile, which are no JSON")
    if options.execution_mode == "parallel":
        not_told.append("what ran at the same time: with execution mode parallel the nodes' times overlap")
    return ProfileTable(
        name="onnxruntime nodes",
        backend=OnnxRuntime.name,
        method=_METHOD + (_ON_GPU if options.gpu_index is not None else ""),
        inferences=done.inferences,
        rows=rows,
        whole_ms=done.whole_ms,
        rest_ms=done.whole_ms - sum(row.time_ms or 0.0 for row in rows),
        perturbation=done.perturbation(plan.confidence),
        mapped_share=None if missing else mapped_share(rows),
        not_told=not_told,
    )


def _memory(trial: Trial, resident: PeakMemory, options: BackendOptions) -> tuple[int | None, str]:
    if options.gpu_index is not None:
        return None, "not measured: ONNX Runtime does not tell what it allocates on a GPU"
    arena = arena_peak_bytes(trial.first)
    if arena is not None:
        return arena, _ARENA
    return resident.increase_bytes, _RESIDENT.format(method=resident.method)
