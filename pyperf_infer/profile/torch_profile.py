# SPDX-License-Identifier: Apache-2.0
"""A model on PyTorch taken apart: by layer, in memory, by Python function, and over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from pyperf_infer.backends.torch_common import explained
from pyperf_infer.models.inputs import batch_of, make_inputs
from pyperf_infer.profile import memory as memory_pass
from pyperf_infer.profile.eager_model import EagerModel, open_eager
from pyperf_infer.profile.files import listed
from pyperf_infer.profile.inference_loop import batches, warm_up
from pyperf_infer.profile.layer_shapes import look
from pyperf_infer.profile.layer_timer import LayerTimer
from pyperf_infer.profile.layers import find_layers, without
from pyperf_infer.profile.perturbation import NO_ROUND, Switched, perturbation
from pyperf_infer.profile.python_path import PythonPath
from pyperf_infer.profile.spans import Totals
from pyperf_infer.profile.torch_table import COLUMNS, layer_rows, memory_rows, untold
from pyperf_infer.profile.trace import WHAT as WHAT_TRACE
from pyperf_infer.profile.trace import write_trace
from pyperf_infer.results.files import write_text
from pyperf_infer.results.profile_csv import table_csv
from pyperf_infer.results.profile_schema import Profile, ProfileFile, ProfileTable
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.profile.layers import Layer
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.results.profile_schema import Perturbation, ProfileRow

TRACE, LAYERS, STATS, PYTHON = "torch-trace.json", "torch-layers.csv", "torch-python.prof", "torch-python.txt"
BACKEND = "torch"

TableName = Literal["torch layers", "memory", "python"]

_LAYERS_ON_CPU = (
    "host clock read before and after the forward of every module, without hooks, eagerly in inference mode; time_ms "
    "is without the modules called within, and with what calling them takes"
)
_LAYERS_ON_GPU = (
    "CUDA events on the current stream before and after the forward of every module, without hooks, eagerly in "
    "inference mode; a span holds the gaps in which the GPU waits for the host; time_ms is without the modules called "
    "within"
)
_ELSEWHERE = "; what a module does when it is not called, as by another method, is its caller's"
_PYTHON = (
    "cProfile around eager calls: every Python and built-in function that the calling thread ran, and nothing of other "
    "threads; what it adds to each call makes Python look slower than it is"
)


def profile_torch(
    model: LoadedModel,
    shapes: Mapping[str, tuple[int, ...]],
    options: BackendOptions,
    folder: Path,
    plan: ProfilePlan,
    *,
    seed: int,
) -> Profile:
    """Profiles `model` as backend `torch` runs it, and writes the files into `folder`, which exists.

    `shapes`: of every input, whole. `seed`: of the inputs.

    Raises:
        InputError, BackendError, UsageError: as backend `torch`; a file that cannot be written.
        MeasurementError, OutOfMemoryError: the model fails.
    """
    opened = open_eager(model, make_inputs(model.inputs, shapes, seed), options)
    try:
        with explained(f"{model.name}, profiling it"), opened.running(), garbage_collection(enabled=False):
            done = _Passes(opened, folder, plan)
            done.run()
    finally:
        opened.close()
    return Profile(
        model=model.name,
        batch_size=batch_of(model.inputs, shapes),
        shapes={name: list(shape) for name, shape in shapes.items()},
        precision=options.precision,
        device=options.device,
        backend=BACKEND,
        threads=torch.get_num_threads(),
        parameters=model.parameters,
        tables=done.tables,
        files=done.files,
        peak_memory_bytes=done.peak_memory_bytes,
        memory_method=done.memory_method,
    )


class _Passes:
    """One pass a question: what an answer costs does not show in another."""

    def __init__(self, model: EagerModel, folder: Path, plan: ProfilePlan) -> None:
        self._model, self._folder, self._plan = model, folder, plan
        self._whole = model.whole(model.call)
        self._layers: tuple[Layer, ...] = ()
        self._call_ns = 0.0
        self.tables: list[ProfileTable] = []
        self.files: list[ProfileFile] = []
        self.peak_memory_bytes: int | None = None
        self.memory_method: str | None = None

    def run(self) -> None:
        found = find_layers(self._model.module)
        looked = look(self._model, found.listed)
        if looked.compiled:
            found = without(found, looked.compiled)
            looked = look(self._model, found.listed)
        self._layers, seen = found.listed, looked.seen
        timer = LayerTimer(self._model, self._layers, sum(one.calls for one in seen.values()))
        totals = self._time(timer)
        meter = memory_pass.MemoryMeter(self._model, self._layers) if self._plan.memory else None
        peaks = None if meter is None else meter.measure()
        rows, whole_ms, rest_ms = layer_rows(self._model.module, self._layers, seen, totals, peaks)
        ran = {number for number in range(len(self._layers)) if number in seen or totals.calls[number]}
        not_told = [*found.not_told, *untold(self._layers, ran)]
        if not rows:
            not_told.append("layers: no module was called in a way that can be watched")
        method = (_LAYERS_ON_CPU if self._model.gpu_index is None else _LAYERS_ON_GPU) + _ELSEWHERE
        cost = perturbation(
            Switched(self._whole, timer.inference, timer.attach, timer.detach), self._call_ns, self._plan
        )
        layers = self._table("torch layers", method, rows, whole_ms, totals.inferences, cost, not_told, rest_ms)
        write_text(self._folder / LAYERS, table_csv(layers, COLUMNS))
        self._list(LAYERS, "the table of layers")
        if meter is not None and peaks is not None:
            self.memory_method = meter.method if peaks.missing is None else f"not measured: {peaks.missing}"
            self.peak_memory_bytes = peaks.whole
            if peaks.missing is None:
                self._memory(meter, memory_rows(rows))
        if self._plan.trace:
            missing = write_trace(self._model, self._layers, seen, self._folder / TRACE)
            if missing is None:
                self._list(TRACE, WHAT_TRACE)
            else:
                layers.not_told.append(f"the trace: {missing}")
        if self._plan.python and (missing := self._python()) is not None:
            layers.not_told.append(missing)

    def _time(self, timer: LayerTimer) -> Totals:
        totals = Totals(timer.whole_number + 1)
        with timer.attached():
            self._call_ns = warm_up(timer.inference, self._plan)
            for count in batches("layers", self._plan, self._call_ns, timer.most):
                totals.add(timer.time(count), count)
        return totals

    def _memory(self, meter: memory_pass.MemoryMeter, rows: list[ProfileRow]) -> None:
        cost = perturbation(
            Switched(self._whole, meter.inference, meter.on, meter.off),
            self._call_ns, self._plan, most_block_ns=memory_pass.BLOCK_NS,
        )  # fmt: skip
        whole_ms = cost.instrumented_ms if cost is not None else self._call_ns / 1e6
        method = f"{meter.method}; a pass of its own, that tells no layer's time"
        self._table("memory", method, rows, whole_ms, memory_pass.INFERENCES, cost, [])

    def _python(self) -> str | None:
        path = PythonPath(self._model)
        if (missing := path.measure(self._plan, self._call_ns)) is not None:
            return missing
        rows, whole_ms = path.rows()
        path.write(self._folder / STATS, self._folder / PYTHON)
        self._list(STATS, "cProfile's statistics, for python -m pstats")
        self._list(PYTHON, "the functions that took longest themselves, as text")
        again = PythonPath(self._model)  # the blocks' calls are no part of what was written
        cost = perturbation(Switched(self._whole, self._whole, again.on, again.off), self._call_ns, self._plan)
        self._table("python", _PYTHON, rows, whole_ms, path.inferences, cost, [])
        return None

    def _table(
        self, name: TableName, method: str, rows: list[ProfileRow], whole_ms: float, inferences: int,
        cost: Perturbation | None, not_told: list[str], rest_ms: float | None = None,
    ) -> ProfileTable:  # fmt: skip
        table = ProfileTable(
            name=name,
            backend=BACKEND,
            method=method,
            inferences=inferences,
            rows=rows,
            whole_ms=whole_ms,
            rest_ms=whole_ms - sum(row.time_ms or 0.0 for row in rows) if rest_ms is None else rest_ms,
            perturbation=cost,
            not_told=not_told if cost is not None else [*not_told, NO_ROUND],
        )
        self.tables.append(table)
        return table

    def _list(self, name: str, what: str) -> None:
        self.files.append(listed(self._folder, name, what))
