# SPDX-License-Identifier: Apache-2.0
"""The contrast and the page of the A/A of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from common import Report
from stored_aa import by_iterations, show, write_model


@pytest.mark.parametrize(
    ("first", "second", "apart", "beyond_margin"),
    [
        ((1.00, 1.01), (1.005, 1.02), False, False),
        ((1.00, 1.01), (1.012, 1.02), True, False),
        ((1.00, 1.01), (1.03, 1.04), True, True),
        ((1.03, 1.04), (1.00, 1.01), True, True),
        (None, (1.0, 1.1), False, False),
    ],
)
def test_single_processes_differ_where_their_intervals_lie_apart(
    first: tuple[float, float] | None, second: tuple[float, float], apart: bool, beyond_margin: bool
) -> None:
    assert by_iterations((first, second), 0.0) is apart
    assert by_iterations((first, second), 0.01) is beyond_margin


def pair(verdict: str) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "ratio": 1.0,
        "interval": None if verdict == "undecided" else [0.99, 1.01],
        "medians_ms": [[1.0, 1.01, 1.02], [1.0, 1.01, 1.02]],
        "first_intervals_ms": [[1.0, 1.01], [1.02, 1.03]],
        "walls_s": [10.0, 20.0],
    }


@pytest.mark.parametrize(("wrong", "holds"), [(2, True), (3, False)])
def test_more_than_two_called_different_break_the_bound(wrong: int, holds: bool) -> None:
    report = Report("stored_aa")
    show(report, ["--processes", "5"], [pair("slower")] * wrong + [pair("same"), pair("undecided")])
    (claim,) = report.claims
    assert (claim.value, claim.holds) == (wrong, holds)
    assert any("3.0 s a process" in line for line in report.lines)
    assert any(f"{wrong + 2} of {wrong + 2} do not overlap" in line for line in report.lines)


def test_the_model_is_the_same_every_time_and_runs(tmp_path: Path) -> None:
    import onnxruntime

    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    write_model(first)
    write_model(second)
    assert first.read_bytes() == second.read_bytes()
    session = onnxruntime.InferenceSession(first, providers=["CPUExecutionProvider"])
    (made,) = session.get_inputs()
    assert made.shape == [96, 512]
