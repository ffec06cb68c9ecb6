# SPDX-License-Identifier: Apache-2.0
"""Two rows timed in turn in one process: part of the result document, see schema.py."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import AboveZero, Count, Interval, NonNegative, Positive, Share, check_order

Verdict = Literal["faster", "slower", "same", "undecided"]


class Comparison(Struct, kw_only=True):
    """Two backends on the same model and batch, from interleaved blocks. ``ratio`` above 1: the contender is faster."""

    model: str
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
    compared: Positive = 1  # how many comparisons the verdict was corrected for (Holm); `confidence` is the corrected
    converged: bool | None = None  # whether the interval reached the asked width; None where it was not asked
    needed_duration_s: NonNegative | None = None  # what it would have taken; None where it converged or is not known
    baseline_row: Count | None = None  # the number of its row in `results`; None where model and backend name it
    contender_row: Count | None = None

    def __post_init__(self) -> None:
        check_order("interval", self.interval)
        if self.interval is None and self.verdict != "undecided":
            raise ValueError(f"the verdict {self.verdict!r} needs an interval")
