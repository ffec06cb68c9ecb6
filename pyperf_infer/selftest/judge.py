# SPDX-License-Identifier: Apache-2.0
"""What a self-test found against the bounds that it is held to.

A share of trials fails where it lies beyond its bound and its whole exact interval does too. Beyond by no more than
chance makes of so few trials, or with so few that one the other way would lie beyond the bound, it is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyperf_infer.results.selftest_schema import SelfTestJudgement
from pyperf_infer.selftest.rates import exact_interval
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.selftest_schema import (
        SelfTestComparisons,
        SelfTestCoverage,
        SelfTestFloor,
        SelfTestPrecision,
        SelfTestTimer,
    )

NO_BOUND = "it has no bound"
MOST_DIFFERENT = 0.05
MOST_UNDECIDED = 0.30
MOST_GATES = 0.01
MOST_WRONG = 0.05
LEAST_FOUND = {0.02: 0.5, 0.05: 0.8}  # in a trial of a second; with more time more is found
LEAST_COVERAGE, COVERAGE_ABOVE_EXACT = 0.93, 0.01
MOST_PRECISION_S = 10.0
MOST_STEP_NS, MOST_OVERHEAD_NS = 100.0, 1000.0


def judge_timer(timer: SelfTestTimer) -> list[SelfTestJudgement]:
    """Its step and cost: a coarse clock makes short calls alike, a dear one makes them long."""
    return [
        _size("timer_step", "timer", "step of the clock", timer.step_ns, "ns", MOST_STEP_NS),
        _size("timer_overhead", "timer", "timing an empty call", timer.overhead_ns, "ns", MOST_OVERHEAD_NS),
    ]


def judge_aa(rows: Sequence[SelfTestComparisons]) -> Iterator[SelfTestJudgement]:
    """Identical work called different, and how often there was no answer."""
    rows = [row for row in rows if row.kind == "A/A"]
    for around, neighbour in (("quiet", False), ("neighbour", True)):
        here = [row for row in rows if row.neighbour == neighbour]
        if not here:
            continue
        where = "beside a busy neighbour" if neighbour else "quiet"
        different = sum(row.faster + row.slower for row in here)
        undecided = sum(row.undecided for row in here)
        trials = sum(row.trials for row in here)
        yield judge_share(
            f"aa_different_{around}",
            "A/A",
            f"identical work called faster or slower, {where}",
            different,
            trials,
            at_most=MOST_DIFFERENT,
        )
        yield judge_share(
            f"aa_undecided_{around}",
            "A/A",
            f"identical work undecided, {where}",
            undecided,
            trials,
            at_most=None if neighbour else MOST_UNDECIDED,
            unbounded="a neighbour may make it impossible to tell, and saying so is right",
        )
    if rows:
        fired, trials = sum(row.gate_fired for row in rows), sum(row.trials for row in rows)
        yield judge_share("aa_gate", "A/A", "gate at identical work fires, all", fired, trials, at_most=MOST_GATES)


def judge_power(rows: Sequence[SelfTestComparisons], margin: float) -> Iterator[SelfTestJudgement]:
    """Work that is slower by a known share: found, undecided, or called the wrong thing."""
    for row in rows:
        if row.kind != "power":
            continue
        by, code = format_percent(row.slow_down), f"{row.slow_down * 100:g}".replace(".", "_")
        beyond = row.slow_down > margin * (1 + 1e-9)
        yield judge_share(
            f"power_found_{code}",
            "power",
            f"slow-down of {by} found",
            row.slower,
            row.trials,
            at_least=LEAST_FOUND.get(row.slow_down),
            unbounded=None if beyond else _AT_THE_MARGIN,
        )
        yield judge_share(
            f"power_undecided_{code}",
            "power",
            f"slow-down of {by} undecided",
            row.undecided,
            row.trials,
        )
        wrong = row.faster + (row.same if beyond else 0)
        called = "same or faster" if beyond else "faster"
        yield judge_share(
            f"power_wrong_{code}", "power", f"slow-down of {by} called {called}", wrong, row.trials, at_most=MOST_WRONG
        )


_AT_THE_MARGIN = "a slow-down no larger than the margin is not beyond it: same and undecided are right answers too"


def judge_coverage(rows: Iterable[SelfTestCoverage]) -> Iterator[SelfTestJudgement]:
    """Intervals that hold the true value: neither too few, nor so many that they are wider than they say."""
    for row in rows:
        name = row.distribution.lower()
        code = "".join(one if one.isalnum() else "_" for one in name).strip("_")
        yield judge_share(
            f"coverage_{code}_p{row.percent:g}",
            "coverage",
            f"intervals of {'the median' if row.percent == 50 else f'p{row.percent:g}'} that hold it, {name}",
            row.covering,
            row.trials,
            at_least=LEAST_COVERAGE,
            at_most=min(1.0, row.exact_share + COVERAGE_ABOVE_EXACT),
        )


def judge_precision(found: SelfTestPrecision) -> list[SelfTestJudgement]:
    """How long 1% took."""
    ci = format_percent(found.ci)
    return [
        _size("time_to_precision", "precision", f"1 ms work to {ci}, median", found.median_s, "s", MOST_PRECISION_S),
        judge_share(
            "precision_converged",
            "precision",
            f"1 ms work reached {ci} within the budget",
            found.converged,
            found.trials,
            at_least=0.5,
        ),
    ]


def judge_floor(found: SelfTestFloor) -> list[SelfTestJudgement]:
    """A property of the machine, which is neither good nor bad."""
    if found.relative_sd is None:
        return []
    return [
        SelfTestJudgement(
            code="floor", part="floor", what="spread between fresh processes", value=found.relative_sd, unit="share",
            count=None, trials=None, interval=None, at_least=None, at_most=None, status="not judged",
            reason="it is the machine's; compare takes it into account",
        )
    ]  # fmt: skip


def judge_share(
    code: str,
    part: Any,
    what: str,
    count: int,
    trials: int,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unbounded: str | None = None,
) -> SelfTestJudgement:
    """A share of trials with its exact interval; `unbounded` says why it has no bound where it has none."""
    share, interval = count / trials, exact_interval(count, trials)
    status, reason = "pass", None
    if at_least is None and at_most is None:
        status, reason = "not judged", unbounded or NO_BOUND
    elif _beyond(share, share, at_least, at_most):
        status = "fail"
        if not _beyond(*interval, at_least, at_most):
            status, reason = "not judged", f"beyond the bound, by no more than chance can make of {trials} trials"
    elif at_least is not None and trials < round(1 / (1 - at_least), 6):
        status, reason = "not judged", _too_few(trials, f"large as {format_percent(at_least)}")
    elif at_most is not None and at_least is None and trials < round(1 / at_most, 6):
        status, reason = "not judged", _too_few(trials, f"small as {format_percent(at_most)}")
    return SelfTestJudgement(
        code=code,
        part=part,
        what=what,
        value=share,
        unit="share",
        count=count,
        trials=trials,
        interval=interval,
        at_least=at_least,
        at_most=at_most,
        status=status,  # type: ignore[arg-type]
        reason=reason,
    )


def _too_few(trials: int, asked: str) -> str:
    return f"{trials} {'trial' if trials == 1 else 'trials'} cannot show a share as {asked}"


def _beyond(low: float, high: float, at_least: float | None, at_most: float | None) -> bool:
    """Whether all from `low` to `high` lies beyond a bound."""
    return (at_least is not None and high < at_least) or (at_most is not None and low > at_most)


def _size(code: str, part: Any, what: str, value: float, unit: Any, at_most: float) -> SelfTestJudgement:
    return SelfTestJudgement(
        code=code,
        part=part,
        what=what,
        value=value,
        unit=unit,
        count=None,
        trials=None,
        interval=None,
        at_least=None,
        at_most=at_most,
        status="pass" if value <= at_most else "fail",
        reason=None,
    )
