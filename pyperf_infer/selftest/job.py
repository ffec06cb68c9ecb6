# SPDX-License-Identifier: Apache-2.0
"""A whole self-test. What it has found is on disk after every step, and at hand when it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

from pyperf_infer import __version__, timers
from pyperf_infer.errors import InputError
from pyperf_infer.measure.phases import Phases
from pyperf_infer.results import schema
from pyperf_infer.selftest import judge, summary, work
from pyperf_infer.selftest.floor import measure_in_a_process, small_model
from pyperf_infer.selftest.neighbour import busy_neighbour, neighbour_cpu
from pyperf_infer.selftest.plan import Step, steps
from pyperf_infer.selftest.precision import time_to_precision
from pyperf_infer.selftest.records import CoverageLine, PercentileCoverage, Record, key_of
from pyperf_infer.selftest.state import State, state_path
from pyperf_infer.selftest.synthetic import DISTRIBUTIONS, Coverage, coverage_of
from pyperf_infer.selftest.trials import Compare, run_trial
from pyperf_infer.system.environment import collect
from pyperf_infer.system.floor_file import find_floor, machine_key, save_floor
from pyperf_infer.units import format_duration_s, format_percent

if TYPE_CHECKING:
    from pathlib import Path

    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.selftest.plan import SelfTestPlan
    from pyperf_infer.statistics.floor import Floor

_TITLES = {
    "A/A": "the same work against itself",
    "power": "work against slower work",
    "coverage": "intervals of made samples",
    "precision": "time to 1%",
    "floor": "fresh processes",
}
_BETWEEN_LOOKS_NS = 100_000_000


class SelfTestJob:
    """Executes a plan and keeps what it found: `document` works at any moment, also after an error or Ctrl-C.

    Args:
        fresh: forget what an earlier call found.
        compare: `timers.compare`, or what stands in for it.
    """

    def __init__(
        self,
        plan: SelfTestPlan,
        *,
        command: list[str],
        observer: Observer,
        phases: Phases | None = None,
        fresh: bool = False,
        compare: Compare = timers.compare,
    ) -> None:
        self._plan, self._command, self._observer = plan, command, observer
        self._phases = phases or Phases()
        self._fresh, self._compare = fresh, compare
        with self._phases.timed("look at the machine"):
            self._environment = collect()
            self._machine = machine_key(self._environment)
            self._tick_s, self._cpu = work.timer_tick_s(), neighbour_cpu()
        self._steps = steps(plan, tick_s=self._tick_s, neighbour=self._cpu is not None)
        self._records: list[Record] = []
        self._state: State | None = None
        self._taken_over = 0
        self._first_utc = schema.utc_now()
        self._timer: schema.SelfTestTimer | None = None
        self._step_ns = 0.0
        self._warnings: list[schema.Warning] = []
        self._floor_kept = False
        self._last_look_ns = 0

    def execute(self) -> None:
        """Does every step that an earlier call has not done.

        Raises:
            UsageError: the same self-test is running already.
            MeasurementError: a process that this needs cannot be started or fails. KeyboardInterrupt: Ctrl-C.
        """
        with ExitStack() as held:
            self._open(held)
            with self._phases.timed("timer"):
                self._observer.stage("self-test: timer")
                self._timer = summary.timer_facts()
                self._step_ns = work.ns_per_step()
            done = {key_of(record) for record in self._records}
            left = [step for step in self._steps if step.key not in done]
            self._taken_over = len(self._steps) - len(left)
            if not left:
                self._observer.notice(
                    f"This self-test was begun at {self._first_utc} and is finished; --fresh measures anew."
                )
            self._do_all(left)
        if not any(step.kind == "floor" for step in left):
            self._look_at_the_kept_floor()

    def document(self, status: Literal["complete", "interrupted", "failed"]) -> schema.Document:
        """Everything found so far."""
        return schema.Document(
            tool_version=__version__,
            command=self._command,
            created_utc=schema.utc_now(),
            status=status,
            environment=self._environment,
            results=[],
            selftest=self._found(),
            warnings=list(self._warnings),
            phases=self._phases.listed(),
        )

    @property
    def exit_code(self) -> int:
        """1 where a figure lies beyond its bound, by more than chance; else 0."""
        return int(any(one.status == "fail" for one in self._found().judgements))

    @property
    def has_any(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._records)

    @property
    def samples(self) -> tuple[()]:
        """A self-test keeps its records apart, see state.py."""
        return ()

    @property
    def failures(self) -> tuple[()]:
        """What fails ends the whole of it."""
        return ()

    @property
    def can_go_on(self) -> bool:
        """Whether the next call goes on where this one ended."""
        return self._state is not None

    def _open(self, held: ExitStack) -> None:
        path = state_path(self._plan, self._machine, __version__)
        try:
            self._state = State(
                path, plan=self._plan, machine=self._machine, tool_version=__version__, fresh=self._fresh
            )
        except InputError as error:
            self._not_kept(error)
            return
        held.callback(self._state.close)
        # What an earlier call did beside a neighbour may not be asked of one that is kept to a single CPU.
        planned = {step.key for step in self._steps}
        self._records = [record for record in self._state.records if key_of(record) in planned]
        self._first_utc = self._state.header.started_utc

    def _do_all(self, left: list[Step]) -> None:
        total_s, done_s = sum(step.expected_s for step in left), 0.0
        with ExitStack() as around:
            is_busy = False
            last_process = next((step for step in reversed(left) if step.kind == "floor"), None)
            model: Path | None = None
            for number, step in enumerate(left):
                busy = step.cell is not None and step.cell.neighbour
                if busy != is_busy:
                    around.close()
                    model, is_busy = None, busy
                    if busy and self._cpu is not None:
                        around.enter_context(busy_neighbour(self._cpu))
                if step.kind == "floor" and model is None:
                    model = around.enter_context(small_model())
                look = self._look_at(step, number + self._taken_over, done_s, total_s)
                with self._phases.timed(_TITLES[step.kind]):
                    self._do(step, model, look)
                if step is last_process:
                    self._keep_floor()
                done_s += step.expected_s

    def _do(self, step: Step, model: Path | None, look: Callable[..., object]) -> None:
        plan = self._plan
        if step.cell is not None:
            self._keep(
                run_trial(
                    step.cell, step.number, step_ns=self._step_ns, trial_s=plan.trial_s, margin=plan.margin,
                    confidence=plan.confidence, seed=plan.seed, progress=look, compare=self._compare,
                )
            )  # fmt: skip
        elif step.kind == "coverage":
            (distribution,) = (one for one in DISTRIBUTIONS if one.name == step.name)
            found = coverage_of(distribution, trials=plan.coverage, seed=plan.seed, between=look)
            self._keep(CoverageLine(distribution=step.name, percentiles=[_of_percentile(one) for one in found]))
        elif step.kind == "precision":
            self._keep(time_to_precision(step.number, step_ns=self._step_ns, confidence=plan.confidence, progress=look))
        elif model is not None:
            self._keep(
                measure_in_a_process(
                    model, step.number, seconds=plan.process_s, confidence=plan.confidence, between=look
                )
            )

    def _look_at(self, step: Step, number: int, done_s: float, total_s: float) -> Callable[..., object]:
        """What the step calls meanwhile: shows how far all of it is, and lets Ctrl-C in."""
        title = f"self-test: {_TITLES[step.kind]}{_detail(step)}"
        begin_ns = perf_counter_ns()
        self._observer.stage(title)

        def look(*_: Any) -> None:
            now_ns = perf_counter_ns()
            if now_ns - self._last_look_ns >= _BETWEEN_LOOKS_NS:
                self._last_look_ns = now_ns
                spent_s = min(step.expected_s, (now_ns - begin_ns) / 1e9)
                total_ns = round(total_s * 1e9)
                self._observer.progress(
                    f"step {number + 1} of {len(self._steps)}", number, round((done_s + spent_s) * 1e9), total_ns, 0
                )

        look()
        return look

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        if self._state is not None:
            try:
                self._state.add(record)
            except InputError as error:
                self._not_kept(error)
                self._state = None

    def _not_kept(self, error: InputError) -> None:
        self._warnings.append(
            schema.Warning(
                code="state_not_kept",
                message=f"This self-test cannot be resumed: {error}",
                remedy="PYPERF_INFER_STATE_DIR names another folder for what is kept.",
            )
        )

    def _look_at_the_kept_floor(self) -> None:
        """Of a call that measured no process: the one that did has kept the floor, which is no newer for being shown.

        Another that was kept since stays. Only where there is none is it kept now, with the older date.
        """
        found = find_floor(self._machine).floor
        if found is None:
            self._keep_floor(measured_utc=self._first_utc)
        else:
            self._floor_kept = found == self._floor

    @property
    def _floor(self) -> Floor | None:
        return summary.floor_between(self._records, self._plan.confidence)

    def _keep_floor(self, *, measured_utc: str | None = None) -> None:
        """For `compare`, as soon as all processes are there."""
        floor = self._floor
        if floor is None:
            return
        try:
            save_floor(floor, self._machine, measured_utc=measured_utc)
            self._floor_kept = True
        except InputError as error:
            self._warnings.append(
                schema.Warning(
                    code="floor_not_kept",
                    message=f"compare will not know the floor between processes: {error}",
                    remedy="PYPERF_INFER_STATE_DIR names another folder for what is kept.",
                )
            )

    def _found(self) -> schema.SelfTest:
        plan, records = self._plan, self._records
        comparisons = summary.add_up_trials(records, plan.gate)
        coverage = summary.add_up_coverage(records)
        precision = summary.add_up_precision(records)
        floor = summary.add_up_floor(records, self._floor, kept=self._floor_kept)
        judged: list[schema.SelfTestJudgement] = [
            *(judge.judge_timer(self._timer) if self._timer else ()),
            *judge.judge_aa(comparisons),
            *judge.judge_power(comparisons, plan.margin),
            *judge.judge_coverage(coverage),
            *(judge.judge_precision(precision) if precision else ()),
            *(judge.judge_floor(floor) if floor else ()),
        ]
        return schema.SelfTest(
            quick=plan.quick,
            first_utc=self._first_utc,
            last_utc=schema.utc_now(),
            steps=len({key_of(record) for record in records}),
            planned_steps=len(self._steps),
            taken_over=self._taken_over,
            trial_s=plan.trial_s,
            margin=plan.margin,
            gate=plan.gate,
            confidence=plan.confidence,
            seed=plan.seed,
            timer_tick_us=None if self._tick_s is None else self._tick_s * 1e6,
            neighbour_cpu=self._cpu,
            timer=self._timer,
            comparisons=comparisons,
            coverage=coverage,
            precision=precision,
            floor=floor,
            judgements=judged,
        )


def _of_percentile(found: Coverage) -> PercentileCoverage:
    return PercentileCoverage(
        percent=found.percent,
        trials=found.trials,
        covering=found.covering,
        refused=found.refused,
        exact_share=found.exact_share,
        mean_count=found.mean_count,
    )


def _detail(step: Step) -> str:
    if step.cell is None:
        return f", {step.name}" if step.kind == "coverage" else ""
    slower = f", {format_percent(step.cell.slow_down)} slower" if step.cell.slow_down else ""
    return f", {format_duration_s(step.cell.work_s)}{slower}{', busy neighbour' * step.cell.neighbour}"
