# SPDX-License-Identifier: Apache-2.0
"""What the benchmark scripts share: native helpers, fair pairs, claims with bounds, dated records."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
RESULTS = HERE / "results"
COMPILE = ["c++", "-O3", "-DNDEBUG", "-std=c++20", "-Wall", "-Wextra", "-Werror"]


@dataclass(frozen=True)
class Claim:
    """One number with the bound it is held against."""

    name: str
    value: float
    bound: float
    at_most: bool = True
    unit: str = "x"
    spread: tuple[float, float] | None = None  # quartiles of what the value is the median of

    @property
    def holds(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        spread = f" (quartiles {self.spread[0]:.3f} to {self.spread[1]:.3f})" if self.spread else ""
        limit = f"{'at most' if self.at_most else 'at least'} {self.bound:g} {self.unit}"
        return f"{'pass' if self.holds else 'FAIL'}  {self.name}: {self.value:,.4g} {self.unit}{spread}, {limit}"


@dataclass
class Report:
    """Prints as it goes, so that a long run shows what it has; `finish` gives the exit code."""

    script: str
    lines: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def claim(self, claim: Claim) -> None:
        self.claims.append(claim)
        print(claim, flush=True)

    def finish(self, record: bool) -> int:
        if record:
            print(f"recorded in {write_record(self)}")
        return 0 if all(claim.holds for claim in self.claims) else 1


@dataclass(frozen=True)
class Ratios:
    """Ratios of pairs: their median, and quartiles as a measure of how noisy the machine was."""

    median: float
    quartiles: tuple[float, float]

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Ratios:
        """`pairs` are (ours, theirs), each pair measured side by side."""
        ratios = [ours / theirs for ours, theirs in pairs]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(statistics.median(ratios), (low, high))

    def __str__(self) -> str:
        return f"{self.median:.3f} x (quartiles {self.quartiles[0]:.3f} to {self.quartiles[1]:.3f})"


def too_noisy(itself: Ratios, margin: float) -> str | None:
    """What to say where two equal sides lie further apart than the bound allows; the verdict stays what it is."""
    if abs(itself.median - 1) <= margin:
        return None
    return f"two equal sides are {abs(itself.median - 1):.1%} apart: this machine is too busy to tell {margin:.0%}"


def alternate(sides: Sequence[Callable[[], float]], rounds: int) -> list[tuple[float, ...]]:
    """Every side once a round, in the order given and then backwards: neighbours stay neighbours, none is always first.

    Gives one tuple a round, in the order of `sides`.
    """
    results = []
    for number in range(rounds):
        step = 1 if number % 2 == 0 else -1
        results.append(tuple([side() for side in sides[::step]][::step]))
    return results


@contextmanager
def compiled(source: str, *flags: str) -> Iterator[Path]:
    """A program (or library, with -shared) of native/ compiled into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder:
        output = Path(folder) / Path(source).stem
        subprocess.run([*COMPILE, *flags, str(NATIVE / source), "-o", str(output), "-ldl", "-pthread"], check=True)
        yield output


def run_json(command: Sequence[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """The JSON object that a child process prints; its messages on stderr are passed on."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})
    values: dict[str, float] = json.loads(done.stdout)
    return values


def child(script: str, *arguments: str) -> list[str]:
    """A script of this folder, run again as a child with `--child`."""
    return [sys.executable, str(HERE / script), "--child", *arguments]


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--record", action="store_true", help="write the figures to benchmarks/results/, dated")
    made.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return made


def describe_machine() -> dict[str, object]:
    """Hardware, software, load and commit: what has to stand beside a figure."""
    import msgspec

    from pyperf_infer.system.environment import collect

    def first_line(*command: str) -> str:
        done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
        return (done.stdout.splitlines() or [""])[0]

    machine: dict[str, object] = msgspec.to_builtins(collect())
    machine["compiler"] = first_line("c++", "--version")
    machine["load_average"] = os.getloadavg()
    machine["commit"] = first_line("git", "describe", "--always", "--dirty")
    return machine


def write_record(report: Report) -> Path:
    """A JSON file for programs and a Markdown one for people; a second run on the same day replaces the first."""
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{report.script}"
    machine = describe_machine()
    claims = [{**asdict(claim), "holds": claim.holds} for claim in report.claims]
    document = {"script": report.script, "machine": machine, "claims": claims, "lines": report.lines}
    Path(f"{stem}.json").write_text(json.dumps(document, indent=2) + "\n")
    caption = f"{machine['cpu_model']}, {len(os.sched_getaffinity(0))} CPUs, {machine['os']}, {machine['python']}"
    text = [
        f"# {report.script}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "",
        f"{caption}; commit {machine['commit']}; load average {machine['load_average']}",
        "",
        "```text",
        *report.lines,
        *map(str, report.claims),
        "```",
    ]
    Path(f"{stem}.md").write_text("\n".join(text) + "\n")
    return Path(f"{stem}.md")
