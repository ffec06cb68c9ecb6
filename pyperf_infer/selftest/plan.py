# SPDX-License-Identifier: Apache-2.0
"""What a self-test does, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from pyperf_infer.errors import UsageError
from pyperf_infer.selftest.synthetic import DISTRIBUTIONS
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.estimate import CONFIDENCE

GATE = 0.03
SLOW_DOWNS = (0.01, 0.02, 0.05)
POWER_WORK_S = 0.001
_PLAIN_WORK_S = (20e-6, 200e-6, 1e-3)
_TICK_PARTS = (1, 3)  # work as long as the timer's tick, and as a third of it, meets it in step
LEAST_TRIAL_S = 0.05
MOST_TRIALS = 100_000

Kind = Literal["A/A", "power", "coverage", "precision", "floor"]


class SelfTestPlan(Struct, kw_only=True, frozen=True):
    """How much of each. A part of 0 is left out."""

    quick: bool = False
    trial_s: float = 1.0
    aa: int = 300
    power: int = 50  # of each slow-down
    coverage: int = 2_000  # samples of each distribution
    precision: int = 5
    processes: int = 10
    process_s: float = 1.0
    margin: float = MARGIN
    gate: float = GATE
    confidence: float = CONFIDENCE
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("aa", "power", "coverage", "precision", "processes"):
            if not 0 <= getattr(self, name) <= MOST_TRIALS:
                raise UsageError(f"the number of trials of {name} lies between 0 and {MOST_TRIALS}")
        if not LEAST_TRIAL_S <= self.trial_s <= 3600:
            raise UsageError(f"a trial takes from {LEAST_TRIAL_S:g} s to an hour, and {self.trial_s:g} s is neither")


QUICK = SelfTestPlan(quick=True, aa=20, power=5, coverage=500, precision=3, processes=5)


class Cell(NamedTuple):
    """Comparisons that are alike: of work that takes `work_s`, against itself or work that is `slow_down` slower."""

    kind: Literal["A/A", "power"]
    work_s: float
    slow_down: float
    neighbour: bool


class Step(NamedTuple):
    """One thing to do, known by its kind, its cell or name, and its number. `expected_s` is a guess, for the bar."""

    kind: Kind
    cell: Cell | None
    name: str
    number: int
    expected_s: float

    @property
    def key(self) -> tuple[object, ...]:
        """The same as `records.key_of` says of what the step found."""
        if self.cell is not None:
            return (*self.cell, self.number)
        return (self.kind, self.name if self.kind == "coverage" else self.number)


def work_durations_s(tick_s: float | None) -> tuple[float, ...]:
    """Of the A/A comparisons: some that are plain, and some in step with the timer's tick where it is known."""
    return (*_PLAIN_WORK_S, *(() if tick_s is None else (tick_s / part for part in _TICK_PARTS)))


def cells(*, tick_s: float | None, neighbour: bool) -> list[Cell]:
    """Of the A/A comparisons, quiet ones and, where there is a CPU for it, ones beside a neighbour."""
    around = (False, True) if neighbour else (False,)
    return [Cell("A/A", work_s, 0.0, busy) for busy in around for work_s in work_durations_s(tick_s)]


def steps(plan: SelfTestPlan, *, tick_s: float | None, neighbour: bool) -> list[Step]:
    """All steps in order: the short parts first, then rounds of comparisons that each hold some of every cell.

    So a self-test that is broken off has a little of everything, and a machine that changes meanwhile changes for all.
    """
    found = [Step("floor", None, "fresh process", number, plan.process_s + 0.6) for number in range(plan.processes)]
    found += [Step("coverage", None, one.name, 0, plan.coverage * 1e-3) for one in DISTRIBUTIONS if plan.coverage]
    found += [Step("precision", None, "1 ms to 1%", number, 0.5) for number in range(plan.precision)]
    alike = cells(tick_s=tick_s, neighbour=neighbour)
    counts = dict.fromkeys(alike, 0)
    for number in range(plan.aa):
        counts[alike[number % len(alike)]] += 1
    counts |= {Cell("power", POWER_WORK_S, slow_down, False): plan.power for slow_down in SLOW_DOWNS}
    return [*found, *_in_rounds(counts, plan.trial_s)]


def _in_rounds(counts: dict[Cell, int], trial_s: float) -> Iterator[Step]:
    """Trial j of n falls into the round that is as far along as j is of n; in a round the quiet ones come first."""
    rounds = max(counts.values(), default=0)
    placed = [
        (number * rounds // count, cell.neighbour, place, number, cell)
        for place, (cell, count) in enumerate(counts.items())
        for number in range(count)
    ]
    for _, _, _, number, cell in sorted(placed):
        yield Step(cell.kind, cell, "", number, trial_s)
