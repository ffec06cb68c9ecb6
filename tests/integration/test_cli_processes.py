# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer run --processes`, as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_cases
import psutil
import pytest
from command_line import QUICK, Running, run_command
from onnx_graphs import save_scale_model

from pyperf_infer.results.files import load_all_samples, read_document

SHORT = ("--duration", "0.05", "--max-duration", "0.2", "--warmup-ms", "20")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a command that is killed leaves its folder behind
    save_scale_model(tmp_path / "scale.onnx")
    onnx_cases.slow(tmp_path / "slow.onnx")
    return tmp_path


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Running]:
    command = Running("run", *arguments, cwd=cwd)
    try:
        yield command
    finally:
        command.stop()


def test_two_processes_are_one_result(folder: Path) -> None:
    files = ("--results-file", "r.json", "--export-samples", "s.csv")
    done = run_command("run", "scale.onnx", "--processes", "2", *SHORT, "-q", *files, cwd=folder)
    document = read_document(folder / "r.json")
    assert document.status == "complete"
    assert "--processes" in document.command
    assert [one.code for one in document.warnings] == ["few_processes"]
    (row,) = document.results
    assert row.processes is not None
    assert (row.processes.asked, len(row.processes.runs)) == (2, 2)
    assert row.processes.interval_ms is not None
    assert row.processes.relative_sd_between is not None
    (samples,) = load_all_samples(document, folder)
    assert samples is not None
    first, second = np.split(samples["latency"], [row.processes.runs[0].count])
    assert row.processes.runs[1].count == len(second)
    medians_ms = [float(np.quantile(one, 0.5, method="inverted_cdf")) / 1e6 for one in (first, second)]
    assert [one.p50_ms for one in row.processes.runs] == medians_ms
    assert row.processes.p50_ms == pytest.approx((medians_ms[0] * medians_ms[1]) ** 0.5)
    assert len((folder / "s.csv").read_text().splitlines()) == len(samples["latency"]) + 1
    phases = {one.name: one.seconds for one in document.phases}
    assert phases["measure onnxruntime"] >= 0.1
    assert phases["start and end processes"] > 0
    assert "of variance between)" in done.out
    assert "Written to r.json" in done.err


def test_outputs_that_are_no_numbers_give_exit_code_1(folder: Path) -> None:
    onnx_cases.not_a_number(folder / "nan.onnx")
    arguments = ("nan.onnx", "--processes", "2", *QUICK, "--results-format", "json")
    done = run_command("run", *arguments, cwd=folder, code=1)
    assert done.document.results[0].parity is not None
    assert done.document.results[0].parity.status == "invalid"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("scale.onnx", "--processes", "0"), 2, "0 is not in the range"),
        (("scale.onnx", "--processes", "1001"), 2, "1001 is not in the range"),
        (("scale.onnx", "--processes", "2", "--vs", "--opt-level basic"), 2, "--processes"),
        (("gone.onnx", "--processes", "2"), 3, "gone.onnx"),
        (("scale.onnx", "--processes", "2", "--provider", "nowhere"), 4, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_as_without_it(
    folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run_command("run", *arguments, *QUICK, cwd=folder, code=code)
    assert message in done.err


def test_ctrl_c_keeps_what_complete_processes_measured(folder: Path) -> None:
    arguments = ("scale.onnx", "--processes", "1000", *SHORT, "--results-file", "r.json")
    with running(*arguments, cwd=folder) as command:
        command.wait_until_shown("process 2 of 1000")
        children = psutil.Process(command.process.pid).children(recursive=True)
        command.press_ctrl_c()
        done = command.finish(code=130)
    document = read_document(folder / "r.json")
    assert document.status == "interrupted"
    (row,) = document.results
    assert row.processes is not None
    assert row.processes.asked == 1000
    assert 1 <= len(row.processes.runs) < 1000
    assert "INTERRUPTED" in done.out
    _, alive = psutil.wait_procs(children, timeout=60)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_process_ends_with_the_command_that_started_it(folder: Path) -> None:
    """Killed, and not by Ctrl-C: nobody is left to tell it."""
    endless = ("--duration", "100", "--max-duration", "120", "--warmup-ms", "20")
    with running("slow.onnx", "--processes", "2", *endless, cwd=folder) as command:
        command.wait_until_shown("measuring onnxruntime")
        children = psutil.Process(command.process.pid).children(recursive=True)
        command.process.kill()
        command.process.wait()
    assert children
    _, alive = psutil.wait_procs(children, timeout=60)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
