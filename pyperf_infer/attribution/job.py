# SPDX-License-Identifier: Apache-2.0
"""A whole roofline: models at batches and precisions, on each backend. What it has found stays when it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyperf_infer import __version__
from pyperf_infer.attribution.rows import Asked, roofline
from pyperf_infer.attribution.timed import Shapes, time_layers
from pyperf_infer.measure.loading import load_model
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.shapes import batch_of, resolve_shapes
from pyperf_infer.profile.backends import BackendName, backends_of
from pyperf_infer.profile.failure import known
from pyperf_infer.results.schema import Document, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.roofline.ceilings.find import find_ceilings
from pyperf_infer.roofline.roofs import Roofs
from pyperf_infer.roofline.work.count import graph_of, work_of
from pyperf_infer.roofline.work.kernels import touched_weight_bytes
from pyperf_infer.system.environment import collect

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.errors import PyperfInferError
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.results.ceilings_schema import Ceilings
    from pyperf_infer.results.roofline_schema import Roofline


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be measured. Flags of the same names explain it; without models the ceilings alone are."""

    models: Sequence[str]
    options: BackendOptions  # of the first precision
    plan: ProfilePlan
    precisions: Sequence[str] = ("float32",)
    backends: Sequence[BackendName] = ()  # empty: those that take the model
    batch_sizes: Sequence[int | None] = (None,)  # None: 1 where the model leaves it open
    shapes: Shapes = field(default_factory=dict)
    weights: Path | None = None
    seed: int = 42
    fresh_ceilings: bool = False
    cache_sizes: Mapping[str, int] | None = None


@dataclass
class _Failed:
    what: str
    error: PyperfInferError


class Attributing:
    """Executes a job and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(self, job: Job, *, command: list[str], observer: Observer, phases: Phases | None = None) -> None:
        self._job, self._command, self._observer = job, command, observer
        self._phases = phases or Phases()
        self._created_utc = utc_now()
        self._failed: list[_Failed] = []
        self.ceilings: Ceilings | None = None
        self.rooflines: list[Roofline] = []
        self.samples: tuple[()] = ()
        with self._phases.timed("look at the machine"):
            self._environment = collect()

    def execute(self) -> None:
        """What fails of one model, batch, precision or backend is kept in `failures`, and the next one goes on.

        Raises:
            MeasurementError: the machine is too busy for its ceilings, or they are impossible.
            BackendError: the GPU is not there. KeyboardInterrupt: Ctrl-C.
        """
        job = self._job
        if job.options.gpu_index is not None:
            from pyperf_infer.measure.gpu import GpuSide

            with self._phases.timed("look at the GPU"):
                self._environment.gpus = [GpuSide(job.options.gpu_index, poll=False).described]
        self._observer.stage("ceilings of the machine")
        with self._phases.timed("ceilings"):
            self.ceilings = find_ceilings(
                job.options.device, job.options.threads, fresh=job.fresh_ceilings, cache_sizes=job.cache_sizes,
                progress=self._observer.stage,
            )  # fmt: skip
        for name in dict.fromkeys(job.models):
            self._attempt(name, name, "loading", partial(self._model, name))

    def _model(self, name: str) -> None:
        job = self._job
        model, _ = load_model(
            resolve(name), seed=job.seed, weights=job.weights, shapes=job.shapes,
            phases=self._phases, observer=self._observer,
        )  # fmt: skip
        for batch_size in dict.fromkeys(job.batch_sizes):
            shapes = resolve_shapes(model.inputs, batch_size, job.shapes or None)
            for precision in dict.fromkeys(job.precisions):
                for backend in backends_of(model, job.backends):
                    what = f"{model.name}, batch {batch_of(model.inputs, shapes)}, {precision}, {backend}"
                    self._attempt(what, model.name, backend, partial(self._measure, model, shapes, precision, backend))

    def _measure(self, model: LoadedModel, shapes: Shapes, precision: str, backend: BackendName) -> None:
        job = self._job
        assert self.ceilings is not None  # noqa: S101  it was the first thing to do
        options = replace(job.options, precision=precision)
        self._observer.stage(f"{model.name}: timing the layers on {backend}")
        with self._phases.timed(f"time the layers on {backend}"):
            timed = time_layers(backend, model, shapes, options, job.plan, seed=job.seed)
        self._observer.stage(f"{model.name}: counting")
        with self._phases.timed("count"):
            graph = graph_of(timed.structure, shapes, float_bytes=timed.float_bytes)
            work = work_of(timed.structure, shapes, graph)
            joined = timed.join(graph)
        touched = touched_weight_bytes(work.kernels) + work.activation_bytes_peak
        roofs = Roofs(self.ceilings, options.threads, asked=precision, touched_bytes=touched)
        asked = Asked(
            model.name, batch_of(model.inputs, shapes), shapes, precision, options.device, backend, options.threads
        )
        self.rooflines.append(roofline(asked, work, joined, timed.table, roofs, self.ceilings))

    def document(self, status: Literal["complete", "interrupted", "failed"]) -> Document:
        """Everything found so far."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status=status,
            environment=self._environment,
            results=[],
            rooflines=list(self.rooflines),
            ceilings=[] if self.ceilings is None else [self.ceilings],
            warnings=[
                Notice(
                    code="roofline_failed",
                    message=f"{one.what}: {' '.join(str(one.error).split())}",
                    remedy="What else was measured stands.",
                )
                for one in self._failed
            ],
            phases=self._phases.listed(),
        )

    @property
    def has_any(self) -> bool:
        return bool(self.rooflines) or self.ceilings is not None

    @property
    def failures(self) -> list[str]:
        return [f"{one.what}: {one.error}" for one in self._failed]

    @property
    def exit_code(self) -> int:
        """0, or that of the first failure."""
        return self._failed[0].error.exit_code if self._failed else 0

    def _attempt(self, what: str, model: str, step: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:
            self._observer.failed(error)
            self._failed.append(_Failed(what, known(error, step, model)))
