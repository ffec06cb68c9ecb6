# SPDX-License-Identifier: Apache-2.0
"""A whole `overhead`: one model at every batch size. What it has found stays at hand when it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pyperf_infer import __version__
from pyperf_infer.errors import InputError
from pyperf_infer.measure.loading import load_model
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import resolve_shapes
from pyperf_infer.overhead.case import Entry, Surroundings, measure_case
from pyperf_infer.results.schema import Document, Overhead, utc_now
from pyperf_infer.system.environment import collect

if TYPE_CHECKING:
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.overhead.paths import Rung
    from pyperf_infer.overhead.plan import OverheadPlan, Runtime


class OverheadJob:
    """Executes a plan and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(
        self, plan: OverheadPlan, *, command: list[str], observer: Observer, phases: Phases | None = None
    ) -> None:
        self._command = command
        self._around = Surroundings(plan=plan, phases=phases or Phases(), observer=observer)
        self._created_utc = utc_now()
        self._entries: list[Entry] = []
        self.overheads: list[Overhead] = []
        with self._around.phases.timed("look at the machine"):
            self._environment = collect()

    def execute(self) -> None:
        """Measures every batch size. A path that fails is a row that says so, and the rest goes on.

        Raises:
            InputError: the model is unknown or cannot be loaded, or a runtime that was named does not run it.
            BackendError, UsageError: a device, provider or option that cannot be used. OutOfMemoryError: the model or
            its inputs do not fit. KeyboardInterrupt: Ctrl-C.
        """
        plan, phases = self._around.plan, self._around.phases
        source = resolve(plan.model)
        if plan.options.gpu_index is not None:
            from pyperf_infer.measure.gpu import GpuSide

            with phases.timed("look at the GPU"):
                self._environment.gpus = [GpuSide(plan.options.gpu_index, poll=False).described]
        model, _ = load_model(
            source, seed=plan.seed, weights=plan.weights, shapes=plan.shapes,
            phases=phases, observer=self._around.observer,
        )  # fmt: skip
        cases = [resolve_shapes(model.inputs, batch, plan.shapes) for batch in plan.batch_sizes]
        with phases.timed("import backends"):
            rungs = [rung for runtime in self._runtimes(model) for rung in _rungs(runtime, plan)]
        for shapes in cases:
            overhead, entries = measure_case(model, shapes, rungs, self._around)
            self._entries += entries
            self.overheads.append(overhead)

    def document(self, status: Literal["complete", "interrupted", "failed"]) -> Document:
        """Everything found so far."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status=status,
            environment=self._environment,
            results=[],
            overheads=list(self.overheads),
            phases=self._around.phases.listed(),
        )

    @property
    def has_any(self) -> bool:
        """Whether a batch size is done."""
        return bool(self.overheads)

    @property
    def samples(self) -> tuple[()]:
        """Results of overhead hold no samples."""
        return ()

    @property
    def failures(self) -> list[str]:
        """Why paths have failed: each reason once, with the paths that it is about."""
        about: dict[tuple[str, str], dict[str, None]] = {}
        for entry in self._entries:
            if entry.error is not None:
                about.setdefault((entry.kind.runtime, entry.error), {})[entry.kind.name] = None
        return [f"{runtime} {', '.join(paths)}: {reason}" for (runtime, reason), paths in about.items()]

    @property
    def exit_code(self) -> int:
        """0, or that of the first path that failed; 1 where it is no more than outputs that differ."""
        codes = [entry.exit_code for entry in self._entries if entry.error is not None]
        return next((code for code in codes if code > 1), max(codes, default=0))

    def _runtimes(self, model: LoadedModel) -> tuple[Runtime, ...]:
        asked = self._around.plan.runtimes
        if model.module is not None:
            return asked or ("torch", "onnxruntime")
        if "torch" in asked:
            raise InputError(f"{model.name} is an ONNX file, which PyTorch does not run; use --backend onnxruntime")
        return ("onnxruntime",)


def _rungs(runtime: Runtime, plan: OverheadPlan) -> list[Rung]:
    """Imports what the runtime needs."""
    if runtime == "torch":
        from pyperf_infer.overhead.torch_ladder import TorchLadder

        return TorchLadder(plan).rungs()
    from pyperf_infer.overhead.onnx_ladder import OnnxLadder

    return OnnxLadder(plan).rungs()
