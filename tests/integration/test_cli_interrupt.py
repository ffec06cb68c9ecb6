# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at any moment: exit code 130, no traceback, and what was measured until then is in a file that is named."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_cases
import psutil
import pytest
from command_line import ENDLESS, QUICK, Running
from onnx_graphs import save_scale_model

from pyperf_infer.results.files import load_all_samples, read_document

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document

FACTORY = """
import torch

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x):
        return torch.relu(self.layer(x))

def make():
    return Tiny(), torch.zeros(2, 8)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_scale_model(tmp_path / "scale.onnx")
    onnx_cases.slow(tmp_path / "slow.onnx")
    (tmp_path / "tiny.py").write_text(FACTORY)
    return tmp_path


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Running]:
    command = Running("run", *arguments, cwd=cwd)
    try:
        yield command
    finally:
        command.stop()


def _rescued(folder: Path, err: str) -> Document:
    path = Path("".join(re.search(r"Written to (.*?\.json)", err.replace("\r\n", "")).group(1).split()))  # type: ignore[union-attr]
    assert path.parent == folder / "state" / "pyperf-infer" / "interrupted"
    return read_document(path)


@pytest.mark.parametrize("library", ["_multiarray_umath", "_core.cpython", "libonnxruntime.so"])
def test_while_the_command_starts(folder: Path, library: str) -> None:
    """As soon as numpy, the native core and ONNX Runtime are mapped: in the midst of importing or loading them."""
    with running("scale.onnx", *ENDLESS, cwd=folder) as command:
        command.wait_until_loaded(library)
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert "Interrupted" in done.err


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_while_torch_is_imported(folder: Path, delay_s: float) -> None:
    with running("tiny:make", *ENDLESS, cwd=folder) as command:
        command.wait_until_loaded("libtorch_cpu")
        time.sleep(delay_s)
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert "Interrupted before anything was measured." in done.err


def test_while_measuring_the_samples_so_far_are_saved(folder: Path) -> None:
    with running("slow.onnx", *ENDLESS, "--results-file", "r.json", "--export-samples", "s.csv", cwd=folder) as command:
        command.wait_until_shown("measure:")
        time.sleep(0.3)
        command.press_ctrl_c()
        done = command.finish(code=130)
    document = read_document(folder / "r.json")
    assert document.status == "interrupted"
    (row,) = document.results
    assert row.method.stop is not None
    assert row.method.stop.reason == "interrupted"
    assert not row.method.stop.converged
    (samples,) = load_all_samples(document, folder)
    assert samples is not None
    count = len(samples["latency"])
    assert count >= 5
    assert len((folder / "s.csv").read_text().splitlines()) == count + 1
    assert "INTERRUPTED" in done.out
    assert "Written to r.json" in done.err
    assert not (folder / "state").exists()


def test_without_a_results_file_a_rescue_file_is_named(folder: Path) -> None:
    """The format on standard output stays what was asked for."""
    with running("slow.onnx", *ENDLESS, "--results-format", "json", cwd=folder) as command:
        command.wait_until_shown("measure:")
        command.press_ctrl_c()
        done = command.finish(code=130)
    document = _rescued(folder, done.err)
    assert document.status == "interrupted"
    assert document.results[0].samples is not None
    assert done.document.created_utc == document.created_utc


def test_while_warming_up_nothing_is_lost_because_nothing_is_measured(folder: Path) -> None:
    arguments = ["--warmup-iterations", "1000000", "--results-file", "r.json", "--export-samples", "s.csv"]
    with running("slow.onnx", *arguments, cwd=folder) as command:
        command.wait_until_shown("warm-up:")
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert "Interrupted before anything was measured." in done.err
    document = read_document(folder / "r.json")
    assert (document.status, document.results) == ("interrupted", [])
    assert not (folder / "s.csv").exists()


def test_pressed_again_and_again_until_the_end(folder: Path) -> None:
    """Some hundred thousand samples, so that summarising and writing take a while, and Ctrl-C all the time."""
    with running("scale.onnx", *ENDLESS, "--results-file", "r.json", cwd=folder) as command:
        command.wait_until_shown("measure:")
        time.sleep(1.0)
        for _ in range(400):
            command.press_ctrl_c()
            time.sleep(0.005)
        command.finish(code=130)
    document = read_document(folder / "r.json")
    assert document.status == "interrupted"
    (samples,) = load_all_samples(document, folder)
    assert samples is not None
    assert len(samples["latency"]) > 1000


@pytest.mark.parametrize(
    ("shown", "rows"),
    [("preparing onnxruntime", 0), ("measuring onnxruntime", 1), ("interleave:", 2)],
    ids=["exporting", "the second backend", "interleaving"],
)
def test_rows_that_were_complete_stay(folder: Path, shown: str, rows: int) -> None:
    quick = ["--duration", "0.1", "--max-duration", "1", "--ci", "0.0001%", "--warmup-ms", "20"]
    with running("tiny:make", *quick, "--results-file", "r.json", cwd=folder) as command:
        command.wait_until_shown(shown)
        time.sleep(0.3 if rows == 0 else 0)
        command.press_ctrl_c()
        command.finish(code=130)
    document = read_document(folder / "r.json")
    assert document.status == "interrupted"
    complete = [row for row in document.results if row.method.stop and row.method.stop.reason != "interrupted"]
    assert len(complete) == rows
    assert [row.method.backend for row in complete] == ["torch", "onnxruntime"][:rows]


@pytest.mark.parametrize("backend", ["torch-compile", "torch-aoti"])
def test_while_compiling_the_compiler_ends_too(folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Also what the compiler has started, which outlives it and which Ctrl-C does not reach."""
    compiler, started = folder / "slow-g++", folder / "started"
    compiler.write_text(
        f"""#!/bin/sh
case "$*" in *-dumpversion*|*--version*|*try.cpp*) exec g++ "$@" ;; esac
touch {started}
sleep 120
"""
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with running("tiny:make", "--backend", backend, *QUICK, cwd=folder) as command:
        until = time.monotonic() + 60
        while not started.exists():
            assert command.process.poll() is None, "ended before it compiled"
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.2)
        compilers = psutil.Process(command.process.pid).children(recursive=True)
        assert "sleep" in {one.name() for one in compilers}
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert "Interrupted before anything was measured." in done.err
    assert [one for one in compilers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_command_that_ignores_ctrl_c_from_the_start_goes_on(folder: Path) -> None:
    """As under nohup, or in the background of a script."""
    command = Running(
        "run", "slow.onnx", *QUICK[:-1], cwd=folder, setup=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        command.wait_until_loaded("libonnxruntime.so")
        for _ in range(20):
            command.press_ctrl_c()
            time.sleep(0.01)
        command.finish(code=0)
    finally:
        command.stop()


def test_the_rescue_folder_cannot_be_made(folder: Path) -> None:
    """The table is still printed, and the message says what could not be written."""
    (folder / "state").write_text("a file where the folder should be")
    with running("slow.onnx", *ENDLESS, cwd=folder) as command:
        command.wait_until_shown("measure:")
        command.press_ctrl_c()
        done = command.finish(code=3)
    assert "INTERRUPTED" in done.out
    assert "Cannot write" in done.err


def test_one_that_a_library_swallows_stops_the_run_all_the_same(folder: Path) -> None:
    """As importing torch does at some moments. What fails because of it is no row."""
    (folder / "greedy.py").write_text(
        """
import os, signal, torch

class Greedy(torch.nn.Linear):
    def forward(self, x):
        if torch.compiler.is_exporting():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                raise RuntimeError("half imported")
        return super().forward(x)

def make():
    return Greedy(8, 8), torch.zeros(2, 8)
"""
    )
    with running("greedy:make", *QUICK, "--results-file", "r.json", cwd=folder) as command:
        done = command.finish(code=130)
    assert "Interrupted" in done.err
    document = read_document(folder / "r.json")
    assert (document.status, document.results) == ("interrupted", [])
