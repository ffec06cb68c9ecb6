# SPDX-License-Identifier: Apache-2.0
"""A whole profile: one model on each backend. What it has found stays at hand when it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyperf_infer import __version__
from pyperf_infer.measure.loading import load_model
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import resolve_shapes
from pyperf_infer.profile.backends import BackendName, backends_of
from pyperf_infer.profile.failure import known
from pyperf_infer.results.schema import Document, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.environment import collect

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.errors import PyperfInferError
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.results.schema import Profile

Profiler = Callable[["LoadedModel", Mapping[str, tuple[int, ...]]], "Profile"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be profiled, and where the files go. Flags of the same names explain it."""

    model: str
    options: BackendOptions
    plan: ProfilePlan
    folder: Path  # it exists
    backends: tuple[BackendName, ...] = ()  # empty: those that take the model
    batch_size: int | None = None  # None: 1 where the model leaves it open
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Path | None = None
    seed: int = 42


class Profiling:
    """Executes a job and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(self, job: Job, *, command: list[str], observer: Observer, phases: Phases | None = None) -> None:
        self._job, self._command, self._observer = job, command, observer
        self._phases = phases or Phases()
        self._created_utc = utc_now()
        self.profiles: list[Profile] = []
        self.failures: list[tuple[str, PyperfInferError]] = []  # of backends, by name
        with self._phases.timed("look at the machine"):
            self._environment = collect()

    def execute(self) -> None:
        """Profiles the model on each backend. What fails on one is kept in `failures`, and the next one goes on.

        Raises:
            InputError: the model is unknown or cannot be loaded, or a backend that was named does not run it.
            OutOfMemoryError: it does not fit. BackendError: the GPU is not there. KeyboardInterrupt: Ctrl-C.
        """
        job = self._job
        source = resolve(job.model)
        if job.options.gpu_index is not None:
            from pyperf_infer.measure.gpu import GpuSide

            with self._phases.timed("look at the GPU"):
                self._environment.gpus = [GpuSide(job.options.gpu_index, poll=False).described]
        model, _ = load_model(
            source, seed=job.seed, weights=job.weights, shapes=job.shapes,
            phases=self._phases, observer=self._observer,
        )  # fmt: skip
        shapes = resolve_shapes(model.inputs, job.batch_size, job.shapes)
        for backend in backends_of(model, job.backends):
            self._observer.stage(f"{model.name}: profiling {backend}")
            try:
                with self._phases.timed(f"profile {backend}"):
                    self.profiles.append(self._profiler(backend)(model, shapes))
            except Exception as error:
                self._observer.failed(error)
                self.failures.append((backend, known(error, backend, model.name)))

    def document(self, status: Literal["complete", "interrupted", "failed"]) -> Document:
        """Everything found so far."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status=status,
            environment=self._environment,
            results=[],
            profiles=list(self.profiles),
            warnings=[
                Notice(
                    code="profile_failed",
                    message=f"{backend} could not be profiled: {' '.join(str(error).split())}",
                    remedy="What else was profiled stands.",
                )
                for backend, error in self.failures
            ],
            phases=self._phases.listed(),
        )

    @property
    def exit_code(self) -> int:
        """0, or that of the first failure."""
        return self.failures[0][1].exit_code if self.failures else 0

    def _profiler(self, backend: BackendName) -> Profiler:
        job = self._job
        if backend == "torch":
            from pyperf_infer.profile.torch_profile import profile_torch as profile
        else:
            from pyperf_infer.profile.onnxruntime_profile import profile_onnxruntime as profile
        return lambda model, shapes: profile(model, shapes, job.options, job.folder, job.plan, seed=job.seed)
