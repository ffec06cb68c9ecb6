# SPDX-License-Identifier: Apache-2.0
"""What a user waits for before anything happens: `pyperf-infer --help` against a bare `import click`, and what
`import pyperf_infer.timers` takes beyond `import numpy`. Whole processes, started in turn by the same interpreter.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common import Claim, Ratios, Report, alternate, parser

ROUNDS = 25


def wall_ms(command: Sequence[str]) -> float:
    begin_ns = time.perf_counter_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter_ns() - begin_ns) / 1e6


def imported(module: str) -> list[str]:
    # -P: in the root of a clone the source folder would hide the installed package.
    return [sys.executable, "-P", "-c", f"import {module}"]


def medians(rounds: Sequence[tuple[float, ...]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def compare_help(report: Report) -> None:
    command = [str(Path(sys.executable).with_name("pyperf-infer")), "--help"]
    sides = [lambda: wall_ms(command), lambda: wall_ms(imported("click")), lambda: wall_ms(imported("click"))]
    alternate(sides, 1)  # writes bytecode, fills the page cache
    rounds = alternate(sides, ROUNDS)
    help_ms, click_ms, _ = medians(rounds)
    report.say(f"pyperf-infer --help {help_ms:.1f} ms; import click {click_ms:.1f} ms ({ROUNDS} rounds)")
    report.say(f"import click / import click: {Ratios.of([(again, click) for _, click, again in rounds])}")
    ratios = Ratios.of([(ours, click) for ours, click, _ in rounds])
    report.claim(Claim("pyperf-infer --help / import click", ratios.median, 2.0, spread=ratios.quartiles))


def compare_import(report: Report) -> None:
    sides = [lambda: wall_ms(imported("pyperf_infer.timers")), lambda: wall_ms(imported("numpy"))]
    alternate(sides, 1)
    rounds = alternate(sides, ROUNDS)
    timers_ms, numpy_ms = medians(rounds)
    report.say(f"import pyperf_infer.timers {timers_ms:.1f} ms; import numpy {numpy_ms:.1f} ms ({ROUNDS} rounds)")
    extra = [timers - numpy for timers, numpy in rounds]
    low, _, high = statistics.quantiles(extra, n=4, method="inclusive")
    name = "import pyperf_infer.timers - import numpy"
    report.claim(Claim(name, statistics.median(extra), 15.0, unit="ms", spread=(low, high)))


def main() -> int:
    arguments = parser(__doc__).parse_args()
    report = Report("startup")
    compare_help(report)
    compare_import(report)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
