# SPDX-License-Identifier: Apache-2.0
"""What the rows of the GPU proof share: each is a program that prints figures as it goes and writes them as JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from gpu.figures import Figure, failed, figure_from_json, status_of
from gpu.process import run_group

NO_GPU = 4  # as in the command line of the package: a device that is not there


class NotYet(Exception):  # noqa: N818  no error: a state of the row
    """The row cannot be had here: a part of the product has not landed, or a package is missing. Says which."""


class Row:
    """Prints figures and lines as they come, so that a row that fails or is killed has shown what it had."""

    def __init__(self, file: Path | None = None) -> None:
        self.figures: list[Figure] = []
        self.lines: list[str] = []
        self._file = file

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)
        self.write()

    def add(self, *figures: Figure) -> None:
        for figure in figures:
            self.figures.append(figure)
            print(figure, flush=True)
        self.write()

    def write(self, reason: str = "") -> None:
        """What there is so far, at once under its name, so that whoever reads never sees half of it."""
        if self._file is None:
            return
        part = self._file.with_name(self._file.name + ".part")
        figures = [asdict(figure) for figure in self.figures]
        part.write_text(json.dumps({"reason": reason, "lines": self.lines, "figures": figures}) + "\n")
        part.replace(self._file)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Of a row's program."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--core", action="store_true", help="the short form, for a first look")
    made.add_argument("--json", type=Path, help="write the figures to this file too")
    made.add_argument("--device", type=int, default=0, help="index of the GPU, as CUDA counts [default: 0]")
    return made


def run_row(
    description: str | None,
    run: Callable[[Row, argparse.Namespace], None],
    arguments: Sequence[str] | None = None,
    made: argparse.ArgumentParser | None = None,
) -> int:
    """Runs a row and gives its exit code: 1 where a figure failed or the row raised, else 0.

    An exception is a failed figure beside those there were, and its traceback stands on stderr.
    """
    options = (made or parser(description)).parse_args(arguments)
    row = Row(options.json)
    try:
        run(row, options)
    except NotYet as why:
        print(f"not yet: {why}", flush=True)
        row.write(reason=str(why))
        return 0
    except Exception as error:  # the row failed, and the others must run
        traceback.print_exc()
        row.add(failed("the row itself", f"{type(error).__name__}: {first_line(str(error))}"))
    return 1 if status_of(row.figures) == "fail" else 0


def first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]


def child_figures(module: str, *arguments: str, timeout_s: float) -> list[Figure]:
    """The figures of another module of this folder, from a process of its own that takes nobody along when it ends.

    What it had until it failed or the time was up comes back too, with a failed figure that says so.
    """
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-gpu-") as folder:
        file, log = Path(folder) / "figures.json", Path(folder) / "log"
        command = [sys.executable, "-P", "-m", module, *arguments, "--json", str(file)]
        code = run_group(command, os.environ, log, timeout_s)
        said = log.read_text(errors="replace")
        found = [figure_from_json(one) for one in json.loads(file.read_text())["figures"]] if file.exists() else []
    print(said, end="", flush=True)
    if code is None:
        return [*found, failed(module, f"did not end within {timeout_s:g} s and was killed")]
    if code not in (0, 1) or not found:
        return [*found, failed(module, f"ended with {code} and {len(found)} figures: {last_lines(said, 1)}")]
    return found


def last_lines(text: str, count: int) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third, between the samples where there is none. At least one value."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def median_of(values: Sequence[float]) -> float:
    return float(statistics.median(values))
