# SPDX-License-Identifier: Apache-2.0
"""A whole run: every model at every batch size on every backend. What it has found stays at hand when it is stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer import __version__
from pyperf_infer.backends.registry import make_backend, names_for
from pyperf_infer.errors import InputError, MeasurementError, OutOfMemoryError, PyperfInferError, UsageError
from pyperf_infer.measure.case import (
    BrokenOffError,
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
from pyperf_infer.measure.gpu import GpuSide
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import batch_of, resolve_shapes
from pyperf_infer.results.schema import Comparison, Document, Result, Subject, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.advice import ResultFacts, advise
from pyperf_infer.system.environment import collect
from pyperf_infer.system.gpu_advice import advise_gpu
from pyperf_infer.system.memory import is_out_of_memory, memory_limit
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.backends.base import Backend
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import LoadedModel, ModelSource

    Columns = Mapping[str, NDArray[np.int64]]  # by quantity, the judged one first

DONE, BAD_VERDICT = 0, 1
_IMPORT_MUCH = ("built-in", "config", "timm")  # building on the meta device, as `info` does, imports what loading needs


class Run:
    """Plans, executes and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(
        self, plan: RunPlan, *, command: list[str], observer: Observer | None = None, phases: Phases | None = None
    ) -> None:
        self.plan = plan
        self.phases = phases or Phases()
        # A row and its samples are kept in one step: Ctrl-C cannot come between the two.
        self._rows: list[tuple[Result, Columns | None]] = []
        self._interleaving_failed = False
        self._superseded: set[int] = (
            set()
        )  # numbers of rows that ran out of memory half-way, at a batch that was halved then
        self._comparisons: list[Comparison] = []
        self._warnings: list[Notice] = []
        self._command = command
        self._created_utc = utc_now()
        with self.phases.timed("look at the machine"):
            environment = collect()
        self._around = Surroundings(
            plan=plan, environment=environment, phases=self.phases, observer=observer or Observer()
        )

    @property
    def results(self) -> list[Result]:
        return [result for result, _ in self._rows]

    @property
    def samples(self) -> list[Columns | None]:
        return [samples for _, samples in self._rows]

    def execute(self) -> None:
        """Runs everything. What fails for one model or backend becomes a row that says so, and the rest goes on.

        Raises:
            InputError: an unknown model. UsageError: an unknown backend. Both before anything is measured.
            BackendError: a provider that is not there, before anything is measured.
            KeyboardInterrupt: Ctrl-C.
        """
        sources = [resolve(name) for name in self.plan.models]
        index = self.plan.options.gpu_index
        if index is None:
            return self._execute(sources)
        with self.phases.timed("look at the GPU"):
            side = GpuSide(index, poll=self.plan.poll_gpu)
        self._around = replace(self._around, gpu=side)
        self._around.environment.gpus = [side.described]
        with side.watched():
            self._execute(sources)
        return None

    def _execute(self, sources: list[ModelSource]) -> None:
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
        """0; that of the first row that failed; 5 where interleaving did; 1 where outputs differ or are no numbers, or
        where a time is impossible.
        """
        failed = [
            row.error.exit_code
            for number, row in enumerate(self.results)
            if row.error is not None and number not in self._superseded
        ]
        if failed:
            return failed[0]
        if self._interleaving_failed:
            return MeasurementError.exit_code
        bad = any(
            (row.parity is not None and row.parity.status in ("different", "invalid"))
            or (row.integrity is not None and row.integrity.status == "impossible")
            for row in self.results
        )
        return BAD_VERDICT if bad else DONE

    def _backend_names(self, sources: list[ModelSource]) -> tuple[str, ...]:
        if not self.plan.backends:
            files_only = all(source.source == "onnx" for source in sources)
            return ("onnxruntime",) if files_only else names_for(self.plan.device, everything=False)
        return self.plan.backends

    def _run_model(self, source: ModelSource, backends: list[Backend]) -> None:
        plan, observer = self.plan, self._around.observer
        observer.stage(f"{source.name}: loading")
        try:
            if source.source in _IMPORT_MUCH:
                with self.phases.timed("import for loading"):
                    source.info()  # so that the first model's load time is not that of a thousand modules
            with self.phases.timed("load model"), memory_limit(), Stopwatch() as load:
                model = source.load(seed=plan.seed, weights=plan.weights, shapes=plan.shapes or None)
        except PyperfInferError as error:
            return self._fail_unloaded(source, backends, error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return self._fail_unloaded(source, backends, OutOfMemoryError(f"{source.name} does not fit in memory"))
        loaded = Loaded(seconds=load.ns / 1e9, module_bytes=_bytes_of(model))
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
        first_row = len(self._rows)
        while True:
            case = Case(model=model, batch_size=batch, requested_batch_size=requested, shapes=shapes)
            smaller = self._half(model, batch) if asked is not None else None
            try:
                self._run_case(case, backends, loaded, raise_memory=smaller is not None)
            except Exception as error:
                if smaller is None or not is_out_of_memory(error):
                    raise
            else:
                break
            self._around.observer.notice(f"batch {batch} of {model.name} does not fit in memory; halving it")
            batch, shapes = batch // 2, smaller
        if batch != requested:
            self._warn_halved(case, self.results[first_row:])

    def _half(self, model: LoadedModel, batch: int) -> dict[str, tuple[int, ...]] | None:
        """The shapes at half the batch; None where it must not or cannot be halved, such as one that --shape fixes."""
        if not self.plan.retry or batch < 2:
            return None
        try:
            return resolve_shapes(model.inputs, batch // 2, self.plan.shapes)
        except PyperfInferError:
            return None

    def _run_case(self, case: Case, backends: list[Backend], loaded: Loaded, *, raise_memory: bool) -> None:
        """A row for each backend; where memory runs out and `raise_memory` is set, that of what was measured before."""
        contestants: list[Contestant] = []
        failures: list[Result] = []
        label = f"{case.model.name}, batch {case.batch_size}"
        try:
            for backend in backends:
                self._around.observer.stage(f"{label}: preparing {backend.name}")
                try:
                    contestants.append(prepare(case, backend, loaded, self._around))
                except Exception as error:
                    if is_out_of_memory(error) and raise_memory:
                        raise
                    failures.append(self._failure(case, backend.name, error))
            ready = contestants
            try:
                compare_all_outputs(contestants, self._around)
            except Exception as error:
                if is_out_of_memory(error) and raise_memory:
                    raise
                failures += [self._failure(case, one.name, error) for one in contestants]
                ready = []
            for failure in failures:
                self._keep(failure)
            for one in ready:
                self._around.observer.stage(f"{label}: measuring {one.name}")
                self._time(case, one, raise_memory=raise_memory)
            self._interleave(case, [one for one in ready if one.samples is not None])
        finally:
            for one in contestants:
                self._close(one)

    def _close(self, one: Contestant) -> None:
        try:
            one.prepared.close()
        except Exception as error:  # after a lost device nothing can be freed; the rows matter more
            self._around.observer.failed(error)

    def _interleave(self, case: Case, timed: list[Contestant]) -> None:
        if len(timed) < 2 or self.plan.mode != "latency":
            return
        names = " and ".join(one.name for one in timed)
        self._around.observer.stage(f"{case.model.name}, batch {case.batch_size}: comparing {names}")
        try:
            self._comparisons += time_interleaved(case, timed, self._around)
        except Exception as error:
            self._around.observer.failed(error)
            self._interleaving_failed = True
            self._warnings.append(
                Notice(
                    code="interleaving_failed",
                    message=f"{case.model.name}, batch {case.batch_size}: timing {names} in turn failed: "
                    f"{type(error).__name__}: {_first_line(error)}",
                    remedy="The rows of each running alone stand; run it again for the speed-up.",
                )
            )

    def _time(self, case: Case, one: Contestant, *, raise_memory: bool) -> None:
        try:
            result = time_alone(case, one, self._around)
        except Interrupted as stopped:
            if stopped.result is not None and stopped.samples is not None:
                self._keep(stopped.result, stopped.samples.columns)
            raise
        except BrokenOffError as broken:
            broken.result.error = self._failure(case, one.name, broken.error).error
            self._keep(broken.result, broken.samples.columns)
            one.samples = None
            if is_out_of_memory(broken.error) and raise_memory:
                self._superseded.add(len(self._rows) - 1)
                raise broken.error from broken
            return
        except Exception as error:
            if is_out_of_memory(error) and raise_memory:
                raise
            self._keep(self._failure(case, one.name, error))
            one.samples = None
            return
        assert one.samples is not None  # noqa: S101  time_alone returned
        self._keep(result, one.samples.columns)
        result.warnings = advise(ResultFacts.of(result), self._around.environment, result.activity, self.plan.flags)
        if (side := self._around.gpu) is not None:
            result.warnings += advise_gpu(result.gpu_activity, side.described, self.plan.flags, gpus=side.count)
        result.warnings += [
            Notice(
                code="backend_log",
                message=f"{one.name} said while loading: {_first_line(line)}",
                remedy="Look it up in the backend's documentation; it may mean slower kernels or an ignored option.",
            )
            for line in dict.fromkeys(one.prepared.facts.log)
        ]
        if result.method.threads != self.plan.options.threads:
            result.warnings.append(
                Notice(
                    code="threads_changed",
                    message=f"{self.plan.options.threads} threads were asked for, and the model's own code set "
                    f"{result.method.threads}.",
                    remedy="Take torch.set_num_threads out of the model; --threads sets it for both backends.",
                )
            )

    def _failure(self, case: Case, backend: str, error: Exception) -> Result:
        self._around.observer.failed(error)
        known: PyperfInferError
        if is_out_of_memory(error):
            known = OutOfMemoryError(
                f"{case.model.name} at batch {case.batch_size} does not fit in memory on {backend}: "
                f"{_first_line(error)}. Use a smaller --batch-size or --shape."
            )
        elif isinstance(error, PyperfInferError):
            known = error
        else:
            what = f"{type(error).__name__}: {_first_line(error)}"
            known = MeasurementError(f"{backend} failed on {case.model.name}: {what}")
        return failed_result(subject_of(case, self.plan), backend, self.plan, known, known.exit_code)

    def _fail_unloaded(self, source: ModelSource, backends: list[Backend], error: PyperfInferError) -> None:
        for asked in self.plan.batch_sizes:
            subject = unloaded_subject(source.name, source.source, self.plan, max(1, asked or 1))
            for backend in backends:
                self._keep(failed_result(subject, backend.name, self.plan, error, error.exit_code))

    def _subject(self, model: LoadedModel, batch_size: int) -> Subject:
        return subject_of(
            Case(model=model, batch_size=batch_size, requested_batch_size=batch_size, shapes={}), self.plan
        )

    def _warn_halved(self, case: Case, rows: list[Result]) -> None:
        notice = Notice(
            code="batch_halved",
            message=(
                f"Batch {case.requested_batch_size} of {case.model.name} did not fit in memory; "
                f"measured with {case.batch_size}."
            ),
            remedy="Use a smaller --batch-size, or --no-retry to make this an error.",
        )
        for row in rows:
            row.warnings.append(notice)

    def _keep(self, result: Result, samples: Columns | None = None) -> None:
        self._rows.append((result, samples))


def _bytes_of(model: LoadedModel) -> int:
    if model.module is None:
        return 0
    return sum(tensor.nbytes for tensor in (*model.module.parameters(), *model.module.buffers()))


def _first_line(text: object) -> str:
    return str(text).strip().split("\n", 1)[0]
