# SPDX-License-Identifier: Apache-2.0
"""The `overhead` report as columns and notes of plain text. The terminal and the Markdown report lay them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyperf_infer.overhead.sentence import sentence_of
from pyperf_infer.reports.cells import Cell, Column, without_empty
from pyperf_infer.reports.notes import Note
from pyperf_infer.statistics.difference import size_of_share
from pyperf_infer.units import format_duration_ns, format_duration_s, format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Overhead, OverheadPath

_COPIES = "session.run"


def overhead_title(overhead: Overhead) -> str:
    """Which request it is."""
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in overhead.shapes.items())
    return f"{overhead.model}, batch {overhead.batch_size}: {shapes} {overhead.precision}".strip()


def overhead_columns(overhead: Overhead) -> list[Column]:
    """A row for each path."""
    rows = overhead.paths

    def column(title: str, cell: Callable[[OverheadPath], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rows), numeric)

    columns = [
        column("runtime", lambda one: Cell(one.runtime), numeric=False),
        column("path", lambda one: Cell(one.path, tone="bad" if one.failed else "plain"), numeric=False),
        column("a request", _request),
        column("beyond the native loop", _difference),
        column("of the request", _share),
        column("which is", _which_is, numeric=False),
        column("alone", lambda one: Cell() if one.alone_us is None else Cell(_microseconds(one.alone_us))),
        column("what a call does", lambda one: Cell(one.does), numeric=False),
    ]
    if any(one.process == "own" for one in rows):
        columns.append(column("process", lambda one: Cell(one.process), numeric=False))
    return without_empty(columns)


def conclusion(document: Document) -> str:
    """What it means for the user, over all batch sizes."""
    return sentence_of(document.overheads)


def overhead_notes(overhead: Overhead) -> list[Note]:
    """What the table does not say by itself, the worst first."""
    return [
        *_failures(overhead),
        *_interferences(overhead),
        *_no_intervals(overhead),
        *_undecided(overhead),
        *_remarks(overhead),
        *_agreement(overhead),
    ]


def explanations(document: Document) -> list[Note]:
    """What the columns mean, for the paths that have figures in them."""
    paths = [path for overhead in document.overheads for path in overhead.paths if path.difference_us is not None]
    if not paths:
        return []
    notes = [
        Note(
            "plain",
            "Beyond the native loop: what a request takes longer than in that loop of the same runtime in the same "
            "round; the median over the rounds, and its interval.",
        )
    ]
    if any(one.path == _COPIES for one in paths):
        copied = any(one.path == _COPIES and not one.same_code for one in paths)
        more = ", and copies inputs to the GPU and outputs back" if copied else ""
        notes.append(Note("plain", f"session.run makes its outputs anew in every call{more}: that is in its figure."))
    others = list(dict.fromkeys(one.path for one in paths if not one.same_code and one.path != _COPIES))
    if others:
        runs = "runs" if len(others) == 1 else "run"
        notes.append(
            Note(
                "plain",
                f"{' and '.join(others)} {runs} other kernels, handed over in another way than the package that the "
                "AOTI paths call: what is beyond the native loop is not Python's alone.",
            )
        )
    return notes


def overhead_facts(document: Document) -> list[tuple[str, str]]:
    """Titles and texts of how it was measured."""
    listed = document.overheads
    if not listed:
        return []
    first = listed[0]
    rounds = "; ".join(
        f"{one.rounds}{f' at batch {one.batch_size}' if len(listed) > 1 else ''} ({one.stop_reason}; "
        f"{one.discarded_calls} calls thrown away after switching)"
        for one in listed
    )
    budgets = ", ".join(dict.fromkeys(format_duration_s(one.max_duration_s) for one in listed))
    asked = f"\N{PLUS-MINUS SIGN}{format_percent(first.ci)} within {budgets}"
    weights = f"random (seed {first.seed})" if first.weights_source == "random" else first.weights_source
    loops = {one.loop: None for overhead in listed for one in overhead.paths}
    return [
        ("loop", " or ".join(loops)),
        ("device", first.device),
        ("threads", str(first.threads)),
        ("rounds", rounds),
        ("interval", f"{format_percent(first.confidence)} of the median over the rounds, of ratios asked for {asked}"),
        ("margin", f"{format_percent(first.margin)}: a share whose interval lies below does not matter"),
        ("weights", f"{weights} (SHA-256 {first.weights_sha256[:12]})"),
        ("seed", str(first.seed)),
    ]


def _request(path: OverheadPath) -> Cell:
    if path.failed is not None:
        return Cell("failed", tone="bad")
    return Cell("not timed", tone="unsure") if path.p50_us is None else Cell(_microseconds(path.p50_us))


def _difference(path: OverheadPath) -> Cell:
    if path.difference_us is None:
        return Cell()
    if path.loop == "native":
        return Cell("baseline", tone="quiet")
    detail = ""
    if path.difference_interval_us is not None:
        low, high = path.difference_interval_us
        detail = f"({_microseconds(low)} to {_microseconds(high)})"
    return Cell(f"{'+' * (path.difference_us > 0)}{_microseconds(path.difference_us)}", detail)


def _share(path: OverheadPath) -> Cell:
    if path.share is None or path.loop == "native":
        return Cell()
    detail = ""
    if path.share_interval is not None:
        low, high = path.share_interval
        detail = f"({_percent(low)} to {_percent(high)})"
    return Cell(_percent(path.share), detail, tone="plain" if path.same_code else "quiet")


def _which_is(path: OverheadPath) -> Cell:
    if path.difference_us is None or path.loop == "native":
        return Cell()
    return Cell("Python") if path.same_code else Cell("Python and more", tone="quiet")


def _microseconds(value: float) -> str:
    return format_duration_ns(value * 1e3)


def _percent(share: float) -> str:
    """One decimal, so that a narrow interval does not look like none."""
    return f"{share:.1%}" if abs(share) >= 0.01 else format_percent(share)


def _failures(overhead: Overhead) -> list[Note]:
    """Each reason once, with the paths that it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for one in overhead.paths:
        if one.failed is not None:
            about.setdefault((one.runtime, one.failed), []).append(one.path)
    return [
        Note("bad", f"batch {overhead.batch_size}, {runtime} {', '.join(paths)} failed: {reason}")
        for (runtime, reason), paths in about.items()
    ]


