# SPDX-License-Identifier: Apache-2.0
"""Figures that a row gets from a process of its own: what it had comes back however it ends."""

from __future__ import annotations

import os
from pathlib import Path

import gpu_proof
import pytest
from gpu.common import child_figures, first_line, last_lines, quartiles

PROGRAM = """
import os, signal, sys, time
from gpu.common import run_row
from gpu.figures import shown

def run(row, options):
    row.add(shown("before", 1.0, "us"))
    {body}

sys.exit(run_row(None, run))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(gpu_proof.BENCHMARKS)]))
    return tmp_path


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ("pass", []),
        ("raise LookupError('nothing found')", ["LookupError: nothing found"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", ["ended with -9 and 1 figures: before: 1 us"]),
        ("time.sleep(60)", ["did not end within 2 s and was killed"]),
    ],
)
def test_what_there_was_comes_back_and_a_bad_end_is_a_failed_figure(
    folder: Path, body: str, reasons: list[str]
) -> None:
    (folder / "made_child.py").write_text(PROGRAM.format(body=body))
    first, *rest = child_figures("made_child", "--core", timeout_s=2.0 if "sleep" in body else 60.0)
    assert first.name == "before"
    assert [" ".join(figure.reason.split()) for figure in rest] == reasons
    assert all(figure.status == "fail" for figure in rest)


def test_a_child_without_figures_has_failed(folder: Path) -> None:
    (folder / "made_child.py").write_text("print('hello')\n")
    (figure,) = child_figures("made_child", timeout_s=60.0)
    assert (figure.status, figure.reason) == ("fail", "ended with 0 and 0 figures: hello")


def test_a_child_that_does_not_load_says_why(folder: Path) -> None:
    (folder / "made_child.py").write_text("import no_such_module\n")
    (figure,) = child_figures("made_child", timeout_s=60.0)
    assert figure.status == "fail"
    assert "no_such_module" in figure.reason


def test_lines_of_what_was_said() -> None:
    assert first_line("\n one\ntwo") == "one"
    assert first_line("  \n") == "no reason given"
    assert last_lines("one\n\ntwo\n \n", 1) == "two"
    assert last_lines("", 3) == ""


@pytest.mark.parametrize(("values", "expected"), [([3.0], (3.0, 3.0)), ([1.0, 2.0, 3.0, 4.0, 5.0], (2.0, 4.0))])
def test_quartiles_need_one_value(values: list[float], expected: tuple[float, float]) -> None:
    assert quartiles(values) == expected
