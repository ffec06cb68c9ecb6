# SPDX-License-Identifier: Apache-2.0
"""tests/gpu under pytest, where a test that finds no GPU fails and is not skipped."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from gpu.common import Row, first_line, run_row
from gpu.figures import Figure, at_least, at_most, failed, shown

REPOSITORY = Path(__file__).resolve().parents[2]
_ALONE = ("-o", "addopts=--import-mode=importlib")  # the project's own would start two at a time, by a plugin
_MEANT_FAILURES = (0, 1)  # exit codes of pytest: all passed, or some failed


def figures_of(report: str) -> list[Figure]:
    """What pytest's own report (JUnit XML) says: failures by name, what was skipped and why."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))  # noqa: S314  written a moment ago, by pytest here
    failures, skipped = [], []
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        for child in case:
            if child.tag in ("failure", "error"):
                failures.append(failed(name, first_line(child.get("message") or child.text or ""), "passes"))
            elif child.tag == "skipped":
                skipped.append(shown(f"skipped: {name}", first_line(child.get("message") or "")))
    passed = len(cases) - len({figure.name for figure in failures}) - len(skipped)
    return [
        at_least("tests passed", passed, 1, ""),
        at_most("tests failed", len({figure.name for figure in failures}), 0, ""),
        *failures,
        *skipped,
    ]


def run(row: Row, options: argparse.Namespace) -> None:  # noqa: ARG001  every row is given the options
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-gpu-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "tests/gpu",
            "--require-gpu",
            "-p",
            "no:cacheprovider",
            *_ALONE,
        ]
        # Each test is named before it runs, and goes to this row's log at once: that tells which one hangs.
        done = subprocess.run([*command, "-v", f"--junit-xml={report}"], cwd=REPOSITORY, check=False)
        if done.returncode not in _MEANT_FAILURES or not report.exists():
            row.add(failed("pytest", f"ended with exit code {done.returncode}"))
        if report.exists():
            row.add(*figures_of(report.read_text()))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
