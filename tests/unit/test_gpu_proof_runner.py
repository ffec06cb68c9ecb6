# SPDX-License-Identifier: Apache-2.0
"""Rows of the GPU proof as processes: what each kind of end becomes, and that none takes others along."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gpu_proof
import pytest
from gpu import process, runner
from gpu.plan import PlannedRow
from gpu.runner import run_planned

if TYPE_CHECKING:
    from gpu.figures import RowResult

    Run = Callable[..., RowResult]

HEAD = """
import os, signal, subprocess, sys, time
from gpu.common import NotYet, run_row
from gpu.figures import at_most, not_yet, shown

def run(row, options):
"""
TAIL = "\n\nsys.exit(run_row(None, run))\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a row whose body is given, with the environment of the rows."""
    monkeypatch.setattr(runner, "WORK", tmp_path / "work")
    monkeypatch.setattr(process, "PATIENCE_S", 0.5)
    path = os.pathsep.join([str(tmp_path), str(gpu_proof.BENCHMARKS)])

    def run_body(body: str, *, timeout_s: float = 30.0, within_s: float = 60.0, whole: str | None = None) -> RowResult:
        indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
        (tmp_path / "made_row.py").write_text(whole or HEAD + indented + TAIL)
        planned = PlannedRow("made", "what it shows", "made_row", 1.0, timeout_s, ("--core",))
        return run_planned(planned, {**os.environ, "PYTHONPATH": path}, within_s=within_s)

    return run_body


def test_a_row_that_passes(run: Run) -> None:
    result = run("row.say('a line')\nrow.add(at_most('a', 1.0, 2.0, 'us'), shown('b', 3.0, 'us'))")
    assert (result.status, result.lines) == ("pass", ("a line",))
    assert [figure.name for figure in result.figures] == ["a", "b"]
    assert result.seconds > 0


def test_a_figure_beyond_its_bound_fails_the_row_and_its_log_is_kept(run: Run) -> None:
    result = run("print('what the log says')\nrow.add(at_most('a', 3.0, 2.0, 'us'))")
    assert result.status == "fail"
    assert "what the log says" in result.lines


def test_a_row_that_is_not_yet_there_says_why(run: Run) -> None:
    result = run("raise NotYet('no monitor here')")
    assert (result.status, result.reason, result.figures) == ("not yet", "no monitor here", ())


def test_figures_that_are_all_not_yet_there_make_a_row_of_that_kind(run: Run) -> None:
    assert run("row.add(not_yet('a', 'no AOTI'))").status == "not yet"


def test_an_exception_keeps_what_there_was(run: Run) -> None:
    result = run("row.add(shown('a', 1.0))\nraise LookupError('nothing found')")
    assert result.status == "fail"
    assert [figure.name for figure in result.figures] == ["a", "the row itself"]
    assert result.figures[1].reason == "LookupError: nothing found"
    assert any("Traceback" in line for line in result.lines)


def test_a_crash_keeps_what_there_was(run: Run) -> None:
    # Ends the process as a crash does, and is none of the signals that a sanitizer takes over.
    result = run("row.add(shown('a', 1.0))\nos.kill(os.getpid(), signal.SIGUSR1)")
    assert result.status == "fail"
    assert result.figures[0].name == "a"
    assert f"signal {signal.SIGUSR1.value}" in result.figures[1].reason


def test_a_row_that_hangs_is_killed_with_what_it_started(run: Run, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"""
row.add(shown('a', 1.0))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, 1); time.sleep(300)'])
open({str(pid_file)!r}, 'w').write(str(child.pid))
time.sleep(300)
"""
    begin = time.monotonic()
    result = run(body, timeout_s=3.0)
    assert time.monotonic() - begin < 30
    assert result.status == "fail"
    assert "did not end within 3 s" in result.figures[-1].reason
    assert result.figures[0].name == "a"
    assert gone(int(pid_file.read_text()))


def gone(pid: int) -> bool:
    """Whether a process ends within a few seconds, or is a corpse that nobody has asked for."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_row_that_the_end_of_the_call_cuts_off_is_left_for_the_next(run: Run) -> None:
    result = run("row.add(shown('a', 1.0))\ntime.sleep(300)", timeout_s=60.0, within_s=2.0)
    assert result.status == "left"
    assert "time of the call" in result.reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('hello')", "gave no figures"),
        ("raise SystemExit(7)", "ended with exit code 7"),
        ("import no_such_module", "ended with exit code 1: ModuleNotFoundError"),
    ],
)
def test_a_program_without_figures_has_failed(run: Run, program: str, reason: str) -> None:
    result = run("", whole=program)
    assert result.status == "fail"
    assert reason in result.figures[-1].reason


def test_the_figures_of_an_earlier_run_are_not_taken_for_this_ones(run: Run) -> None:
    assert run("row.add(shown('a', 1.0))").status == "pass"
    assert run("", whole="print('hello')").status == "fail"
