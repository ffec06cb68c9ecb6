# SPDX-License-Identifier: Apache-2.0
"""The `selftest` report as columns and notes of plain text. The terminal and the Markdown page lay them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, Tone, without_empty
from pyperf_infer.reports.notes import Note
from pyperf_infer.selftest.judge import NO_BOUND
from pyperf_infer.selftest.rates import exact_interval
from pyperf_infer.units import format_duration_ms, format_duration_ns, format_duration_s, format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import (
        Document,
        SelfTest,
        SelfTestComparisons,
        SelfTestCoverage,
        SelfTestJudgement,
    )

NOT_QUIET_CPUS = 0.1  # a busy process is 1
_TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "not judged": "unsure"}


def outcome(found: SelfTest) -> Note:
    """The whole in one sentence."""
    failed = [one for one in found.judgements if one.status == "fail"]
    passed = sum(one.status == "pass" for one in found.judgements)
    bounded = [one for one in found.judgements if _has_bound(one)]
    open_ones = len(bounded) - passed - len(failed)
    rest = f"; {open_ones} not judged, for too few trials" if open_ones else ""
    unfinished, remedy = "", ""
    if found.steps < found.planned_steps:
        unfinished = f"NOT FINISHED: {found.steps} of {found.planned_steps} steps are done."
        remedy = "The same command goes on from here."
    if failed:
        text = f"FAIL: {len(failed)} of {len(bounded)} figures lie beyond their bounds{rest}."
        return Note("bad", f"{unfinished} {text}".strip(), remedy)
    if unfinished:
        return Note("unsure", unfinished, remedy)
    if not bounded:
        return Note("unsure", "NOT JUDGED: nothing was measured that has a bound.")
    text = f"{passed} of {len(bounded)} figures are within their bounds{rest}."
    missing = sorted({"A/A", "power"} - {one.kind for one in found.comparisons})
    if missing:
        return Note("unsure", f"NOT JUDGED: {' and '.join(missing)} left out; {text}")
    return Note("good", f"PASS: {text}") if passed == len(bounded) else Note("unsure", text)


def figure_columns(found: SelfTest) -> list[Column]:
    """Every figure with its interval, its bound and its verdict; those of the coverage have a table of their own."""
    return _judged([one for one in found.judgements if one.part != "coverage"])


def _judged(rows: Sequence[SelfTestJudgement]) -> list[Column]:
    def column(title: str, cell: Callable[[SelfTestJudgement], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rows), numeric)

    return [
        column("figure", lambda one: Cell(one.what), numeric=False),
        column("value", _value),
        column("of", lambda one: Cell("" if one.trials is None else f"{one.count} of {one.trials}")),
        column("bound", lambda one: Cell(_bound(one))),
        column("verdict", _verdict, numeric=False),
    ]


def comparison_columns(found: SelfTest) -> list[Column]:
    """A/A and power side by side: how often the answer was right, wrong, or none."""
    rows = found.comparisons

    def column(title: str, cell: Callable[[SelfTestComparisons], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rows), numeric)

    def share(
        count: Callable[[SelfTestComparisons], int], tone: Tone = "plain"
    ) -> Callable[[SelfTestComparisons], Cell]:
        return lambda one: _share(count(one), one.trials, tone if count(one) else "plain")

    return without_empty(
        [
            column("work", lambda one: Cell(format_duration_ns(one.work_us * 1e3))),
            column("against", _against, numeric=False),
            column("machine", lambda one: Cell("busy neighbour" if one.neighbour else "quiet"), numeric=False),
            column("trials", lambda one: Cell(str(one.trials))),
            column("right", share(lambda one: _right(one, found.margin))),
            column("wrong", share(lambda one: _wrong(one, found.margin), "bad")),
            column("undecided", share(lambda one: one.undecided)),
            column(f"gate at {format_percent(found.gate)}", share(lambda one: one.gate_fired)),
            column("interval", _half_width),
        ]
    )


def coverage_columns(found: SelfTest) -> list[Column]:
    """How often intervals hold the true value, by distribution and percentile."""
    rows = found.coverage
    statuses = [one for one in found.judgements if one.part == "coverage"]

    def column(title: str, cell: Callable[[SelfTestCoverage], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rows), numeric)

    columns = [
        column("samples", lambda one: Cell(one.distribution), numeric=False),
        column("percentile", lambda one: Cell("median" if one.percent == 50 else f"p{one.percent:g}"), numeric=False),
        column("hold it", lambda one: _share(one.covering, one.trials)),
        column("exact", lambda one: Cell(_percent(one.exact_share))),
        column("trials", lambda one: Cell(str(one.trials))),
        column("samples each", lambda one: Cell(f"{one.mean_samples:.0f}")),
    ]
    if len(statuses) == len(rows):
        columns.append(Column("bound", tuple(Cell(_bound(one)) for one in statuses)))
        columns.append(Column("verdict", tuple(map(_verdict, statuses)), False))
    return columns


def facts(document: Document, found: SelfTest) -> list[tuple[str, str]]:
    """Titles and texts: when, with which settings, and what has no bound."""
    resumed = f"; {found.taken_over} of {found.steps} steps from earlier calls" if found.taken_over else ""
    settings = f"margin {format_percent(found.margin)}, {format_percent(found.confidence)} intervals"
    lines = [
        ("measured", f"{found.first_utc} to {found.last_utc}{resumed}"),
        ("comparison", f"{format_duration_s(found.trial_s)} each, {settings}, seed {found.seed}"),
    ]
    if found.timer is not None:
        lines.append(("clock", f"{found.timer.clock}, one read takes {format_duration_ns(found.timer.read_cost_ns)}"))
    tick = "not known: no work in step with it" if found.timer_tick_us is None else _duration_us(found.timer_tick_us)
    lines.append(("timer tick", tick))
    alone = "none: this process may use one CPU only, and all comparisons are quiet ones"
    lines.append(
        ("neighbour", alone if found.neighbour_cpu is None else f"a process busy on CPU {found.neighbour_cpu}")
    )
    if (fast := found.precision) is not None:
        text = (
            f"{format_duration_s(fast.median_s)} median, {format_duration_s(fast.longest_s)} longest of {fast.trials}"
        )
        lines.append((f"time to {format_percent(fast.ci)}", f"{text}; {fast.median_samples} samples"))
    if (floor := found.floor) is not None:
        spread = "too few for a spread" if floor.relative_sd is None else f"{_percent(floor.relative_sd)} apart"
        ends = f"{format_duration_ms(floor.lowest_ms)} to {format_duration_ms(floor.highest_ms)}"
        kept = "; kept for compare" if floor.kept else ""
        lines.append(("fresh processes", f"{floor.processes}, medians {ends}, {spread}{kept}"))
    if (others := _others_when_quiet(found)) is not None:
        lines.append(("other work", f"others used {others:.2f} CPUs during the quiet comparisons"))
    if reasons := _reasons(found):
        lines.append(("undecided for", reasons))
    phases = [one for one in document.phases if one.seconds >= 0.05]
    if phases:
        lines.append(("wall time", ", ".join(f"{one.name} {format_duration_s(one.seconds)}" for one in phases)))
    return lines


def findings(found: SelfTest) -> list[Note]:
    """What lies beyond its bound, and what could not be judged and why; the worst first."""
    failed = [one for one in found.judgements if one.status == "fail"]
    notes = [Note("bad", f"{one.what}: {_value(one).joined}, and the bound is {_bound(one)}.") for one in failed]
    unjudged: dict[str, list[str]] = {}
    for one in found.judgements:
        if one.reason is not None and _has_bound(one):
            unjudged.setdefault(one.reason, []).append(one.what)
    notes += [Note("unsure", f"Not judged: {'; '.join(whats)}: {reason}.") for reason, whats in unjudged.items()]
    notes += [
        Note("plain", f"No bound for {one.what}: {one.reason}.")
        for one in found.judgements
        if one.reason is not None and not _has_bound(one) and one.reason != NO_BOUND
    ]
    if (others := _others_when_quiet(found)) is not None and others >= NOT_QUIET_CPUS:
        text = f"Others on the machine used {others:.1f} CPUs during the quiet comparisons, which were not quiet then."
        notes.append(Note("unsure", text, "Leave other work off the machine for figures of the machine itself."))
    if found.quick:
        notes.append(
            Note("unsure", "This was a quick self-test: few trials say little.", "Leave --quick out to publish rates.")
        )
    return notes


def _against(row: SelfTestComparisons) -> Cell:
    return Cell("itself" if row.kind == "A/A" else f"{format_percent(row.slow_down)} slower")


def _right(row: SelfTestComparisons, margin: float) -> int:
    """A slow-down within the margin is the same as well as slower."""
    if row.kind == "A/A":
        return row.same
    return row.slower + (row.same if row.slow_down <= margin * (1 + 1e-9) else 0)


def _wrong(row: SelfTestComparisons, margin: float) -> int:
    return row.trials - row.undecided - _right(row, margin)


def _half_width(row: SelfTestComparisons) -> Cell:
    return Cell() if row.half_width is None else Cell(f"\N{PLUS-MINUS SIGN}{_percent(row.half_width)}")


def _reasons(found: SelfTest) -> str:
    counts: dict[str, int] = {}
    for row in found.comparisons:
        for reason, count in row.undecided_reasons.items():
            counts[reason] = counts.get(reason, 0) + count
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{reason} ({count})" for reason, count in ordered)


def _others_when_quiet(found: SelfTest) -> float | None:
    quiet = [row.other_cpus for row in found.comparisons if not row.neighbour and row.other_cpus is not None]
    return median(quiet) if quiet else None


def _share(count: int, trials: int, tone: Tone = "plain") -> Cell:
    low, high = exact_interval(count, trials)
    return Cell(_percent(count / trials), f"({_percent(low)} to {_percent(high)})", tone)


def _verdict(one: SelfTestJudgement) -> Cell:
    return Cell(one.status, tone=_TONES[one.status]) if _has_bound(one) else Cell("no bound", tone="quiet")


def _has_bound(one: SelfTestJudgement) -> bool:
    return one.at_least is not None or one.at_most is not None


def _value(one: SelfTestJudgement) -> Cell:
    if one.unit == "ns":
        return Cell(format_duration_ns(one.value))
    if one.unit == "s":
        return Cell(format_duration_s(one.value))
    detail = "" if one.interval is None else f"({_percent(one.interval[0])} to {_percent(one.interval[1])})"
    return Cell(_percent(one.value), detail)


def _bound(one: SelfTestJudgement) -> str:
    form = {"share": _percent, "s": format_duration_s, "ns": format_duration_ns}[one.unit]
    if one.at_least is not None and one.at_most is not None:
        return f"{form(one.at_least)} to {form(one.at_most)}"
    if one.at_least is not None:
        return f"at least {form(one.at_least)}"
    return "" if one.at_most is None else f"at most {form(one.at_most)}"


def _percent(share: float) -> str:
    """One decimal where it says something: "4.9%", "0%", "95.3%"."""
    return f"{share:.1%}".replace(".0%", "%") if share == 0 or share >= 0.001 else format_percent(share)


def _duration_us(microseconds: float) -> str:
    return format_duration_ns(microseconds * 1e3)
