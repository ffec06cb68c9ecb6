# SPDX-License-Identifier: Apache-2.0
"""How often timing tools call identical work different (A/A), and how often they find a slow-down of 2%:
pytest-benchmark, torch.utils.benchmark, pyperf, hyperfine and ours, each from its package, by its own rule, on the same
native work.

A trial is one pair that is alike and one whose contender is slower. The tools take turns, trial by trial, in an order
that moves on, so that what the machine does meets all of them alike. Each side has --seconds of work, as near as a
tool's options come. Trials are kept in a file as they are done: broken off (--minutes, Ctrl-C), the run goes on where
it was when it is started again.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common import Report, compiled, parser
from peer_tools.hyperfine_tool import Hyperfine
from peer_tools.in_process import InProcess, Ours, Torch, serve
from peer_tools.pyperf_tool import Pyperf
from peer_tools.pytest_tool import PytestBenchmark
from peer_tools.table import render, tally
from peer_tools.trial import ABOUT_NS, SLOWER, Tool, Trial, Work
from resumable import Trials, here_and_now

PAIRS = 100
SECONDS = 0.5
TOOLS: dict[str, type[Tool]] = {kind.name: kind for kind in (PytestBenchmark, Torch, Pyperf, Hyperfine, Ours)}


def refuse_missing(names: list[str]) -> None:
    missing = {name: how for name in names if (how := TOOLS[name].missing())}
    if missing:
        how = "\n".join(f"  {name}: {command}" for name, command in missing.items())
        raise SystemExit(f"not installed:\n{how}\n--tools names those to run without")


def version_of(name: str) -> str:
    if name == Hyperfine.name:
        return subprocess.run(["hyperfine", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return importlib.metadata.version("torch" if name == Torch.name else name)


def make(name: str, work: Work, held: ExitStack) -> Tool:
    kind = TOOLS[name]
    if issubclass(kind, InProcess):
        return held.enter_context(kind(work))
    if kind is Hyperfine:
        return Hyperfine(work, held.enter_context(compiled("spin_steps.cpp")))
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pyperf-infer-peers-")))
    return PytestBenchmark(work, folder) if kind is PytestBenchmark else Pyperf(work, folder)


def settings_of(names: list[str], seconds: float) -> dict[str, Any]:
    versions = {name: version_of(name) for name in names}
    return {"seconds": seconds, "slower": SLOWER, "versions": versions, **here_and_now()}


def steps_of(trials: Trials, seconds: float) -> Work:
    """The work of the trials that are there, or newly calibrated: all of a run have the same."""
    if trials.done:
        return Work.of(trials.done[0]["steps"], seconds)
    return Work.calibrated(seconds)


def run_trials(tools: list[Tool], trials: Trials, work: Work, pairs: int, minutes: float | None) -> bool:
    """Runs what is not done yet; whether all is done then."""
    until = None if minutes is None else time.monotonic() + 60 * minutes
    done = {(trial["tool"], trial["pair"]) for trial in trials.done}
    for number in range(pairs):
        turn = number % len(tools)
        for tool in tools[turn:] + tools[:turn]:
            if (tool.name, number) in done:
                continue
            if until is not None and time.monotonic() > until:
                return False
            trial = tool.trial(number)
            trials.add({"tool": tool.name, "pair": number, "steps": work.steps, **trial.as_json()})
        print(f"\r{number + 1}/{pairs} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return True


def show(report: Report, tools: list[Tool], trials: Trials, work: Work, pairs: int) -> None:
    versions = trials.settings["versions"]
    report.say(
        f"work: _core.spin({work.steps}), about {ABOUT_NS / 1e6:.1f} ms; slower: _core.spin({work.slow}); "
        f"{work.seconds:g} s a side, {2 * work.seconds:g} s a pair"
    )
    for tool in tools:
        report.say(f"{tool.name} {versions[tool.name]}: {tool.options(work)}")
    rows = []
    for tool in tools:
        own = [
            Trial.from_json({key: trial[key] for key in ("alike", "slower")})
            for trial in trials.done
            if trial["tool"] == tool.name and trial["pair"] < pairs
        ]
        rows += [tally(rule, own) for rule in tool.rules if own]
    for line in render(rows, SLOWER):
        report.say(line)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=PAIRS, help=f"of each kind for each tool ({PAIRS})")
    made.add_argument("--seconds", type=float, default=SECONDS, help=f"of work a side ({SECONDS:g})")
    made.add_argument("--minutes", type=float, help="break off after so long; the next call goes on")
    made.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS), help="some of them only")
    made.add_argument("--fresh", action="store_true", help="forget the trials that are done")
    made.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "pyperf-infer-peers.jsonl")
    arguments = made.parse_args()
    if arguments.child:
        name, work = arguments.child
        serve(name, Work(*json.loads(work)))
        return 0
    if arguments.pairs < 1 or not 0.1 <= arguments.seconds <= 60:
        made.error("--pairs is at least 1, --seconds from 0.1 to 60")
    if arguments.record and (arguments.pairs < PAIRS or set(arguments.tools) != set(TOOLS)):
        made.error(f"--record is for all tools and at least {PAIRS} pairs")
    refuse_missing(arguments.tools)
    report = Report("peers")
    trials = Trials(arguments.state, settings_of(arguments.tools, arguments.seconds), fresh=arguments.fresh)
    work = steps_of(trials, arguments.seconds)
    with ExitStack() as held:
        tools = [make(name, work, held) for name in TOOLS if name in arguments.tools]
        try:
            whole = run_trials(tools, trials, work, arguments.pairs, arguments.minutes)
        except KeyboardInterrupt:
            whole = False
    show(report, tools, trials, work, arguments.pairs)
    if not whole:
        print(f"broken off; the same command goes on from {arguments.state}")
        return 3
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
