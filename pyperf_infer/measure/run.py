# SPDX-License-Identifier: Apache-2.0
"""A whole run: every model at every batch size on every backend. What it has found stays at hand when it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer import __version__
from pyperf_infer.backends.registry import NAMES, make_backend
from pyperf_infer.errors import InputError, MeasurementError, OutOfMemoryError, PyperfInferError, UsageError
from pyperf_infer.measure.case import (
    Contestant,
    Interrupted,
    Loaded,
    Surroundings,
    compare_all_outputs,
    prepare,
    time_alone,
    time_interleaved,
)
from pyperf_infer.measure.entry import Case, failed_result, subject_of, unloaded_subject
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import batch_of, resolve_shapes
from pyperf_infer.results.schema import Comparison, Document, Result, Subject, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.advice import ResultFacts, advise
from pyperf_infer.system.environment import collect
from pyperf_infer.system.memory import is_out_of_memory, memory_limit, resident_bytes
from pyperf_infer.timers import Stopwatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.backends.base import Backend
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import LoadedModel, ModelSource

DONE, BAD_VERDICT = 0, 1


class Run:
    """Plans, executes and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(
        self, plan: RunPlan, *, command: list[str], observer: Observer | None = None, phases: Phases | None = None
    ) -> None:
        self.plan = plan
        self.phases = phases or Phases()
        self.results: list[Result] = []
        self.samples: list[NDArray[np.int64] | None] = []
        self._comparisons: list[Comparison] = []
        self._warnings: list[Notice] = []
        self._command = command
        self._created_utc = utc_now()
        with self.phases.timed("look at the machine"):
            environment = collect()
        self._around = Surroundings(
            plan=plan, environment=environment, phases=self.phases, observer=observer or Observer()
        )

    def execute(self) -> None:
        """Runs everything. What fails for one model or backend becomes a row that says so, and the rest goes on.

        Raises:
            InputError: an unknown model. UsageError: an unknown backend. Both before anything is measured.
            BackendError: a provider that is not there, before anything is measured.
            KeyboardInterrupt: Ctrl-C.
        """
        sources = [resolve(name) for name in self.plan.models]
        with self.phases.timed("import backends"):
            backends = [make_backend(name, self.plan.options) for name in self._backend_names(sources)]
        for source in sources:
            self._run_model(source, backends)

    def document(self, status: str) -> Document:
        """Everything found so far; `status` is "complete", "interrupted" or "failed"."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status=status,  # type: ignore[arg-type]
            environment=self._around.environment,
            results=self.results,
            comparisons=self._comparisons,
            warnings=self._warnings,
            phases=self.phases.listed(),
        )

    @property
    def exit_code(self) -> int:
        """0; the code of the first row that failed; 1 where outputs differ or are no numbers."""
        failed = [row.error.exit_code for row in self.results if row.error is not None]
        if failed:
            return failed[0]
        bad = any(row.parity is not None and row.parity.status in ("different", "invalid") for row in self.results)
        return BAD_VERDICT if bad else DONE

    def _backend_names(self, sources: list[ModelSource]) -> tuple[str, ...]:
        if not self.plan.backends:
            files_only = all(source.source == "onnx" for source in sources)
            return ("onnxruntime",) if files_only else NAMES
        return self.plan.backends

    def _run_model(self, source: ModelSource, backends: list[Backend]) -> None:
        plan, observer = self.plan, self._around.observer
        observer.stage(f"{source.name}: loading")
        resident = resident_bytes()
        try:
            with self.phases.timed("load model"), memory_limit(), Stopwatch() as load:
                model = source.load(seed=plan.seed, weights=plan.weights, shapes=plan.shapes or None)
        except PyperfInferError as error:
            return self._fail_unloaded(source, backends, error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return self._fail_unloaded(source, backends, OutOfMemoryError(f"{source.name} does not fit in memory"))
        loaded = Loaded(seconds=load.ns / 1e9, resident_bytes=max(0, resident_bytes() - resident))
        takers = [one for one in backends if one.accepts(model)]
        if plan.backends:
            self._refuse(model, [one for one in backends if one not in takers])
        elif not takers:
            raise UsageError(f"no backend runs {model.name}")
        for asked in plan.batch_sizes:
            self._run_batch(model, takers, asked, loaded)
        return None

    def _refuse(self, model: LoadedModel, backends: list[Backend]) -> None:
        for backend in backends:
            error = InputError(f"{model.name} is an ONNX file, which backend {backend.name} does not run")
            self._keep(failed_result(self._subject(model, 1), backend.name, self.plan, error, error.exit_code))

    def _run_batch(self, model: LoadedModel, backends: list[Backend], asked: int | None, loaded: Loaded) -> None:
        """Halves the batch until it fits, unless told not to."""
        try:
            shapes = resolve_shapes(model.inputs, asked, self.plan.shapes)
        except PyperfInferError as error:
            for backend in backends:
                subject = self._subject(model, max(1, asked or 1))
                self._keep(failed_result(subject, backend.name, self.plan, error, error.exit_code))
            return
        batch = requested = batch_of(model.inputs, shapes)
        can_halve = self.plan.retry and asked is not None
        while True:
            case = Case(model=model, batch_size=batch, requested_batch_size=requested, shapes=shapes)
            try:
                self._run_case(case, backends, loaded, raise_memory=can_halve and batch > 1)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._around.observer.notice(f"batch {batch} of {model.name} does not fit in memory; halving it")
                batch //= 2
                shapes = resolve_shapes(model.inputs, batch, self.plan.shapes)
                continue
            if batch != requested:
                self._warn_halved(case)
            return

    def _run_case(self, case: Case, backends: list[Backend], loaded: Loaded, *, raise_memory: bool) -> None:
        contestants: list[Contestant] = []
        label = f"{case.model.name}, batch {case.batch_size}"
        failures: list[Result] = []
        try:
            for backend in backends:
                self._around.observer.stage(f"{label}: preparing {backend.name}")
                try:
                    contestants.append(prepare(case, backend, loaded, self._around))
                except Exception as error:
                    if is_out_of_memory(error) and raise_memory:
                        raise
                    failures.append(self._failure(case, backend.name, error))
            if contestants:
                compare_all_outputs(contestants, self._around)
            for one in contestants:
                self._around.observer.stage(f"{label}: measuring {one.name}")
                self._time(case, one)
            for failure in failures:
                self._keep(failure)
            timed = [one for one in contestants if one.samples is not None]
            if len(timed) > 1 and self.plan.mode == "latency":
                self._around.observer.stage(f"{label}: comparing {' and '.join(one.name for one in timed)}")
                self._comparisons += time_interleaved(case, timed, self._around)
        finally:
            for one in contestants:
                one.prepared.close()

    def _time(self, case: Case, one: Contestant) -> None:
        try:
            result = time_alone(case, one, self._around)
        except Interrupted as stopped:
            if stopped.result is not None and stopped.samples is not None:
                self._keep(stopped.result, stopped.samples.ns)
            raise
        except Exception as error:
            self._keep(self._failure(case, one.name, error))
            one.samples = None
            return
        assert one.samples is not None  # noqa: S101  time_alone returned
        result.warnings = advise(ResultFacts.of(result), self._around.environment, result.activity, self.plan.flags)
        self._keep(result, one.samples.ns)

    def _failure(self, case: Case, backend: str, error: Exception) -> Result:
        self._around.observer.failed(error)
        if not isinstance(error, PyperfInferError):
            first_line = str(error).strip().split("\n", 1)[0]
            kind = OutOfMemoryError if is_out_of_memory(error) else MeasurementError
            wrapped = kind(f"{backend} failed on {case.model.name}: {type(error).__name__}: {first_line}")
            return failed_result(subject_of(case, self.plan), backend, self.plan, wrapped, wrapped.exit_code)
        return failed_result(subject_of(case, self.plan), backend, self.plan, error, error.exit_code)

    def _fail_unloaded(self, source: ModelSource, backends: list[Backend], error: PyperfInferError) -> None:
        for asked in self.plan.batch_sizes:
            subject = unloaded_subject(source.name, source.source, self.plan, max(1, asked or 1))
            for backend in backends:
                self._keep(failed_result(subject, backend.name, self.plan, error, error.exit_code))

    def _subject(self, model: LoadedModel, batch_size: int) -> Subject:
        return subject_of(
            Case(model=model, batch_size=batch_size, requested_batch_size=batch_size, shapes={}), self.plan
        )

    def _warn_halved(self, case: Case) -> None:
        notice = Notice(
            code="batch_halved",
            message=(
                f"Batch {case.requested_batch_size} of {case.model.name} did not fit in memory; "
                f"measured with {case.batch_size}."
            ),
            remedy="Use a smaller --batch-size, or --no-retry to make this an error.",
        )
        for row in self.results:
            if row.subject.model == case.model.name and row.subject.batch_size == case.batch_size:
                row.warnings.append(notice)

    def _keep(self, result: Result, samples: NDArray[np.int64] | None = None) -> None:
        self.results.append(result)
        self.samples.append(samples)
