# SPDX-License-Identifier: Apache-2.0
"""Where the installed command writes: formats, places that cannot be written, disks that fill while measuring."""

from __future__ import annotations

import csv
import ctypes
import os
import resource
from pathlib import Path

import onnx_cases
import pytest
from command_line import ENDLESS, QUICK, Running, run_command
from onnx_graphs import save_scale_model

from pyperf_infer.results.files import load_all_samples, read_document

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # prctl(2), capabilities(7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_scale_model(tmp_path / "scale.onnx")
    return tmp_path


def test_json_on_standard_output_is_json_alone(folder: Path) -> None:
    done = run_command("run", "scale.onnx", *QUICK, "--results-format", "json", cwd=folder)
    assert done.document.status == "complete"
    assert done.out.lstrip().startswith("{")


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_a_format_goes_to_the_file_and_the_table_to_standard_output(folder: Path, form: str) -> None:
    arguments = ["--results-file", "r", "--results-format", form, "--export-samples", "s.csv"]
    done = run_command("run", "scale.onnx", "-b", "1", "-b", "2", *QUICK, *arguments, cwd=folder)
    assert "How it was measured" in done.out
    assert "Written to r\n" in done.err
    assert "Written to s.csv\n" in done.err
    begins = {"json": "{", "csv": "model,", "markdown": "#"}[form]
    text = (folder / "r").read_text()
    assert text.startswith(begins) or form != "json"
    assert "scale.onnx" in text
    lines = list(csv.DictReader((folder / "s.csv").open()))
    assert {line["batch_size"] for line in lines} == {"1", "2"}
    assert all(int(line["latency_ns"]) >= 0 for line in lines)
    if form == "json":
        document = read_document(folder / "r")
        kept = load_all_samples(document, folder)
        assert sum(len(one["latency"]) for one in kept if one is not None) == len(lines)


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_a_format_without_a_file_replaces_the_table(folder: Path, form: str) -> None:
    done = run_command("run", "scale.onnx", *QUICK, "--results-format", form, cwd=folder)
    assert "How it was measured" not in done.out or form == "markdown"
    assert done.err == ""
    if form == "csv":
        (row,) = csv.DictReader(done.out.splitlines())
        assert row["model"] == "scale.onnx"


@pytest.mark.parametrize("flag", ["--results-file", "--export-samples"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere/r.json", "The folder is not there"),
        (".", "Name a file"),
        ("scale.onnx/r.json", "A part of the path is a file"),
        ("/dev/full", "it is a device or a pipe"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_anything_is_measured(
    folder: Path, flag: str, place: str, said: str
) -> None:
    done = run_command("run", "scale.onnx", *ENDLESS, flag, place, cwd=folder, code=3)
    assert said in done.err
    assert done.out == ""


def _bound_by_permissions() -> None:
    """Root may write everywhere; the command is to meet a folder that it may not write to."""
    if os.getuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_read_only_folder_is_found_before_anything_is_measured(folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    arguments = ["--results-file", locked / "r.json"]
    done = run_command("run", "scale.onnx", *ENDLESS, *arguments, cwd=folder, setup=_bound_by_permissions, code=3)
    assert "Permission is missing there" in done.err
    assert done.out == ""


def test_a_file_that_may_not_grow_is_found_before_anything_is_measured(folder: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = run_command("run", "scale.onnx", *ENDLESS, "--results-file", "r.json", cwd=folder, setup=small_files, code=3)
    assert "ulimit -f" in done.err
    assert list(folder.glob(".pyperf*")) == []


def test_a_disk_that_fills_while_measuring_loses_nothing(folder: Path) -> None:
    """The file becomes a folder meanwhile: it was writable before, is not any more, and the rescue file is."""
    onnx_cases.slow(folder / "slow.onnx")
    command = Running(
        "run", "slow.onnx", "--duration", "1", "--max-duration", "3", "--results-file", "r.json", cwd=folder
    )
    try:
        command.wait_until_shown("measure:")
        (folder / "r.json").mkdir()
        done = command.finish(code=3)
    finally:
        command.stop()
    assert "Cannot write" in done.err
    assert "p50" in done.out
    (rescued,) = (folder / "state" / "pyperf-infer" / "interrupted").glob("*.json")
    assert f"Written to {rescued}" in done.err
    assert read_document(rescued).status == "complete"


def test_a_failed_run_is_not_hidden_by_samples_that_are_not_there(folder: Path) -> None:
    (folder / "bad.onnx").write_text("no model")
    done = run_command("run", "bad.onnx", *QUICK, "--export-samples", "s.csv", cwd=folder, code=3)
    assert "not an ONNX model" in done.err
    assert "no samples" not in done.err
