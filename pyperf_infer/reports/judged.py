# SPDX-License-Identifier: Apache-2.0
"""Which quantity a row's p50 is of. Unlike ones, warm and cold among them, never share a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pyperf_infer.reports.cells import Cell

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Result


def judged_quantity(result: Result) -> Literal["latency", "period", "gpu"]:
    """The quantity of ``summary.timing``; of a row without numbers, the one that would have been."""
    summary, method = result.summary, result.method
    if summary.latency is not None:
        return "latency"
    if summary.period is not None or method.mode == "throughput":
        return "period"
    on_gpu = summary.gpu is not None or method.gpu is not None or method.device.startswith("cuda")
    return "gpu" if method.mode == "cold" and on_gpu else "latency"


def label(result: Result) -> str:
    """What stands before "p50" in a title: nothing for a warm latency, else "period ", "cold " or "cold gpu "."""
    quantity = judged_quantity(result)
    cold = "cold " if result.method.mode == "cold" else ""
    return cold + ("" if quantity == "latency" else f"{quantity} ")


def labels(rows: Iterable[Result]) -> dict[str, list[Result]]:
    """The rows of each label, in the order in which the labels first come."""
    grouped: dict[str, list[Result]] = {}
    for one in rows:
        grouped.setdefault(label(one), []).append(one)
    return grouped


def only(listed: Sequence[Result], cell: Callable[[Result], Cell]) -> Callable[[Result], Cell]:
    """``cell`` for the rows ``listed``, which are those of one label; empty for the others."""
    ids = {id(one) for one in listed}
    return lambda result: cell(result) if id(result) in ids else Cell()


def mode_line(result: Result) -> str:
    """The mode, and for a cold one what that makes of p50."""
    if result.method.mode != "cold":
        return result.method.mode
    what = "span on the GPU" if judged_quantity(result) == "gpu" else "latency"
    return f"cold: caches flushed before each call; p50 is the {what} of such a call, not to be set beside a warm one's"
