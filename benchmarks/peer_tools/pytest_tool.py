# SPDX-License-Identifier: Apache-2.0
"""pytest-benchmark: one pytest process a side, judged by the check behind --benchmark-compare-fail."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from peer_tools.trial import Tool, Trial, Verdict, Verdicts, Work, of_three_sides

_TEST = """from pyperf_infer import _core

def test_work(benchmark):
    benchmark(lambda: _core.spin({steps}))
"""
# Its rule knows one direction, "has become worse"; asked both ways round it says faster, slower or neither.
_CHECKS = {"pytest-benchmark, mean:1%": "mean:1%", "pytest-benchmark, min:1%": "min:1%"}


class PytestBenchmark(Tool):
    name = "pytest-benchmark"
    rules = tuple(_CHECKS)

    def __init__(self, work: Work, folder: Path) -> None:
        self._work = work
        self._folder = folder
        self._check = importlib.import_module("pytest_benchmark.utils").parse_compare_fail

    @staticmethod
    def missing() -> str | None:
        return None if importlib.util.find_spec("pytest_benchmark") else "pip install pytest-benchmark"

    def options(self, work: Work) -> str:
        return f"--benchmark-max-time={work.seconds:g}, else its defaults; a process a side"

    def trial(self, number: int) -> Trial:
        return of_three_sides(self._measure, self.judge, self._work, number)

    def _measure(self, steps: int) -> dict[str, Any]:
        test, out = self._folder / "work_in_pytest.py", self._folder / "side.json"
        test.write_text(_TEST.format(steps=steps))
        out.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin"),
            *(f"--benchmark-max-time={self._work.seconds:g}", f"--benchmark-json={out}", str(test)),
        ]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others only make its start longer
        done = subprocess.run(command, cwd=self._folder, env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"pytest-benchmark ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return stats_of(out.read_text())

    def judge(self, baseline: dict[str, Any], contender: dict[str, Any]) -> tuple[Verdicts, float]:
        verdicts: Verdicts = {}
        for rule, expression in _CHECKS.items():
            check = self._check(expression)
            verdict: Verdict = "same"
            if check.fails(contender, baseline):
                verdict = "slower"
            elif check.fails(baseline, contender):
                verdict = "faster"
            verdicts[rule] = verdict
        return verdicts, contender["mean"] / baseline["mean"]


def stats_of(document: str) -> dict[str, Any]:
    """The statistics of the one benchmark in what --benchmark-json wrote."""
    (benchmark,) = json.loads(document)["benchmarks"]
    stats: dict[str, Any] = benchmark["stats"]
    return stats
