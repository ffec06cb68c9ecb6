# SPDX-License-Identifier: Apache-2.0
"""One model at one batch size: every path made, checked against the first, and timed alone and in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from pyperf_infer.convert.parity import compare_outputs
from pyperf_infer.errors import MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.models.inputs import batch_of, make_inputs
from pyperf_infer.overhead.blocks import ONE_CALL
from pyperf_infer.overhead.paths import CallPath, Kind, Request, Rung
from pyperf_infer.overhead.rows import overhead_of
from pyperf_infer.overhead.schedule import DEFAULT_BUDGET_S, Schedule, run_in_turn, time_for
from pyperf_infer.system.memory import is_out_of_memory, memory_limit
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.overhead.blocks import Alone
    from pyperf_infer.overhead.paths import Outs, Shapes
    from pyperf_infer.overhead.plan import OverheadPlan
    from pyperf_infer.results.schema import Overhead, Parity
    from pyperf_infer.timing.comparison import Rounds

DIFFERENT = 1  # the exit code where outputs differ, as in `run`
_SHARE_ALONE = 0.3  # of the budget: all paths alone; the rest in turn


@dataclass
class Entry:
    """A row of the table, from being made to being timed."""

    kind: Kind
    path: CallPath | None = None  # None where it could not be made, and once it is closed
    parity: Parity | None = None
    alone: Alone | None = None
    error: str | None = None  # why there are no numbers
    exit_code: int = 0

    def fail(self, error: Exception, model: str) -> None:
        """Says why there are none."""
        known = _known(error, self.kind.name, model)
        self.error, self.exit_code = " ".join(str(known).split()), known.exit_code


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all batch sizes share."""

    plan: OverheadPlan
    phases: Phases
    observer: Observer


def measure_case(
    model: LoadedModel, shapes: Shapes, rungs: Sequence[Rung], around: Surroundings
) -> tuple[Overhead, list[Entry]]:
    """The table of one batch size. A path that fails, or whose outputs differ, is a row that says so.

    Raises:
        OutOfMemoryError: the inputs do not fit. KeyboardInterrupt: Ctrl-C.
    """
    plan, label = around.plan, f"{model.name}, batch {batch_of(model.inputs, shapes)}"
    entries = [Entry(rung.kind) for rung in rungs]
    with ExitStack() as open_paths:
        request = _request(model, shapes, plan)
        outputs = _make(entries, rungs, request, around, label, open_paths)
        with around.phases.timed("compare outputs"):
            _compare(entries, outputs, plan)
        outputs.clear()
        rounds, budget_s = _time(entries, model.name, around, label)
        return overhead_of(model, shapes, entries, rounds, plan, budget_s=budget_s), entries


def _request(model: LoadedModel, shapes: Shapes, plan: OverheadPlan) -> Request:
    try:
        with memory_limit():
            first, second = (make_inputs(model.inputs, shapes, seed) for seed in (plan.seed, plan.seed + 1))
    except MemoryError as error:
        raise OutOfMemoryError(f"two sets of inputs of {model.name} do not fit in memory; use a smaller batch") from (
            error
        )
    return Request(model=model, shapes=shapes, first=first, second=second, seed=plan.seed)


def _make(
    entries: list[Entry], rungs: Sequence[Rung], request: Request, around: Surroundings, label: str,
    open_paths: ExitStack,
) -> dict[str, tuple[Outs, Outs]]:  # fmt: skip
    """Makes the paths, which close with `open_paths`, and returns the outputs of those that work."""
    outputs = {}
    on_gpu = around.plan.options.gpu_index is not None
    for entry, rung in zip(entries, rungs, strict=True):
        kind = entry.kind
        around.observer.stage(f"{label}: preparing {kind.name}")
        # A GPU's driver maps its own and the device's memory into the process, which the limit would count.
        limit = nullcontext() if on_gpu else memory_limit()
        try:
            with around.phases.timed(f"prepare {kind.name}"), limit:
                entry.path = rung.make(request)
                open_paths.callback(_close, entry, around)
                outputs[kind.name] = entry.path.outputs()
        except Exception as error:
            around.observer.failed(error)
            entry.fail(error, request.model.name)
    return outputs


def _close(entry: Entry, around: Surroundings) -> None:
    path, entry.path = entry.path, None
    try:
        if path is not None:
            path.close()
    except Exception as error:  # after a lost device nothing can be freed; the rows matter more
        around.observer.failed(error)