def _interferences(overhead: Overhead) -> list[Note]:
    return [
        Note(
            "unsure",
            f"batch {overhead.batch_size}, {one.runtime} {one.path}: paths disturb each other: what is beyond the "
            f"native loop is {one.interference}.",
            "Name one --backend, or leave other work off the machine.",
        )
        for one in overhead.paths
        if one.interference is not None
    ]


def _no_intervals(overhead: Overhead) -> list[Note]:
    timed = sum(one.alone_us is not None for one in overhead.paths) > 1  # one alone has no turns, however long it gets
    without = [one for one in overhead.paths if one.difference_us is not None and one.difference_interval_us is None]
    if not without and (overhead.rounds or not timed):
        return []
    return [
        Note(
            "unsure",
            f"batch {overhead.batch_size}: {overhead.rounds} rounds are too few for an interval.",
            _MORE_TIME,
        )
    ]


_MORE_TIME = "Give it a longer --max-duration, or name one --backend."


def _undecided(overhead: Overhead) -> list[Note]:
    paths = [
        one.path
        for one in overhead.paths
        if one.same_code
        and one.loop != "native"
        and one.interference is None
        and one.share_interval is not None
        and size_of_share(one.share_interval, overhead.margin) == "unknown"
    ]
    if not paths:
        return []
    reach = "interval reaches" if len(paths) == 1 else "intervals reach"
    text = f"batch {overhead.batch_size}, {', '.join(paths)}: the {reach} across the margin of "
    return [Note("unsure", f"{text}{format_percent(overhead.margin)}.", _MORE_TIME)]


def _remarks(overhead: Overhead) -> list[Note]:
    """Each once, with the paths that it is about."""
    about: dict[str, list[str]] = {}
    for one in overhead.paths:
        for remark in one.remarks:
            about.setdefault(remark, []).append(one.path)
    return [
        Note("unsure", f"batch {overhead.batch_size}, {', '.join(paths)}: {remark}") for remark, paths in about.items()
    ]


def _agreement(overhead: Overhead) -> list[Note]:
    checked = [one for one in overhead.paths if one.parity is not None]
    equal = [one for one in checked[1:] if one.parity == "equal"]
    if not equal:
        return []
    paths = f"{len(equal)} other {'path agrees' if len(equal) == 1 else 'paths agree'}"
    return [Note("good", f"batch {overhead.batch_size}: the outputs of {paths} with those of {checked[0].path}")]
