# SPDX-License-Identifier: Apache-2.0
"""Runs one row in a process group of its own, with a limit that holds. Standard library alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpu.build import WORK
from gpu.common import last_lines
from gpu.figures import Figure, RowResult, failed, figure_from_json, status_of
from gpu.process import run_group

if TYPE_CHECKING:
    from gpu.plan import PlannedRow

LOG_LINES = 30  # of a row that failed, for whoever reads the page on another machine
_MEANT = (0, 1)
THE_ROW = "the row itself"


def run_planned(row: PlannedRow, environment: Mapping[str, str], *, within_s: float) -> RowResult:
    """Runs it and says what became of it. What it had before it failed or hung is kept.

    A row that was killed since `within_s`, the time of the whole call, was over before its own limit is `left`.
    """
    folder = WORK / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / f"{row.name}.json", folder / f"{row.name}.log"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", row.module, *row.arguments, "--json", str(file)]
    limit_s = min(row.timeout_s, within_s)
    begin = time.monotonic()
    code = run_group(command, environment, log, limit_s)
    seconds = time.monotonic() - begin
    said = log.read_text(errors="replace")
    print(said, end="", flush=True)
    if code is None and limit_s < row.timeout_s:
        why = f"killed after {seconds:.0f} s, when the time of the call was over"
        return RowResult(name=row.name, what=row.what, status="left", reason=why)
    return _result(row, file, code, said, seconds)


def _result(row: PlannedRow, file: Path, code: int | None, said: str, seconds: float) -> RowResult:
    figures, lines, reason = _read(file)
    if code is None:
        figures.append(failed(THE_ROW, f"did not end within {row.timeout_s:g} s and was killed"))
    elif code not in _MEANT:
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        figures.append(failed(THE_ROW, f"ended with {ending}: {last_lines(said, 1)}"))
    elif code == 1 and not any(figure.status == "fail" for figure in figures):
        figures.append(failed(THE_ROW, f"ended with exit code 1: {last_lines(said, 1)}"))
    elif not figures and not reason:
        figures.append(failed(THE_ROW, "gave no figures"))
    status = status_of(figures) if figures else "not yet"
    if status == "fail":
        lines = said.splitlines()[-LOG_LINES:]
    return RowResult(
        name=row.name, what=row.what, status=status, figures=tuple(figures), lines=tuple(lines), reason=reason,
        seconds=round(seconds, 1),
    )  # fmt: skip


def _read(file: Path) -> tuple[list[Figure], list[str], str]:
    """Figures, lines and the reason of a row that is not yet there; nothing where the row wrote nothing."""
    try:
        values = json.loads(file.read_text())
    except FileNotFoundError:
        return [], [], ""
    figures = [figure_from_json(figure) for figure in values["figures"]]
    return figures, list(map(str, values["lines"])), str(values["reason"])
