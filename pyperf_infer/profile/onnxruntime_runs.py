# SPDX-License-Identifier: Apache-2.0
"""Inferences under ONNX Runtime's profiler, in turn with inferences of the same session without it."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.profile.onnxruntime_events import (
    MOST_EVENTS,
    Inference,
    NodeTotals,
    inferences,
    read_events,
)
from pyperf_infer.results.atomic import resolve_target, write_atomically
from pyperf_infer.results.profile_schema import Perturbation
from pyperf_infer.statistics.compare import compare_rounds
from pyperf_infer.timing.comparison import block_length_ns
from pyperf_infer.timing.target import garbage_collection, to_ns

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph
    from pyperf_infer.profile.plan import ProfilePlan

# A session is profiled over about this many events, and then followed by a new one: an event is a kilobyte of JSON.
_EVENTS_A_SESSION = 20_000
_MOST_A_SESSION = 200_000  # where a single inference makes thousands
_LEAST_ROUNDS = 8


class ProfiledSession(Protocol):
    """A session with inputs bound, whose runs since it was made are in its profile."""

    graph: Graph | None  # what it runs, where that is known

    @property
    def target(self) -> _core.Target: ...

    def end_profiling(self) -> Path:
        """Writes the profile and tells where."""
        ...


@dataclass(frozen=True)
class Trial:
    """What the profile of a session that was only bound shows: how many runs that takes, and events one run makes."""

    runs: int
    events_a_run: int
    first: Inference


@dataclass
class Profiled:
    """Sums over the profiled inferences of each session, with its graph, and the medians of each round's blocks."""

    sessions: list[tuple[NodeTotals, Graph | None]] = field(default_factory=list)
    plain_ns: list[int] = field(default_factory=list)
    profiled_ns: list[int] = field(default_factory=list)
    unreadable: int = 0  # lines of the profiles

    @property
    def inferences(self) -> int:
        return sum(totals.inferences for totals, _ in self.sessions)

    @property
    def whole_ms(self) -> float:
        """Of an inference."""
        return sum(totals.whole_us for totals, _ in self.sessions) / self.inferences / 1000

    def perturbation(self, confidence: float) -> Perturbation:
        estimate = compare_rounds(self.profiled_ns, self.plain_ns, confidence=confidence)
        return Perturbation(
            plain_ms=statistics.median(self.plain_ns) / 1e6,
            instrumented_ms=statistics.median(self.profiled_ns) / 1e6,
            ratio=estimate.ratio,
            interval=estimate.interval,
            rounds=estimate.rounds,
        )

    def known_well(self, ci: float, confidence: float) -> bool:
        interval = compare_rounds(self.profiled_ns, self.plain_ns, confidence=confidence).interval
        return interval is not None and interval[1] / interval[0] <= (1 + ci) / (1 - ci)


def try_out(session: ProfiledSession) -> Trial:
    """Ends the profile of a session that has run only while it was bound.

    Raises:
        MeasurementError: one inference makes more events than ONNX Runtime records.
    """
    path = session.end_profiling()
    try:
        runs, _ = inferences(read_events(path.read_bytes()).events)
    finally:
        path.unlink(missing_ok=True)
    events = max((len(run.nodes) + 2 for run in runs), default=MOST_EVENTS)  # with the two of the run itself
    if not runs or (len(runs) + 1) * events > MOST_EVENTS:
        raise MeasurementError(
            f"one inference makes so many events that ONNX Runtime, which records {MOST_EVENTS:,} in a session, cannot "
            "profile it. Profile a smaller input, such as a shorter sequence."
        )
    return Trial(len(runs), events, runs[0])


def profile_in_turn(
    plain: _core.Target,
    open_session: Callable[[], ProfiledSession],
    trial: Trial,
    plan: ProfilePlan,
    keep: Path | None,
) -> Profiled:
    """Blocks of plain and of profiled inferences in a random order, round by round, until `plan` is content.

    The first quarter of each block is left out, as are the runs of binding: caches and thread pools are as others left
    them. The first session's profile goes to `keep`.
    """
    done = Profiled()
    random_order = random.Random(plan.seed)  # noqa: S311  no secret
    begin_ns = _core.now_ns()
    most_ns = to_ns("max_duration_s", plan.max_duration_s)
    budget = min(max(_EVENTS_A_SESSION, trial.events_a_run * (_LEAST_ROUNDS + trial.runs)), _MOST_A_SESSION)
    runs_a_session = max(1, budget // trial.events_a_run - trial.runs)
    with garbage_collection(enabled=False):
        _core.warm_up(plain, budget_ns=most_ns // 20)
        calls = _calls_in_a_block(plain, most_ns, runs_a_session)
        content = False
        while not content:
            session = open_session()
            kept: list[range] = []
            made = trial.runs
            while not content and (made + calls <= runs_a_session + trial.runs or not kept):
                for profiled in random_order.sample((False, True), 2):
                    median_ns = _block(session.target if profiled else plain, calls)
                    (done.profiled_ns if profiled else done.plain_ns).append(median_ns)
                    if profiled:
                        kept.append(range(made + calls // 4, made + calls))
                        made += calls
                so_far = done.inferences + sum(map(len, kept))
                content = _content(done, so_far, begin_ns, most_ns, plan)
            _take_in(done, session, kept, None if done.sessions else keep)
    return done


def _calls_in_a_block(plain: _core.Target, most_ns: int, runs_a_session: int) -> int:
    samples = _core.Samples()
    _core.run_batch(plain, samples, 3)
    per_call_ns = max(1, int(statistics.median(samples.ns)))
    wanted = -(-block_length_ns(most_ns, 2) // per_call_ns)
    return max(1, min(wanted, runs_a_session // _LEAST_ROUNDS))


def _block(target: _core.Target, calls: int) -> int:
    samples = _core.Samples()
    _core.run_batch(target, samples, calls)
    return max(1, int(statistics.median_low(samples.ns[calls // 4 :].tolist())))


def _content(done: Profiled, inferences_so_far: int, begin_ns: int, most_ns: int, plan: ProfilePlan) -> bool:
    elapsed_ns = _core.now_ns() - begin_ns
    if plan.progress is not None:
        plan.progress("profile", inferences_so_far, elapsed_ns, most_ns, done.profiled_ns[-1])
    if elapsed_ns >= most_ns:
        return True
    return (
        len(done.plain_ns) >= _LEAST_ROUNDS
        and inferences_so_far >= plan.inferences
        and elapsed_ns >= plan.duration_s * 1e9
        and done.known_well(plan.ci, plan.confidence)
    )


def _take_in(done: Profiled, session: ProfiledSession, kept: Sequence[range], keep: Path | None) -> None:
    """Adds the inferences of a session whose numbers are in `kept`."""
    path = session.end_profiling()
    try:
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    profile = read_events(data)
    runs, _ = inferences(profile.events)
    wanted = [number for numbers in kept for number in numbers]
    if wanted[-1] >= len(runs):
        raise MeasurementError(
            f"ONNX Runtime's profile has {len(runs)} inferences where {wanted[-1] + 1} ran: it was cut short. "
            "Free some space for temporary files, or profile a smaller input."
        )
    totals = NodeTotals()
    for number in wanted:
        totals.add(runs[number])
    done.sessions.append((totals, session.graph))
    done.unreadable += profile.unreadable
    if keep is not None:  # where it is no JSON, what could be read of it
        write_atomically(resolve_target(keep), data if profile.whole else msgspec.json.encode(profile.events))
