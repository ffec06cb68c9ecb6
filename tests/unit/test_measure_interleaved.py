# SPDX-License-Identifier: Apache-2.0
"""Rounds and what each takes alone: when targets disturb each other, and when only the machine has changed."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_backends import FakeBackend, Source

from pyperf_infer import _core
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure import interleaved as module
from pyperf_infer.measure.case import Contestant, Surroundings
from pyperf_infer.measure.entry import Case, Memory
from pyperf_infer.measure.interleaved import Entrant, time_interleaved
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.phases import Phases
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.system.environment import collect
from pyperf_infer.timing.comparison import Rounds

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Comparison

PLAN = RunPlan(models=("m",), backends=("b",), options=BackendOptions(threads=1), margin=0.01, ci=0.01)
AROUND = Surroundings(plan=PLAN, environment=collect(), phases=Phases(), observer=Observer())


def alone(median_ns: float) -> Any:
    """Samples of one that takes exactly this."""
    return SimpleNamespace(
        interval_ns=(median_ns, median_ns), median_ns=median_ns, timer_overhead_ns=0, clock_step_ns=0
    )


def blocks(median_ns: float | tuple[int, ...]) -> tuple[int, ...]:
    return (round(median_ns),) * 20 if not isinstance(median_ns, tuple) else median_ns


def entrant(label: str, median_ns: float, *, row: int, batch: int = 1) -> Entrant:
    backend = FakeBackend("b", make_target=lambda _: _core.SpinTarget(10))
    prepared = backend.prepare(Source("m").load(), {"x": np.zeros((batch, 4), np.float32)})
    contestant = Contestant(
        backend=backend, prepared=prepared, memory=Memory(peak_bytes=0, increase_bytes=0, method=""), load_s=None,
        export_s=None, outputs_a={}, outputs_b={}, samples=alone(median_ns), row=row,
    )  # fmt: skip
    case = Case(model=Source("m").load(), batch_size=batch, requested_batch_size=batch, shapes={"x": (batch, 4)})
    return Entrant(label=label, case=case, contestant=contestant, plan=PLAN)


def compared(
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: tuple[float, ...],
    in_turn: tuple[float | tuple[int, ...], ...],
    after: dict[int, float] | None = None,
    reason: str = "converged",
    needed: float | None = 42.0,
) -> tuple[list[Comparison], list[int]]:
    """The comparisons of targets that take this before, in turn and after; and which of them were measured again.

    `after` by the number of the target; None: nothing may be measured again.
    """
    entrants = [entrant(chr(ord("A") + index), one, row=index) for index, one in enumerate(before)]
    numbers = {id(one.contestant.prepared): index for index, one in enumerate(entrants)}
    rounds = Rounds(tuple(blocks(one) for one in in_turn), 7, reason, None if reason == "converged" else needed)
    asked: dict[str, Any] = {}

    def interleave(targets: object, **how: Any) -> Rounds:
        asked.update(how)
        return rounds

    again: list[int] = []

    class Again:
        def __init__(self, prepared: object, **_: object) -> None:
            assert after is not None, "nothing is to be measured again here"
            self.number = numbers[id(prepared)]

        def warm_up(self, **_: object) -> None:
            again.append(self.number)

        def run(self, **_: object) -> Any:
            return alone(after[self.number])  # type: ignore[index]

    monkeypatch.setattr(module, "interleave", interleave)
    monkeypatch.setattr(module, "Measurement", Again)
    found = time_interleaved(entrants, AROUND)
    assert asked["ci"] == PLAN.margin / 2
    return found, again


def test_where_alone_and_in_turn_agree_nothing_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), _ = compared(monkeypatch, before=(1000, 2000), in_turn=(1000, 2000))
    assert (found.verdict, found.reason) == ("slower", None)
    assert (found.ratio, found.rounds, found.discarded_calls) == (0.5, 20, 7)
    assert (found.baseline, found.contender, found.baseline_row, found.contender_row) == ("A", "B", 0, 1)
    assert (found.converged, found.needed_duration_s) == (True, None)


def test_a_machine_that_changed_between_the_two_is_no_interference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second was measured alone on a machine that had become slower by a tenth."""
    (found,), again = compared(monkeypatch, before=(1000, 1100), in_turn=(1100, 1100), after={0: 1100, 1: 1100})
    assert found.verdict == "same"
    assert again == [0, 1]


def test_a_ratio_between_the_ones_before_and_after_is_no_interference(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), _ = compared(monkeypatch, before=(1000, 1000), in_turn=(1000, 1100), after={0: 1000, 1: 1200})
    assert found.verdict == "slower"


def test_targets_that_disturb_each_other_before_and_after_are_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), again = compared(monkeypatch, before=(1000, 1000), in_turn=(1000, 1100), after={0: 1000, 1: 1001})
    assert found.verdict == "undecided"
    assert str(found.reason).startswith("interference")
    assert again == [0, 1]


def test_only_those_that_part_are_measured_again_with_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    found, again = compared(
        monkeypatch, before=(1000, 2000, 1000), in_turn=(1000, 2000, 3000), after={0: 1000, 2: 3000}
    )
    assert again == [0, 2]
    assert [one.verdict for one in found] == ["slower", "slower"]
    assert [one.compared for one in found] == [2, 2]


def test_what_did_not_converge_says_what_it_would_have_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), _ = compared(monkeypatch, before=(1000, 1000), in_turn=(1000, 1000), reason="max_duration")
    assert (found.converged, found.needed_duration_s) == (False, 42.0)


def test_rounds_that_ended_between_two_looks_tell_from_their_own_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratios from 1 to 1.21, a half-width of ln 1.1 where half of the margin was asked for."""
    spread = (1000,) * 10 + (1210,) * 10
    (found,), _ = compared(monkeypatch, before=(1100, 1000), in_turn=(spread, 1000), reason="max_duration", needed=None)
    assert found.interval == pytest.approx((1.0, 1.21))
    assert found.needed_duration_s == pytest.approx(PLAN.max_duration_s * (math.log(1.1) / 0.005) ** 2)


def test_many_have_the_turns_of_a_pair_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def interleave(targets: object, *, max_duration: float, **_: object) -> Rounds:
        asked.append(max_duration)
        return Rounds(tuple((1000,) * 20 for _ in targets), 0, "converged", None)  # type: ignore[attr-defined]

    monkeypatch.setattr(module, "interleave", interleave)
    for count in (2, 4):
        time_interleaved([entrant(chr(ord("A") + index), 1000, row=index) for index in range(count)], AROUND)
    assert asked == [PLAN.max_duration_s, 2 * PLAN.max_duration_s]
