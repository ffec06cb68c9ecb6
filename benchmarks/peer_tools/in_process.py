# SPDX-License-Identifier: Apache-2.0
"""Tools that compare two callables in one process: torch.utils.benchmark and ours, each in a process of its own that
stays, because nothing of what they keep goes from one trial to the next.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from common import child

from peer_tools.trial import Found, Tool, Trial, Verdict, Verdicts, Work, of_three_sides
from pyperf_infer import _core

if TYPE_CHECKING:
    from torch.utils.benchmark import Measurement

_FIGURES = "torch.utils.benchmark, figures printed by Compare differ"
_COLOURS = "torch.utils.benchmark, Compare colours one side as best"
_OURS = "pyperf_infer.timers.compare"
_BEST = "\x1b[92m"
_ESCAPES = re.compile(r"\x1b\[\d*m")


class InProcess(Tool):
    """Asks a child process (`serve`) for each trial; as a context manager it ends that process."""

    def __init__(self, work: Work) -> None:
        # In a session of its own: Ctrl-C is for the parent, which closes the pipe.
        self._process = subprocess.Popen(
            child("peers.py", self.name, json.dumps(work)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def trial(self, number: int) -> Trial:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {self.name} has ended with {self._process.wait()}")
        return Trial.from_json(json.loads(answer))


class Torch(InProcess):
    name = "torch.utils.benchmark"
    rules = (_FIGURES, _COLOURS)

    @staticmethod
    def missing() -> str | None:
        return None if importlib.util.find_spec("torch") else "pip install torch"

    def options(self, work: Work) -> str:
        return f"Timer(...).blocked_autorange(min_run_time={work.seconds:g}), else its defaults"


class Ours(InProcess):
    name = "pyperf-infer"
    rules = (_OURS,)

    @staticmethod
    def missing() -> str | None:
        return None

    def options(self, work: Work) -> str:
        return f"timers.compare(f, g, max_duration={2 * work.seconds:g}, seed=number of the pair), else its defaults"


def serve(name: str, work: Work) -> None:
    """Answers each number on standard input with a trial, one JSON line each."""
    trial = {Torch.name: torch_trial, Ours.name: our_trial}[name]
    for line in sys.stdin:
        print(json.dumps(trial(work, int(line)).as_json()), flush=True)


def our_trial(work: Work, number: int) -> Trial:
    """Both sides of a pair have the time that two sides have elsewhere: it interleaves them."""

    def found(contender_steps: int, seed: int) -> Found:
        from pyperf_infer import timers

        begin_ns = time.perf_counter_ns()
        one = timers.compare(
            lambda: _core.spin(work.steps),
            lambda: _core.spin(contender_steps),
            max_duration=2 * work.seconds,
            seed=seed,
        )
        return Found({_OURS: one.verdict}, 1 / one.ratio, (time.perf_counter_ns() - begin_ns) / 1e9)

    return Trial(found(work.steps, 2 * number), found(work.slow, 2 * number + 1))


def torch_trial(work: Work, number: int) -> Trial:
    def measure(steps: int) -> Measurement:
        from torch.utils.benchmark import Timer

        made = Timer(stmt="work()", globals={"work": lambda: _core.spin(steps)}, label="work", description="time")
        return made.blocked_autorange(min_run_time=work.seconds)

    return of_three_sides(measure, judge_by_torch, work, number)


def judge_by_torch(baseline: Measurement, contender: Measurement) -> tuple[Verdicts, float]:
    """Both in one column of a table of torch's: the same unit, and as many digits as the less precise of the two."""
    from dataclasses import replace

    from torch.utils.benchmark import Compare, Measurement

    rows = [
        Measurement(one.number_per_run, one.raw_times, replace(one.task_spec, sub_label=name))
        for one, name in ((baseline, "baseline"), (contender, "contender"))
    ]
    table = Compare(rows)
    table.trim_significant_figures()
    table.colorize()
    return read_table(str(table)), contender.median / baseline.median


def read_table(printed: str) -> Verdicts:
    """What the printed table says of the contender: by its figures, and by which are in the colour of the best."""
    cells: dict[str, str] = {}
    for line in printed.splitlines():
        name, bar, cell = line.partition("|")
        if bar and name.strip() in ("baseline", "contender"):
            cells[name.strip()] = cell
    if len(cells) != 2:
        raise SystemExit(f"torch.utils.benchmark printed what is not understood:\n{printed}")
    mine, other = (float(_ESCAPES.sub("", cells[name])) for name in ("contender", "baseline"))
    by_figures: Verdict = "same"
    if mine != other:
        by_figures = "slower" if mine > other else "faster"
    best = [name for name, cell in cells.items() if _BEST in cell]
    by_colours: Verdict = "same"
    if len(best) == 1:
        by_colours = "slower" if best == ["baseline"] else "faster"
    return {_FIGURES: by_figures, _COLOURS: by_colours}
