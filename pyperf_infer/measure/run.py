# SPDX-License-Identifier: Apache-2.0
"""A whole run: every model at every batch size on every backend. What it has found stays at hand when it is stopped."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from pyperf_infer.backends.registry import make_backend, names_for
from pyperf_infer.errors import InputError, MeasurementError, PyperfInferError, UsageError
from pyperf_infer.measure.alone import BrokenOffError, Interrupted, time_alone
from pyperf_infer.measure.busy_pass import OTHER_MODELS, Measured, measure_busy, wants_pass
from pyperf_infer.measure.case import (
    REFERENCE,
    Contestant,
    Loaded,
    compare_all_outputs,
    prepare,
    reference_of,
)
from pyperf_infer.measure.entry import Case, failed_case, failed_result, subject_of, unloaded_subject
from pyperf_infer.measure.integrity import integrity_of
from pyperf_infer.measure.interleaved import Entrant, time_interleaved
from pyperf_infer.measure.keeping import MeasuresRows
from pyperf_infer.measure.loading import load_model
from pyperf_infer.measure.memory_ran_out import CrowdedError, raise_if_out_of_memory
from pyperf_infer.measure.notices import batch_halved, not_together, notices_of
from pyperf_infer.measure.roof import set_roofs
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import batch_of, resolve_shapes
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.backends.base import Backend
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import LoadedModel, ModelSource
    from pyperf_infer.results.schema import Result, Subject

    Columns = Mapping[str, NDArray[np.int64]]  # by quantity, the judged one first

DONE, BAD_VERDICT = 0, 1


class Run(MeasuresRows):
    """Plans, executes and keeps what it found: `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(
        self, plan: RunPlan, *, command: list[str], observer: Observer | None = None, phases: Phases | None = None
    ) -> None:
        super().__init__(plan, command=command, observer=observer, phases=phases)
        # Numbers of rows that ran out of memory half-way, at a batch that was halved then.
        self._superseded: set[int] = set()
        self._unprofiled: list[Measured] = []  # rows of the model at hand, for the GPU-busy passes

    def execute(self) -> None:
        """Runs everything. What fails for one model or backend becomes a row that says so, and the rest goes on.

        Raises:
            InputError: an unknown model. UsageError: an unknown backend. Both before anything is measured.
            BackendError: a provider that is not there, before anything is measured.
            KeyboardInterrupt: Ctrl-C.
        """
        sources = [resolve(name) for name in self.plan.models]
        with self._gpu_watched():
            self._execute(sources)

    def _execute(self, sources: list[ModelSource]) -> None:
        with self.phases.timed("import backends"):
            backends = [make_backend(name, self.plan.options) for name in self._backend_names(sources)]
        for source in sources:
            for row in self._unprofiled:
                row.result.summary.gpu_busy_method = OTHER_MODELS
            self._unprofiled = []
            self._run_model(source, backends)
        self._measure_busy()

    @property
    def exit_code(self) -> int:
        """See `exit_code_of`; a row at a batch that was halved afterwards does not count."""
        counted = [row for number, row in enumerate(self.results) if number not in self._superseded]
        return exit_code_of(counted, interleaving_failed=self._interleaving_failed)

    def _backend_names(self, sources: list[ModelSource]) -> tuple[str, ...]:
        if not self.plan.backends:
            files_only = all(source.source == "onnx" for source in sources)
            return ("onnxruntime",) if files_only else names_for(self.plan.device, everything=False)
        return self.plan.backends

    def _run_model(self, source: ModelSource, backends: list[Backend]) -> None:
        plan = self.plan
        try:
            model, seconds = load_model(
                source, seed=plan.seed, weights=plan.weights, shapes=plan.shapes,
                phases=self.phases, observer=self._around.observer,
            )  # fmt: skip
        except PyperfInferError as error:
            return self._fail_unloaded(source, backends, error)
        loaded = Loaded(seconds=seconds, module_bytes=bytes_of(model))
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
        with self.phases.timed("set against the roof"):
            set_roofs(self.results[first_row:], model, shapes, self.plan)
        for row in self.results[first_row:]:
            if row.subject.batch_size != requested:
                row.warnings.append(batch_halved(row.subject))

    def _half(self, model: LoadedModel, batch: int) -> dict[str, tuple[int, ...]] | None:
        """The shapes at half the batch; None where it must not or cannot be halved, such as one that --shape fixes."""
        if not self.plan.retry or batch < 2:
            return None
        try:
            return resolve_shapes(model.inputs, batch // 2, self.plan.shapes)
        except PyperfInferError:
            return None

    def _run_case(self, case: Case, backends: list[Backend], loaded: Loaded, *, raise_memory: bool) -> None:
        """A row for each backend; where memory runs out and `raise_memory` is set, that of what was measured before.

        On a GPU that holds each backend but not all of them they are run one at a time, without a speed-up.
        """
        first_row, resident = len(self._rows), list[Contestant]()
        crowded = False
        try:
            self._run_together(case, backends, loaded, resident, raise_memory=raise_memory)
        except CrowdedError:
            crowded = True  # to go on outside of the handler: the traceback holds what is to be freed
        finally:
            for one in resident:
                self._close(one)
        if not crowded:
            return
        gc.collect()
        done = {row.method.backend for row, _ in self._rows[first_row:]}
        left = [one for one in backends if one.name not in done]
        try:
            self._run_in_turn(case, left, loaded, reference_of(resident), raise_memory=raise_memory)
        finally:
            for row, samples in self._rows[first_row:]:
                if samples is not None:
                    row.warnings.append(not_together(case))

    def _run_together(
        self, case: Case, backends: list[Backend], loaded: Loaded, resident: list[Contestant], *, raise_memory: bool
    ) -> None:
        """With all backends loaded at the same time, of which those in `resident` are to be closed.

        Raises:
            CrowdedError: memory ran out on a GPU with several of them. What runs out elsewhere, with `raise_memory`.
        """
        failures: list[Result] = []
        on_gpu = self._around.gpu is not None
        label = f"{case.model.name}, batch {case.batch_size}"
        for backend in backends:
            self._around.observer.stage(f"{label}: preparing {backend.name}")
            try:
                resident.append(prepare(case, backend, loaded, self._around))
            except Exception as error:
                raise_if_out_of_memory(error, crowded=on_gpu and len(resident) > 0, alone=raise_memory)
                failures.append(self._failure(case, backend.name, error))
        crowded, ready = on_gpu and len(resident) > 1, list(resident)
        try:
            compare_all_outputs(resident, self._around)
        except Exception as error:
            raise_if_out_of_memory(error, crowded=crowded, alone=raise_memory)
            failures += [self._failure(case, one.name, error) for one in resident]
            ready = []
        for failure in failures:
            self._keep(failure)
        for one in ready:
            self._time(case, one, raise_memory=raise_memory, crowded=crowded)
        self._interleave(case, [one for one in ready if one.samples is not None])

    def _run_in_turn(
        self, case: Case, backends: list[Backend], loaded: Loaded, reference: Contestant | None, *, raise_memory: bool
    ) -> None:
        """Each backend alone. `reference` is closed: its outputs stand in for PyTorch's until that has run."""
        label = f"{case.model.name}, batch {case.batch_size}"
        for backend in sorted(backends, key=lambda one: one.name != REFERENCE):
            self._around.observer.stage(f"{label}: preparing {backend.name} alone")
            one = None
            try:
                try:
                    one = prepare(case, backend, loaded, self._around)
                    if reference is None or one.name in (REFERENCE, reference.name):
                        reference = one
                    compare_all_outputs([one], self._around, reference)
                except Exception as error:
                    raise_if_out_of_memory(error, crowded=False, alone=raise_memory)
                    self._keep(self._failure(case, backend.name, error))
                    continue
                self._time(case, one, raise_memory=raise_memory)
            finally:
                if one is not None:
                    self._close(one)

    def _interleave(self, case: Case, timed: list[Contestant]) -> None:
        if len(timed) < 2 or self.plan.mode != "latency":
            return
        names = " and ".join(one.name for one in timed)
        self._around.observer.stage(f"{case.model.name}, batch {case.batch_size}: comparing {names}")
        try:
            entrants = [Entrant(label=one.name, case=case, contestant=one, plan=self.plan) for one in timed]
            self._comparisons += time_interleaved(entrants, self._around)
        except Exception as error:
            self._comparison_failed(error, f"{case.model.name}, batch {case.batch_size}", names)

    def _time(self, case: Case, one: Contestant, *, raise_memory: bool, crowded: bool = False) -> None:
        self._around.observer.stage(f"{case.model.name}, batch {case.batch_size}: measuring {one.name}")
        try:
            result = time_alone(case, one, self._around)
        except Interrupted as stopped:
            if stopped.result is not None and stopped.samples is not None:
                wants_pass(stopped.result, self.plan)
                self._keep(stopped.result, stopped.samples.columns)
            raise
        except BrokenOffError as broken:
            one.samples = None
            raise_if_out_of_memory(broken.error, crowded=crowded, alone=False)  # it is measured again, by itself
            broken.result.error = self._failure(case, one.name, broken.error).error
            wants_pass(broken.result, self.plan)
            self._keep(broken.result, broken.samples.columns)
            if is_out_of_memory(broken.error) and raise_memory:
                self._superseded.add(len(self._rows) - 1)
                raise broken.error from broken
            return
        except Exception as error:
            raise_if_out_of_memory(error, crowded=crowded, alone=raise_memory)
            self._keep(self._failure(case, one.name, error))
            one.samples = None
            return
        assert one.samples is not None  # noqa: S101  time_alone returned
        one.row = len(self._rows)
        self._keep(result, one.samples.columns)
        result.warnings = notices_of(result, one, self._around)
        if (side := self._around.gpu) is None:
            return
        if wants_pass(result, self.plan):
            median_ns = one.samples.median_ns
            self._unprofiled.append(Measured(case=case, backend=one.backend, result=result, median_ns=median_ns))
        with self.phases.timed("check integrity"):
            result.integrity = integrity_of(case, self.plan, side, one.name, one.samples, one.outputs_a)

    def _measure_busy(self) -> None:
        """After everything that is timed: see busy_pass."""
        side = self._around.gpu
        if side is None:
            return
        for row in self._unprofiled:
            label = f"{row.case.model.name}, batch {row.case.batch_size}"
            self._around.observer.stage(f"{label}: GPU-busy time of {row.backend.name}")
            measure_busy(row, self._around, side)

    def _failure(self, case: Case, backend: str, error: Exception) -> Result:
        self._around.observer.failed(error)
        return failed_case(case, backend, self.plan, error)

    def _fail_unloaded(self, source: ModelSource, backends: list[Backend], error: PyperfInferError) -> None:
        for asked in self.plan.batch_sizes:
            subject = unloaded_subject(source.name, source.source, self.plan, max(1, asked or 1))
            for backend in backends:
                self._keep(failed_result(subject, backend.name, self.plan, error, error.exit_code))

    def _subject(self, model: LoadedModel, batch_size: int) -> Subject:
        return subject_of(
            Case(model=model, batch_size=batch_size, requested_batch_size=batch_size, shapes={}), self.plan
        )

    def _keep(self, result: Result, samples: Columns | None = None) -> None:
        self._rows.append((result, samples))


def exit_code_of(rows: Sequence[Result], *, interleaving_failed: bool) -> int:
    """0; that of the first row that failed; 5 where interleaving did; 1 where outputs differ or are no numbers, or
    where a time is impossible.
    """
    failed = [row.error.exit_code for row in rows if row.error is not None]
    if failed:
        return failed[0]
    if interleaving_failed:
        return MeasurementError.exit_code
    bad = any(
        (row.parity is not None and row.parity.status in ("different", "invalid"))
        or (row.integrity is not None and row.integrity.status == "impossible")
        for row in rows
    )
    return BAD_VERDICT if bad else DONE


def bytes_of(model: LoadedModel) -> int:
    """What the module's parameters and buffers take; 0 where the model is no module."""
    if model.module is None:
        return 0
    return sum(tensor.nbytes for tensor in (*model.module.parameters(), *model.module.buffers()))
