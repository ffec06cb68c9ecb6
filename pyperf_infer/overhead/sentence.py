# SPDX-License-Identifier: Apache-2.0
"""What an overhead means for the user, in one sentence that says no more than its intervals do.

Only paths that do the same work as the native loop of their runtime tell what Python costs. What an eager or a compiled
model takes beyond that loop is other kernels and dispatch as well, and no part of the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pyperf_infer.statistics.difference import Size, size_of_share
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Overhead, OverheadPath

_NOTHING = "what Python costs is not known, as no path through it could be timed beside a native loop"


def sentence_of(overheads: Sequence[Overhead]) -> str:
    """One sentence over the batch sizes of a model; empty where there are none."""
    told: list[str] = []
    for clause, group in groupby(overheads, key=lambda one: _clause(one, "it")):
        alike = list(group)
        batches = _listed([str(one.batch_size) for one in alike])
        told.append(f"at batch {batches} {clause if told else _clause(alike[0], 'Python')}")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def size_of(path: OverheadPath, margin: float) -> Size:
    """What a path's interval says of its share; where paths disturb each other it says nothing."""
    return "unknown" if path.interference is not None else size_of_share(path.share_interval, margin)


def _clause(overhead: Overhead, subject: str) -> str:
    told = [one for one in overhead.paths if one.same_code and one.loop != "native" and one.share is not None]
    if not told:
        return _NOTHING
    sizes = [(size_of(one, overhead.margin), one) for one in told]
    parts = []
    for size in ("above", "below", "negative", "unknown"):
        paths = [one for found, one in sizes if found == size]
        if not paths:
            continue
        parts.append(_part(size, paths, subject, overhead.margin, alone=len(paths) == len(told)))
        subject = "it"
    return ", and ".join(parts)


def _part(size: Size, paths: Sequence[OverheadPath], subject: str, margin: float, *, alone: bool) -> str:
    through = f"through {_listed([_called(one) for one in paths])}"
    if size == "above":
        shares = _listed(
            [
                f"{format_percent(one.share or 0.0)} {'of a request ' if index == 0 else ''}{_through(one)}"
                for index, one in enumerate(paths)
            ]
        )
        return f"{subject} is {shares}"
    if size == "below":
        return f"{subject} does not matter (below {format_percent(margin)}){'' if alone else f' {through}'}"
    if size == "negative":
        return f"a request {through} takes less time than in the native loop, which is not for want of Python"
    return f"whether {subject} matters cannot be told ({'; '.join(f'{_why(one)} {_through(one)}' for one in paths)})"


def _through(path: OverheadPath) -> str:
    return f"through {_called(path)}"


def _called(path: OverheadPath) -> str:
    return f"the {path.path}" if path.path.startswith("AOTI") else path.path


def _why(path: OverheadPath) -> str:
    if path.interference is not None:
        return "paths disturb each other"
    if path.share_interval is None:
        return "too few rounds"
    low, high = path.share_interval
    return f"{format_percent(low)} to {format_percent(high)}"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
