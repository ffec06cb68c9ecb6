# SPDX-License-Identifier: Apache-2.0
"""Comparisons whose answer is known, as `pyperf-infer selftest` makes them, kept so that a benchmark can go on."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from resumable import Trials, here_and_now

from pyperf_infer import _core
from pyperf_infer.selftest.neighbour import busy_neighbour, neighbour_cpu
from pyperf_infer.selftest.rates import exact_interval
from pyperf_infer.selftest.records import Trial
from pyperf_infer.selftest.summary import add_up_trials
from pyperf_infer.selftest.trials import run_trial
from pyperf_infer.selftest.work import ns_per_step
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.estimate import CONFIDENCE

if TYPE_CHECKING:
    from common import Report

    from pyperf_infer.selftest.plan import Step

SEED = 42
GATE = 0.03


def state_options(made: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    """--state and --fresh."""
    made.add_argument("--fresh", action="store_true", help="forget the trials that are done")
    made.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / f"pyperf-infer-{name}.jsonl")
    return made


def kept_trials(path: Path, settings: dict[str, Any], *, fresh: bool) -> Trials:
    """Those of an earlier call, and a place for more."""
    fixed = {"seed": SEED, "margin": MARGIN, "confidence": CONFIDENCE, **here_and_now()}
    return Trials(path, {**settings, **fixed}, fresh=fresh)


def run_all(steps: Iterable[Step], trials: Trials) -> list[Trial]:
    """Makes every comparison that is not there yet, in `expected_s` seconds each, and gives all of them."""
    found = [msgspec.convert(one, Trial) for one in trials.done]
    done = {(one.kind, one.work_s, one.slow_down, one.neighbour, one.number) for one in found}
    left = [step for step in steps if step.key not in done]
    step_ns = ns_per_step()
    with ExitStack() as around:
        is_busy = False
        for count, step in enumerate(left, start=len(found) + 1):
            assert step.cell is not None
            if step.cell.neighbour != is_busy:
                around.close()
                is_busy = step.cell.neighbour
                if is_busy:
                    cpu = neighbour_cpu()
                    if cpu is None:
                        raise SystemExit("a neighbour takes a second CPU, and this process may use one only")
                    around.enter_context(busy_neighbour(cpu))
            trial = run_trial(
                step.cell, step.number, step_ns=step_ns, trial_s=step.expected_s, margin=MARGIN, confidence=CONFIDENCE,
                seed=SEED,
            )  # fmt: skip
            trials.add(msgspec.to_builtins(trial))
            found.append(trial)
            if count % 50 == 0:
                print(f"{count} trials done, {len(left) + len(found) - count} in all", flush=True)
    return found


def say_table(report: Report, trials: Sequence[Trial]) -> None:
    """A line for each kind of comparison."""
    report.say("kind   work        slower  neighbour  trials  faster  slower  same  undecided  gate  interval  a trial")
    for row in add_up_trials(trials, GATE):
        width = "-" if row.half_width is None else f"+-{row.half_width:.2%}"
        report.say(
            f"{row.kind:<6} {row.work_us:>8.1f} us {row.slow_down:>6.0%}  {'busy' if row.neighbour else 'quiet':<9}  "
            f"{row.trials:>6}  {row.faster:>6}  {row.slower:>6}  {row.same:>4}  {row.undecided:>9}  "
            f"{row.gate_fired:>4}  {width:>8}  {row.trial_s:.2f} s"
        )
        for reason, count in row.undecided_reasons.items():
            report.say(f"       undecided, {reason}: {count}")


def share_of(count: int, trials: int) -> str:
    """With its exact interval."""
    low, high = exact_interval(count, trials)
    return f"{count} of {trials}: {count / trials:.1%} ({low:.1%} to {high:.1%})"


def clock_line() -> str:
    clock = _core.measure_steady_clock()
    return f"clock {clock.name}, step {clock.step_ns} ns, a read takes {clock.read_cost_ns:.1f} ns"
