# SPDX-License-Identifier: Apache-2.0
"""Self-tests with comparisons whose verdicts are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pyperf_infer.measure.observer import Observer
from pyperf_infer.selftest.job import SelfTestJob
from pyperf_infer.selftest.plan import SelfTestPlan

if TYPE_CHECKING:
    from pyperf_infer.results import schema
    from pyperf_infer.statistics.holm import Verdict

PLAN = SelfTestPlan(aa=20, power=4, coverage=0, precision=0, processes=0)


class Found(NamedTuple):
    ratio: float = 1.0
    interval: tuple[float, float] | None = (0.996, 1.004)
    verdict: Verdict = "same"
    reason: str | None = None
    rounds: int = 20


class Asked(NamedTuple):
    sides: tuple[Any, ...]
    options: dict[str, Any]


class FakeCompare:
    """Stands in for `timers.compare`: `answer` gives the verdict of the nth call, or raises."""

    def __init__(self, answer: Callable[[int], Found] = lambda _: Found()) -> None:
        self.asked: list[Asked] = []
        self._answer = answer

    def __call__(self, *sides: Any, **options: Any) -> Found:
        self.asked.append(Asked(sides, options))
        options["progress"]("interleave", 1, 2, 3, 4)
        return self._answer(len(self.asked))


class Watching(Observer):
    def __init__(self) -> None:
        self.notices: list[str] = []
        self.progressed: list[tuple[int, int]] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def progress(self, phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:
        self.progressed.append((elapsed_ns, budget_ns))


def made(plan: SelfTestPlan = PLAN, compare: Any = None, observer: Observer | None = None, **given: Any) -> SelfTestJob:
    return SelfTestJob(plan, command=["t"], observer=observer or Observer(), compare=compare or FakeCompare(), **given)


def found_by(job: SelfTestJob) -> schema.SelfTest:
    found = job.document("complete").selftest
    assert found is not None
    return found
