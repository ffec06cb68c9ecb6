# SPDX-License-Identifier: Apache-2.0
"""`run A --vs B`: contests of models, backends and options, each timed alone and in turn. See contests.py for who."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer.backends.registry import make_backend
from pyperf_infer.errors import BackendError, InputError, PyperfInferError, UsageError
from pyperf_infer.measure.alone import BrokenOffError, Interrupted, time_alone
from pyperf_infer.measure.busy_pass import wants_pass
from pyperf_infer.measure.case import Loaded, prepare
from pyperf_infer.measure.contests import Asked, Contest, Side, contests_of
from pyperf_infer.measure.entry import Case, failed_case, failed_result, unloaded_subject
from pyperf_infer.measure.integrity import integrity_of
from pyperf_infer.measure.interleaved import Entrant, time_interleaved
from pyperf_infer.measure.keeping import MeasuresRows
from pyperf_infer.measure.loading import load_model
from pyperf_infer.measure.notices import notices_of
from pyperf_infer.measure.roof import set_roofs
from pyperf_infer.measure.run import bytes_of, exit_code_of
from pyperf_infer.measure.sides_parity import compare_side
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.inputs import batch_of, resolve_shapes
from pyperf_infer.results.schema import Result
from pyperf_infer.results.schema import Side as SideOfResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.backends.base import Backend
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.models.spec import LoadedModel, ModelSource

    Columns = Mapping[str, NDArray[np.int64]]

_NOT_BUSY = "not measured: with --vs other sides are timed after it in this process; run it by itself"


class Versus(MeasuresRows):
    """Plans, executes and keeps what it found: `document` works at any moment, also after an error or Ctrl-C.

    Unlike a plain run it never halves a batch: a comparison of other batches than were asked for would mislead.
    """

    def __init__(
        self,
        sides: Sequence[Asked],
        *,
        command: list[str],
        observer: Observer | None = None,
        phases: Phases | None = None,
    ) -> None:
        super().__init__(sides[0].plan, command=command, observer=observer, phases=phases)
        self._sides = tuple(sides)
        self._sources: dict[str, ModelSource] = {}
        self._backends: dict[tuple[str, str], Backend] = {}
        self._loaded: dict[object, tuple[LoadedModel, Loaded] | PyperfInferError] = {}

    @property
    def exit_code(self) -> int:
        """As that of `Run`."""
        return exit_code_of(self.results, interleaving_failed=self._interleaving_failed)

    def execute(self) -> None:
        """Runs every contest. A side that fails becomes a row that says so; the others are timed, without it.

        Raises:
            InputError: an unknown model. UsageError: sides that cannot be in one process, or an unknown backend.
            BackendError: a provider that is not there. All before anything is measured.
            KeyboardInterrupt: Ctrl-C.
        """
        names = dict.fromkeys(name for one in self._sides for name in one.plan.models)
        self._sources = {name: resolve(name) for name in names}
        contests = contests_of(self._sides, lambda name: self._sources[name].source == "onnx")
        with self._gpu_watched():
            self._execute(contests)

    def _execute(self, contests: Sequence[Contest]) -> None:
        with self.phases.timed("import backends"):
            for side in (one for contest in contests for one in contest):
                if (side.label, side.backend) not in self._backends:
                    self._backends[side.label, side.backend] = _backend_of(side)
        for number, contest in enumerate(contests):
            if number and contests[number - 1][0].model != contest[0].model:
                self._loaded.clear()
            self._run_contest(number, contest)

    def _run_contest(self, number: int, contest: Contest) -> None:
        resident: list[tuple[Side, Entrant]] = []
        try:
            for side in contest:
                self._prepare(number, side, resident)
            first = next((one for side, one in resident if side is contest[0]), None)
            ready = [(side, one) for side, one in resident if self._outputs_compared(number, side, one, first)]
            for side, one in ready:
                self._time(number, side, one)
            timed = [one for _, one in ready if one.contestant.samples is not None]
            if len(timed) > 1 and timed[0] is first:
                self._interleave(timed)
            with self.phases.timed("set against the roof"):
                for side, one in ready:
                    if one.contestant.row is not None:
                        row = self.results[one.contestant.row]
                        set_roofs([row], one.case.model, one.case.shapes, side.plan)
        finally:
            for _, one in resident:
                self._close(one.contestant)

    def _prepare(self, number: int, side: Side, resident: list[tuple[Side, Entrant]]) -> None:
        """Loads, converts and runs it once: then it is among the `resident`, or failed and has a row that says so."""
        plan, backend = side.plan, self._backends[side.label, side.backend]
        loaded = self._load(side)
        if isinstance(loaded, PyperfInferError):
            self._fail_early(number, side, loaded)
            return
        model, how = loaded
        try:
            if not backend.accepts(model):
                raise InputError(f"{model.name} is an ONNX file, which backend {backend.name} does not run")
            shapes = resolve_shapes(model.inputs, side.asked_batch, plan.shapes)
        except PyperfInferError as error:
            self._fail_early(number, side, error)
            return
        batch = batch_of(model.inputs, shapes)
        case = Case(model=model, batch_size=batch, requested_batch_size=batch, shapes=shapes)
        self._around.observer.stage(f"{_title(side.label, case)}: preparing {side.backend}")
        try:
            contestant = prepare(case, backend, how, replace(self._around, plan=plan))
        except Exception as error:
            self._fail(number, side, case, error)
            return
        resident.append((side, Entrant(label=side.label, case=case, contestant=contestant, plan=plan)))

    def _load(self, side: Side) -> tuple[LoadedModel, Loaded] | PyperfInferError:
        """Once for all sides that mean the very same module, which share it."""
        plan = side.plan
        key = (side.model, plan.seed, plan.weights, tuple(sorted(plan.shapes.items())))
        if key not in self._loaded:
            try:
                model, seconds = load_model(
                    self._sources[side.model], seed=plan.seed, weights=plan.weights, shapes=plan.shapes,
                    phases=self.phases, observer=self._around.observer,
                )  # fmt: skip
                self._loaded[key] = model, Loaded(seconds=seconds, module_bytes=bytes_of(model))
            except PyperfInferError as error:
                self._loaded[key] = error
        return self._loaded[key]

    def _outputs_compared(self, number: int, side: Side, one: Entrant, first: Entrant | None) -> bool:
        try:
            compare_side(one, None if one is first else first, self._around)
        except Exception as error:
            self._fail(number, side, one.case, error)
            return False
        return True

    def _time(self, number: int, side: Side, one: Entrant) -> None:
        contestant, around = one.contestant, replace(self._around, plan=one.plan)
        around.observer.stage(f"{_title(one.label, one.case)}: measuring {contestant.name}")
        try:
            result = time_alone(one.case, contestant, around)
        except Interrupted as stopped:
            if stopped.result is not None and stopped.samples is not None:
                self._keep(number, side, stopped.result, stopped.samples.columns)
            raise
        except BrokenOffError as broken:
            contestant.samples = None
            around.observer.failed(broken.error)
            broken.result.error = failed_case(one.case, side.backend, one.plan, broken.error).error
            self._keep(number, side, broken.result, broken.samples.columns)
            return
        except Exception as error:
            contestant.samples = None
            self._fail(number, side, one.case, error)
            return
        assert contestant.samples is not None  # noqa: S101  time_alone returned
        contestant.row = len(self._rows)
        self._keep(number, side, result, contestant.samples.columns)
        result.warnings = notices_of(result, contestant, around)
        if (gpu := around.gpu) is not None:
            with self.phases.timed("check integrity"):
                result.integrity = integrity_of(
                    one.case, one.plan, gpu, contestant.name, contestant.samples, contestant.outputs_a
                )

    def _interleave(self, timed: Sequence[Entrant]) -> None:
        names = " and ".join(one.label for one in timed)
        title = _title(names, timed[0].case)
        self._around.observer.stage(f"{title}: comparing")
        try:
            self._comparisons += time_interleaved(timed, self._around)
        except Exception as error:
            self._comparison_failed(error, title, names)

    def _fail_early(self, number: int, side: Side, error: PyperfInferError) -> None:
        """A row for what was never prepared."""
        self._around.observer.failed(error)
        source = self._sources[side.model].source
        subject = unloaded_subject(side.model, source, side.plan, max(1, side.asked_batch or 1))
        self._keep(number, side, failed_result(subject, side.backend, side.plan, error, error.exit_code))

    def _fail(self, number: int, side: Side, case: Case, error: Exception) -> None:
        self._around.observer.failed(error)
        self._keep(number, side, failed_case(case, side.backend, side.plan, error))

    def _keep(self, number: int, side: Side, result: Result, samples: Columns | None = None) -> None:
        result.side = SideOfResult(label=side.label, contest=number, given=side.text)
        if wants_pass(result, side.plan):
            result.summary.gpu_busy_method = _NOT_BUSY
        self._rows.append((result, samples))


def _backend_of(side: Side) -> Backend:
    try:
        return make_backend(side.backend, side.plan.options)
    except (UsageError, BackendError) as error:
        raise type(error)(f"{side.label}: {error}") from error


def _title(label: str, case: Case) -> str:
    return f"{label}: {case.model.name}, batch {case.batch_size}"
