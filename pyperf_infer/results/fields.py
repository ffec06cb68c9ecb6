# SPDX-License-Identifier: Apache-2.0
"""The types that a result's fields are made of: numbers within bounds, hashes, moments, intervals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
AboveZero = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Part = Annotated[float, Meta(ge=0, le=1)]  # a share that may be none or all
Percent = Annotated[float, Meta(gt=0, lt=100)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
UtcTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
Quantity = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]  # what a sample is of: latency, period, submit, gpu, ...
Interval = tuple[NonNegative, NonNegative]


def check_order(name: str, interval: Interval | None) -> None:
    """Raises ValueError, which calls it ``name``, for an interval that runs backwards or has an end that is NaN."""
    if interval is not None and not interval[0] <= interval[1]:
        raise ValueError(f"{name} runs backwards: [{interval[0]}, {interval[1]}]")
