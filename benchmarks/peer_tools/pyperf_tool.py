# SPDX-License-Identifier: Apache-2.0
"""pyperf: `pyperf timeit` a side, judged by `pyperf compare_to`."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

from peer_tools.trial import Tool, Trial, Verdict, Verdicts, Work, of_three_sides

_RULES: dict[str, tuple[str, ...]] = {
    "pyperf compare_to": (),
    "pyperf compare_to --min-speed 1": ("--min-speed", "1"),
}
_PROCESSES = 5
_VALUES = 3  # its default
_MIN_TIME_SHARE = 1 / 20  # of the budget; loops are doubled until a value takes that, so that it takes up to twice it


class Pyperf(Tool):
    name = "pyperf"
    rules = tuple(_RULES)

    def __init__(self, work: Work, folder: Path) -> None:
        self._work = work
        self._folder = folder
        self._sides = 0

    @staticmethod
    def missing() -> str | None:
        return None if importlib.util.find_spec("pyperf") else "pip install pyperf"

    def options(self, work: Work) -> str:
        return (
            f"timeit --processes {_PROCESSES} --min-time {work.seconds * _MIN_TIME_SHARE:g}, else its defaults "
            f"({_VALUES} values and a warm-up a process)"
        )

    def trial(self, number: int) -> Trial:
        return of_three_sides(self._measure, self._judge, self._work, number)

    def _measure(self, steps: int) -> Path:
        self._sides += 1
        out = self._folder / f"side-{self._sides % 3}.json"
        out.unlink(missing_ok=True)
        arguments = ["--processes", str(_PROCESSES), "--min-time", f"{self._work.seconds * _MIN_TIME_SHARE:g}"]
        setup = "from pyperf_infer import _core"
        self._run("timeit", "-q", *arguments, "-o", str(out), "--name", "work", "-s", setup, f"_core.spin({steps})")
        return out

    def _judge(self, baseline: Path, contender: Path) -> tuple[Verdicts, float]:
        verdicts = {
            rule: verdict_of(self._run("compare_to", *options, str(baseline), str(contender)))
            for rule, options in _RULES.items()
        }
        return verdicts, mean_of(contender.read_text()) / mean_of(baseline.read_text())

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "pyperf", *arguments]
        done = subprocess.run(command, cwd=self._folder, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"pyperf {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def verdict_of(printed: str) -> Verdict:
    """What `pyperf compare_to` of two files with one benchmark says; "no change" is its word for equal means.

    Raises:
        SystemExit: it says something else.
    """
    if "not significant" in printed:
        return "same"
    found = re.search(r": (?:[\d.]+x (faster|slower)|no change)\s*$", printed, re.MULTILINE)
    if found is None:
        raise SystemExit(f"pyperf compare_to printed what is not understood:\n{printed}")
    if found[1] is None:
        return "same"
    return "faster" if found[1] == "faster" else "slower"


def mean_of(document: str) -> float:
    """The mean of all values of the one benchmark in a file of pyperf's, in seconds."""
    (benchmark,) = json.loads(document)["benchmarks"]
    values = [value for run in benchmark["runs"] for value in run.get("values", ())]
    return float(sum(values) / len(values))
