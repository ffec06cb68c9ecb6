# SPDX-License-Identifier: Apache-2.0
"""What `compare` found in stored results: part of the result document, see schema.py."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.comparison_schema import Verdict  # noqa: TC001  msgspec reads it
from pyperf_infer.results.fields import (
    AboveZero,
    Count,
    Interval,
    NonNegative,
    Positive,
    Sha256,
    Share,
    UtcTime,
    check_order,
)

GateState = Literal["fired", "passed", "undecided", "not judged"]


class StoredFile(Struct, kw_only=True):
    """A result document that was read."""

    path: str
    sha256: Sha256  # of its bytes
    created_utc: UtcTime
    tool_version: str
    status: Literal["complete", "interrupted", "failed"]
    command: list[str]


class StoredSide(Struct, kw_only=True):
    """One of the arguments: a file, or a folder of them."""

    name: str  # as it was given
    folder: bool
    files: list[StoredFile]  # whose rows were used
    looked_at: Positive  # files; more than were used where the folder holds older results too
    skipped: Count = 0  # files of the folder: no results of `run`, damaged, interrupted, or copies of another file
    skipped_because: list[str] = []  # a few of them, each with the reason


class StoredField(Struct, kw_only=True):
    """A field that differs. ``None`` where one side does not have it."""

    field: str  # its name within Method: "threads", "settings.opt_level", "gpu.streams"
    baseline: str | None
    contender: str | None


class StoredDifference(Struct, kw_only=True):
    """A difference of the machines or the software that could explain one of the times."""

    field: str  # "cpu", "gpu", "libraries.torch", ...
    baseline: str | None
    contender: str | None
    weight: Literal["likely", "possible"]  # whether it usually changes times, or only may


class StoredMember(Struct, kw_only=True):
    """What one side has of a row."""

    backend: str
    provider: str | None
    device: str
    files: list[Count]  # whose numbers in the side's `files`
    processes: Positive  # whose medians were compared
    p50_ms: AboveZero  # the geometric mean of the processes' medians
    relative_sd: NonNegative | None  # of those medians; None for a single one
    parity: Literal["equal", "different", "not checked", "invalid"] | None = None
    largest_relative_difference: NonNegative | None = None  # of the outputs to the reference's; None if not checked
    side: str | None = None  # "A", "B": which of a contest (--vs) it was; None without one
    warnings: list[str] = []  # codes of the warnings that its rows carry


class StoredFigure(Struct, kw_only=True):
    """Another quantity of both sides. Without a verdict."""

    quantity: Literal["p90", "p95", "p99", "throughput", "peak_memory", "device_peak_memory"]
    unit: Literal["ms", "items/s", "bytes"]
    baseline: NonNegative
    contender: NonNegative
    ratio: AboveZero | None  # of times baseline / contender, else contender / baseline; None where one is zero
    interval: Interval | None = None  # of that ratio at 95%, by the spread between processes; None for too few

    def __post_init__(self) -> None:
        check_order("interval", self.interval)


class StoredRow(Struct, kw_only=True):
    """One subject on both sides. ``ratio`` above 1: the contender is faster."""

    model: str
    batch_size: Positive
    precision: str
    shapes: dict[str, list[Count]]
    baseline: StoredMember
    contender: StoredMember
    quantity: Literal["latency", "period", "gpu"]  # what p50_ms is of, on the baseline's side
    ratio: AboveZero | None = None  # p50 of the baseline / p50 of the contender; None where the row is refused
    interval: Interval | None = None  # None where nothing tells how far two processes lie apart
    confidence: Share | None = None  # of the interval, corrected for several rows (Holm)
    compared: Count = 0  # how many rows the verdict was corrected for
    spread: Literal["processes", "floor", "processes and floor"] | None = None  # what the interval comes from
    verdict: Verdict | None = None  # None where the row is refused
    reason: str | None = None  # why nothing was decided
    remedy: str | None = None  # what to do about it
    refused: list[StoredField] = []  # fields of the method that must match and do not: nothing was compared
    forced: list[StoredField] = []  # the same, where --force made it compare
    noted: list[StoredField] = []  # fields of the method that may differ, and do
    environment: list[StoredDifference] = []
    figures: list[StoredFigure] = []
    gate: GateState | None = None  # None without --fail-if-slower

    def __post_init__(self) -> None:
        check_order("interval", self.interval)
        if (self.ratio is None) != bool(self.refused) or (self.verdict is None) != bool(self.refused):
            raise ValueError("a row that is refused has neither ratio nor verdict, and any other has both")
        if self.interval is None and self.verdict not in (None, "undecided"):
            raise ValueError(f"the verdict {self.verdict!r} needs an interval")


class StoredLeftOver(Struct, kw_only=True):
    """A row that has no counterpart on the other side."""

    side: Literal["baseline", "contender"]  # which has it
    model: str
    batch_size: Positive
    precision: str
    backend: str
    device: str
    reason: str


class StoredComparison(Struct, kw_only=True):
    """The baseline and one contender."""

    baseline: StoredSide
    contender: StoredSide
    rows: list[StoredRow]
    left_over: list[StoredLeftOver]
    margin: NonNegative


class Gate(Struct, kw_only=True):
    """What --fail-if-slower made of the rows."""

    threshold: NonNegative  # 0.03 for 3%
    fired: bool  # at least one row whose whole interval lies beyond
    sentence: str
    rows: Count | None = None  # that it should judge: those compared, and those that one side alone has a time of
    judged: Count | None = None  # of them; fewer than `rows` where one has no interval, or one that reaches across
