# SPDX-License-Identifier: Apache-2.0
"""Rows timed in turn in one process, and the sides of `run A --vs B`: part of the result document, see schema.py."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from pyperf_infer.results.fields import AboveZero, Count, Interval, NonNegative, Positive, Share, check_order

Letter = Annotated[str, Meta(pattern="^[A-Z]$")]
Verdict = Literal["faster", "slower", "same", "undecided"]


class Side(Struct, kw_only=True):
    """Which side of a contest a row is."""

    label: Letter  # "A" for the baseline, "B", "C", ...
    contest: Count  # rows with the same number were compared with each other
    given: str  # the text of its --vs; "" for A


class Comparison(Struct, kw_only=True):
    """Two rows, from interleaved blocks. ``ratio`` above 1: the contender is faster.

    ``baseline`` and ``contender`` are backends on the same model and batch, or labels of sides (--vs).
    """

    model: str  # as the two below: the baseline's
    batch_size: Positive
    precision: str | None = None  # None in documents written before there was more than one
    baseline: str
    contender: str
    ratio: AboveZero  # p50 of the baseline / p50 of the contender
    interval: Interval | None  # None where too few rounds support one
    confidence: Share
    margin: NonNegative
    verdict: Verdict
    reason: str | None
    rounds: Count
    discarded_calls: Count
    items_ratio: AboveZero | None = None  # items/s of the contender / of the baseline, where batch sizes differ
    compared: Positive = 1  # how many comparisons the verdict was corrected for (Holm); `confidence` is the corrected
    converged: bool | None = None  # whether the interval reached the asked width; None where it was not asked
    needed_duration_s: NonNegative | None = None  # what it would have taken; None where it converged or is not known
    baseline_row: Count | None = None  # the number of its row in `results`; None where model and backend name it
    contender_row: Count | None = None

    def __post_init__(self) -> None:
        check_order("interval", self.interval)
        if self.interval is None and self.verdict != "undecided":
            raise ValueError(f"the verdict {self.verdict!r} needs an interval")