def _compare(entries: list[Entry], outputs: Mapping[str, tuple[Outs, Outs]], plan: OverheadPlan) -> None:
    """Each path with the first that works; where two differ, the later one has failed."""
    reference = next((entry for entry in entries if entry.kind.name in outputs), None)
    if reference is None:
        return
    first, second = (list(one.values()) for one in outputs[reference.kind.name])
    for entry in entries:
        if entry.kind.name not in outputs:
            continue
        other_first, other_second = (list(one.values()) for one in outputs[entry.kind.name])
        entry.parity = compare_outputs(
            first,
            second,
            other_first,
            other_second,
            plan.rtol,
            plan.atol,
            names=list(outputs[reference.kind.name][0]),
            reference=reference.kind.name,
            other=entry.kind.name,
        )
        if entry.parity.status == "different":
            why = entry.parity.reason or "they differ"
            entry.error = f"its outputs differ from those of {reference.kind.name}: {why}"
        elif entry.parity.status == "invalid":
            entry.error = f"its outputs cannot be compared: {entry.parity.reason}"
        if entry.error is not None:
            entry.exit_code = DIFFERENT


def _time(entries: list[Entry], model: str, around: Surroundings, label: str) -> tuple[Rounds | None, float]:
    """Each that works alone, then all in turn; None where fewer than two are left. And the seconds granted."""
    plan, observer = around.plan, around.observer
    granted_s = DEFAULT_BUDGET_S if plan.max_duration_s is None else plan.max_duration_s
    begin_s = perf_counter()
    with ExitStack() as held:
        _hold(entries, model, held)
        held.enter_context(garbage_collection(enabled=False))
        working = _working(entries)
        for entry in working:
            observer.stage(f"{label}: measuring {entry.kind.name}")
            assert entry.path is not None  # noqa: S101  it works
            budget_s = _SHARE_ALONE * granted_s / len(working)
            try:
                with around.phases.timed("measure alone"):
                    entry.alone = entry.path.lane.alone(budget_s, plan.ci, observer.progress)
            except Exception as error:
                observer.failed(error)
                entry.fail(error, model)
        spent_s = perf_counter() - begin_s
        left_s = max(0.0, granted_s - spent_s)
        if plan.max_duration_s is None:
            left_s = max(left_s, time_for([entry.alone.median_ns for entry in entries if entry.alone is not None]))
        with around.phases.timed("measure in turn"):
            return _in_turn(entries, model, left_s, around, label), spent_s + left_s


def _hold(entries: list[Entry], model: str, held: ExitStack) -> None:
    for entry in _working(entries):
        assert entry.path is not None  # noqa: S101  it works
        try:
            held.enter_context(entry.path.measuring())
        except Exception as error:
            entry.fail(error, model)


def _in_turn(entries: list[Entry], model: str, left_s: float, around: Surroundings, label: str) -> Rounds | None:
    """In blocks, the native loop of the first runtime first. Where a path fails in it, the others go on without."""
    plan = around.plan
    while len(working := _working(entries)) > 1:
        working.sort(key=lambda entry: not entry.kind.is_baseline)
        around.observer.stage(f"{label}: {len(working)} paths in turn")
        lanes = [entry.path.lane for entry in working if entry.path is not None]
        calls_ns = [entry.alone.median_ns for entry in working if entry.alone is not None]
        schedule = Schedule.within(left_s, calls_ns, ci=plan.ci, confidence=plan.confidence, seed=plan.seed)
        try:
            rounds = run_in_turn(lanes, schedule, around.observer.progress)
        except Exception as error:
            around.observer.failed(error)
            _find_culprits(working, error, model)
            continue
        by_name = dict(zip((entry.kind.name for entry in working), rounds.medians_ns, strict=True))
        return rounds._replace(medians_ns=tuple(by_name.get(entry.kind.name, ()) for entry in entries))
    return None


def _find_culprits(working: Sequence[Entry], error: Exception, model: str) -> None:
    """Fails the paths that do not work any more; all, where each still does."""
    for entry in working:
        assert entry.path is not None  # noqa: S101  it works
        try:
            entry.path.lane.block(ONE_CALL)
        except Exception as again:
            entry.fail(again, model)
    if len(_working(working)) == len(working):
        for entry in working:
            entry.fail(MeasurementError(f"timing the paths in turn failed: {error}"), model)


def _working(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.path is not None and entry.error is None]


def _known(error: Exception, path: str, model: str) -> PyperfInferError:
    said = str(error).strip().split("\n", 1)[0]
    if is_out_of_memory(error):
        return OutOfMemoryError(f"{model} does not fit in memory on {path}: {said}. Use a smaller --batch-size.")
    if isinstance(error, PyperfInferError):
        return error
    return MeasurementError(f"{path} failed on {model}: {type(error).__name__}: {said}")
