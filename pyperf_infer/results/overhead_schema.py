# SPDX-License-Identifier: Apache-2.0
"""What `overhead` found: part of the result document's schema, whose users import it from ``results.schema``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import (  # noqa: TC001  msgspec reads them
    AboveZero,
    Count,
    NonNegative,
    Positive,
    Sha256,
    Share,
)

SignedInterval = tuple[float, float]
_Setting = str | int | float | bool | None


class OverheadPath(Struct, kw_only=True):
    """One way of making the same request. `None` in the numbers where `failed` says why there are none."""

    runtime: Literal["torch", "onnxruntime"]
    path: str  # "eager", "compiled", "AOTI Python loader", "AOTI native loop", "session.run", ...
    does: str  # what a call is, in a few words
    loop: str  # "native" or "native, Python callable"
    process: Literal["own", "shared"]  # own: a process apart, alternated with the others
    same_code: bool = True  # does the same work as the native loop, so that the difference is the calling alone
    p50_us: NonNegative | None = None  # the median of its blocks' medians
    alone_us: NonNegative | None = None  # the median while nothing else runs
    difference_us: float | None = None  # to the runtime's native loop: the median over the rounds; 0 for that itself
    difference_interval_us: SignedInterval | None = None  # None where too few rounds support one
    share: float | None = None  # of its own request: difference / time of the same round, the median over the rounds
    share_interval: SignedInterval | None = None
    interference: str | None = None  # how much else the share is when each path runs alone, where that is beyond margin
    parity: Literal["equal", "different", "not checked", "invalid"] | None = None  # of its outputs with the first's
    remarks: list[str] = []  # what a reader of the row should know
    settings: dict[str, _Setting] = {}
    failed: str | None = None

    def __post_init__(self) -> None:
        if self.failed is not None and self.p50_us is not None:
            raise ValueError(f"{self.path} has failed, and has a time all the same")
        if (self.difference_us is None) != (self.share is None):
            raise ValueError("a difference comes with its share, and neither without the other")
        for name, interval in (
            ("difference_interval_us", self.difference_interval_us),
            ("share_interval", self.share_interval),
        ):
            if interval is not None and not interval[0] <= interval[1]:
                raise ValueError(f"{name} runs backwards: [{interval[0]}, {interval[1]}]")


class Overhead(Struct, kw_only=True):
    """A request of one model at one batch size, taken apart."""

    model: str
    batch_size: Positive
    shapes: dict[str, list[Count]]
    precision: str
    device: str
    threads: Count
    weights_source: str
    weights_sha256: Sha256
    seed: int
    paths: list[OverheadPath]
    rounds: Count
    discarded_calls: Count
    stop_reason: str
    ci: AboveZero
    max_duration_s: NonNegative
    confidence: Share
    margin: AboveZero
    sentence: str  # what it means for the user
