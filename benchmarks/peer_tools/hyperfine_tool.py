# SPDX-License-Identifier: Apache-2.0
"""hyperfine: two commands in one call, judged by the interval that it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from peer_tools.trial import ABOUT_NS, COMMAND_TIMES, Found, Tool, Trial, Verdict, Work

_RULE = "hyperfine, printed ratio +- sigma excludes 1"
_LEAST_RUNS = 10  # its default
_SUMMARY = re.compile(
    r"^\s*'?(?P<faster>\w+)'? ran\s+(?P<ratio>[\d.]+) ± (?P<sigma>[\d.]+) times faster than '?(?P<slower>\w+)'?",
    re.MULTILINE,
)


class Hyperfine(Tool):
    name = "hyperfine"
    rules = (_RULE,)

    def __init__(self, work: Work, program: Path) -> None:
        self._work = work
        self._program = program

    @staticmethod
    def missing() -> str | None:
        return None if shutil.which("hyperfine") else "apt-get install hyperfine"

    def options(self, work: Work) -> str:
        return (
            f"--shell=none --runs {_runs(work)}, else its defaults; a command of {COMMAND_TIMES} times the work, "
            "so that starting it takes a small part"
        )

    def trial(self, number: int) -> Trial:
        return Trial(self._pair(self._work.steps, number), self._pair(self._work.slow, number))

    def _pair(self, contender_steps: int, number: int) -> Found:
        sides = [("baseline", self._work.steps), ("contender", contender_steps)]
        names: list[str] = []
        commands: list[str] = []
        for name, steps in sides if number % 2 == 0 else sides[::-1]:
            names += ["--command-name", name]
            commands.append(f"{self._program} {steps * COMMAND_TIMES}")
        command = ["hyperfine", "--shell=none", "--runs", str(_runs(self._work)), "--style", "basic", *names, *commands]
        begin_ns = time.perf_counter_ns()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wall_s = (time.perf_counter_ns() - begin_ns) / 1e9
        if done.returncode != 0:
            raise SystemExit(f"hyperfine ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        verdict, ratio = read_summary(done.stdout)
        return Found({_RULE: verdict}, ratio, wall_s)


def _runs(work: Work) -> int:
    return max(_LEAST_RUNS, round(work.seconds * 1e9 / (ABOUT_NS * COMMAND_TIMES)))


def read_summary(printed: str) -> tuple[Verdict, float]:
    """The verdict on "contender" and its time over that of "baseline", both of the rounded figures in the summary.

    Raises:
        SystemExit: there is no summary of these two.
    """
    found = _SUMMARY.search(printed)
    if found is None or {found["faster"], found["slower"]} != {"baseline", "contender"}:
        raise SystemExit(f"hyperfine printed what is not understood:\n{printed}")
    ratio, sigma = float(found["ratio"]), float(found["sigma"])
    contender_is_slower = found["slower"] == "contender"
    verdict: Verdict = "same"
    if round(ratio - sigma, 2) > 1:
        verdict = "slower" if contender_is_slower else "faster"
    return verdict, ratio if contender_is_slower else 1 / ratio
