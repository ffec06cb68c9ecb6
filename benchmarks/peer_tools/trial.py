# SPDX-License-Identifier: Apache-2.0
"""What each tool does in one trial: a pair of identical work (A/A) and a pair of which one is slower."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

from pyperf_infer import _core

Verdict = Literal["faster", "slower", "same", "undecided"]  # of the contender, against the baseline
Verdicts = dict[str, Verdict]  # by the tool's rule, in the words of its row
Side = TypeVar("Side")

SLOWER = 0.02
ABOUT_NS = 1_100_000  # of the work: about 1 ms, clear of the edge of a printed digit
COMMAND_TIMES = 50  # a command does so many times the work, so that starting it is a small part
_CALIBRATION_STEPS, _CALIBRATION_PASSES = 1_000_000, 25


class Work(NamedTuple):
    """What is timed: `_core.spin(steps)`, and `slow` steps of it for the slower one; each side may take `seconds`."""

    steps: int
    slow: int
    seconds: float

    @classmethod
    def calibrated(cls, seconds: float) -> Work:
        """Steps that take about 1 ms here and now; once chosen they stay what they are."""
        best_ns = min(_spin_ns() for _ in range(_CALIBRATION_PASSES))
        return cls.of(round(ABOUT_NS * _CALIBRATION_STEPS / best_ns), seconds)

    @classmethod
    def of(cls, steps: int, seconds: float) -> Work:
        return cls(steps, round(steps * (1 + SLOWER)), seconds)


def _spin_ns() -> int:
    begin_ns = time.perf_counter_ns()
    _core.spin(_CALIBRATION_STEPS)
    return time.perf_counter_ns() - begin_ns


class Found(NamedTuple):
    """What a tool says of one pair. `ratio` is the contender's time over the baseline's, as the tool puts it."""

    verdicts: Verdicts
    ratio: float
    wall_s: float


class Trial(NamedTuple):
    """What a tool says of a pair that is alike, and of one whose contender is slower."""

    alike: Found
    slower: Found

    def as_json(self) -> dict[str, Any]:
        return {"alike": self.alike._asdict(), "slower": self.slower._asdict()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Trial:
        return cls(Found(**value["alike"]), Found(**value["slower"]))


class Tool(ABC):
    """A tool that compares. `rules` are its rules for "different", each a row of the table."""

    name: str
    rules: tuple[str, ...]

    @staticmethod
    @abstractmethod
    def missing() -> str | None:
        """The command that installs it, where it is not installed."""

    @abstractmethod
    def options(self, work: Work) -> str:
        """Exactly what it is run with."""

    @abstractmethod
    def trial(self, number: int) -> Trial:
        """One trial; `number` counts them, from 0."""


def of_three_sides(
    measure: Callable[[int], Side], judge: Callable[[Side, Side], tuple[Verdicts, float]], work: Work, number: int
) -> Trial:
    """A trial of a tool that measures each side by itself: the work, the work again, and the slower one.

    The one in the middle is the contender of the first pair and the baseline of the second, so that both pairs are
    neighbours in time; every other trial goes backwards, so that drift favours neither side.
    """
    sides: list[Side] = []
    walls_s: list[float] = []
    order = (work.steps, work.steps, work.slow)
    for steps in order if number % 2 == 0 else order[::-1]:
        begin_ns = time.perf_counter_ns()
        sides.append(measure(steps))
        walls_s.append((time.perf_counter_ns() - begin_ns) / 1e9)
    if number % 2:
        sides, walls_s = sides[::-1], walls_s[::-1]

    def found(baseline: int) -> Found:
        begin_ns = time.perf_counter_ns()
        verdicts, ratio = judge(sides[baseline], sides[baseline + 1])
        judging_s = (time.perf_counter_ns() - begin_ns) / 1e9
        return Found(verdicts, ratio, sum(walls_s[baseline : baseline + 2]) + judging_s)

    return Trial(found(0), found(1))
