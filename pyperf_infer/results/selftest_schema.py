# SPDX-License-Identifier: Apache-2.0
"""What `selftest` found: part of the result document's schema, whose users import it from ``results.schema``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import (
    AboveZero,
    Count,
    NonNegative,
    Part,
    Positive,
    Share,
    UtcTime,
    check_order,
)

PartInterval = tuple[Part, Part]


class SelfTestTimer(Struct, kw_only=True):
    """The host's clock, in the process that measured."""

    clock: str
    step_ns: NonNegative  # the smallest difference between two reads
    overhead_ns: NonNegative  # what a sample of no work reads
    read_cost_ns: NonNegative  # of one read of the clock


class SelfTestComparisons(Struct, kw_only=True):
    """Comparisons of one kind whose answer is known."""

    kind: Literal["A/A", "power"]  # the same work on both sides; or the second slower by `slow_down`
    work_us: AboveZero  # about what the work takes
    slow_down: Part
    neighbour: bool  # another process kept one CPU busy
    trials: Positive
    faster: Count
    slower: Count
    same: Count
    undecided: Count
    gate_fired: Count  # the whole interval beyond the gate
    half_width: NonNegative | None  # the median of the intervals' relative half-widths; None where no trial had one
    trial_s: NonNegative  # the median wall time of one
    other_cpus: NonNegative | None  # CPUs' worth of time that others used, the median; None where the system tells none
    undecided_reasons: dict[str, Count]  # the kind of reason, and how many

    def __post_init__(self) -> None:
        if self.faster + self.slower + self.same + self.undecided != self.trials:
            raise ValueError("the verdicts of a self-test do not sum to its trials")
        if (self.kind == "A/A") != (self.slow_down == 0):
            raise ValueError("a slow-down is what tells a power trial from an A/A one")


class SelfTestCoverage(Struct, kw_only=True):
    """Intervals of one percentile of made samples, whose true value is known; the stop rule ended each sample."""

    distribution: str
    about: str
    percent: AboveZero
    trials: Positive
    covering: Count  # intervals that held the true value
    refused: Count  # samples that carried no interval
    exact_share: Share  # what the binomial distribution says of the ranks used, the mean over the trials
    mean_samples: AboveZero


class SelfTestPrecision(Struct, kw_only=True):
    """How long measurements of the same work took until the interval of the median was as narrow as asked."""

    work_us: AboveZero
    ci: AboveZero
    trials: Positive
    converged: Count
    median_s: NonNegative  # wall time, warm-up included
    longest_s: NonNegative
    median_samples: Positive


class SelfTestFloor(Struct, kw_only=True):
    """How far fresh processes that measure the same model lie apart."""

    processes: Positive
    relative_sd: NonNegative | None  # between processes, what the samples explain taken out; None with too few
    median_ms: NonNegative
    lowest_ms: NonNegative
    highest_ms: NonNegative
    kept: bool  # for `compare`, on this machine


class SelfTestJudgement(Struct, kw_only=True):
    """One figure and the bounds it is held against."""

    code: str  # stable, for programs: "aa_different_quiet"
    part: Literal["timer", "A/A", "power", "coverage", "precision", "floor"]
    what: str
    value: NonNegative
    unit: Literal["share", "s", "ns"]
    count: Count | None  # of a share: so many of `trials`
    trials: Positive | None
    interval: PartInterval | None  # of a share: the exact one at 95%
    at_least: NonNegative | None  # the bounds; None where there is none
    at_most: NonNegative | None
    status: Literal["pass", "fail", "not judged"]
    reason: str | None  # why it is not judged

    def __post_init__(self) -> None:
        check_order("interval", self.interval)
        if (self.reason is None) == (self.status == "not judged"):
            raise ValueError("what is not judged has a reason, and only that")


class SelfTest(Struct, kw_only=True):
    """How often this tool is wrong on this machine."""

    quick: bool
    first_utc: UtcTime  # when the first of the figures was begun
    last_utc: UtcTime  # when the document was made
    steps: Count  # so many are there
    planned_steps: Count
    taken_over: Count  # of them from earlier calls
    trial_s: AboveZero  # the budget of a comparison
    margin: AboveZero
    gate: AboveZero
    confidence: Share
    seed: int
    timer_tick_us: AboveZero | None  # the kernel's; None where the system does not tell
    neighbour_cpu: Count | None  # None where this process may use one CPU only
    timer: SelfTestTimer | None
    comparisons: list[SelfTestComparisons]
    coverage: list[SelfTestCoverage]
    precision: SelfTestPrecision | None
    floor: SelfTestFloor | None
    judgements: list[SelfTestJudgement]
