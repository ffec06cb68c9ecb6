# SPDX-License-Identifier: Apache-2.0
"""`--fail-if-slower`: what becomes of a run's exit code, and what is said of it on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyperf_infer.results.schema import Comparison, Document

DONE, FIRED = 0, 1


@contextmanager
def reader_may_go(stream: TextIO) -> Iterator[None]:
    """Within, a reader of `stream` that has gone (`| head -1`) loses what is printed, and the exit code stays.

    Without, the command would end there with 0, as if its gate had passed.
    """
    try:
        yield
        stream.flush()
    except (BrokenPipeError, SystemExit):  # rich makes the one of the other
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # where what is still in the stream's buffer goes then
        os.close(nowhere)


def refuse_ungateable(asked: dict[str, Any]) -> None:
    """Raises UsageError where `--fail-if-slower` is given to a run that compares nothing."""
    if asked["fail_if_slower"] is None:
        return
    if asked["mode"] != "latency":
        raise UsageError(f"--fail-if-slower takes --mode latency; in mode {asked['mode']} nothing is compared")
    files_only = all(name.lower().endswith(".onnx") for name in asked["models"])
    one_backend = len(set(asked["backends"]) - {"all"}) == 1 and "all" not in asked["backends"]
    if not asked["vs"] and (one_backend or (files_only and not asked["backends"])):
        raise UsageError("--fail-if-slower compares, and here is one backend only; add --vs, or a second --backend")


def gated(document: Document, share: float | None, code: int) -> int:
    """`code`, or 1 in place of 0 where a contender is slower by more than `share` with its whole interval.

    Tells on standard error which comparison fired, and which could not be judged. Without a share nothing happens.
    """
    if share is None:
        return code
    if not document.comparisons:
        _say("--fail-if-slower: nothing was compared, so nothing could be judged")
    fired = [_judge(document, one, share) for one in document.comparisons]
    return FIRED if code == DONE and any(fired) else code


def _judge(document: Document, one: Comparison, share: float) -> bool:
    from pyperf_infer.reports.comparisons import comparison_name
    from pyperf_infer.reports.escape import printable
    from pyperf_infer.statistics.gate import gate_clears, gate_fires
    from pyperf_infer.units import format_asked_percent, format_ratio

    asked = f"--fail-if-slower {format_asked_percent(share)}"
    name = comparison_name(document, one)
    if _stands(one):
        if gate_clears(one.interval, share):
            return False
        if one.interval is not None and gate_fires(one.interval, share):
            low, high = map(format_ratio, one.interval)
            message = f"{asked}: {name}: slower, {format_ratio(one.ratio)}x [{low}, {high}], all of it beyond the limit"
            if one.verdict == "same":
                message += f", though within the --margin of {format_asked_percent(one.margin)}"
            _say(printable(message))
            return True
    because = f"its interval reaches across {format_ratio(1 / (1 + share))}x"
    if one.verdict == "undecided":
        because = f"undecided: {one.reason}"
    _say(printable(f"{asked} could not judge {name}: {because}"))
    return False


def _say(text: str) -> None:
    with reader_may_go(sys.stderr):
        click.echo(text, err=True)


def _stands(one: Comparison) -> bool:
    """Whether the interval can be taken as it is; not where something else than its width left the verdict open."""
    from pyperf_infer.statistics.holm import verdict_of

    if one.interval is None or one.verdict != "undecided":
        return one.interval is not None
    return verdict_of(*one.interval, one.margin)[1] == one.reason
