# SPDX-License-Identifier: Apache-2.0
"""The installed command, asked for what it does not do: exit code 2 or 4, one clear message, nothing measured."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from command_line import COMMAND, QUICK, environment, run_command
from onnx_graphs import save_scale_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usage")
    save_scale_model(folder / "scale.onnx")
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "There is no command 'frobnicate'"),
        (["rum", "resnet50"], "Did you mean 'run'?"),
        (["run"], "Missing argument"),
        (["run", "scale.onnx", "--thread", "2"], "No such option '--thread'"),
        (["run", "scale.onnx", "-b", "0"], "0 is not in the range"),
        (["run", "scale.onnx", "-b", "-1"], "-1 is not in the range"),
        (["run", "scale.onnx", "-b", "1" + "0" * 30], "is not in the range"),
        (["run", "scale.onnx", "-b", "two"], "'two' is not a valid integer"),
        (["run", "scale.onnx", "--shape", "1x-4"], "write [name:]sizes"),
        (["run", "scale.onnx", "--shape", "x:1x4", "--shape", "x:2x4"], "given twice"),
        (["run", "scale.onnx", "--mode", "hot"], "'hot' is not one of"),
        (["run", "scale.onnx", "--backend", "tensorrt"], "'tensorrt' is not one of"),
        (["run", "scale.onnx", "--duration", "2", "--max-duration", "1"], "--max-duration 1 is less than --duration 2"),
        (["run", "scale.onnx", "--duration", "nan"], "'nan' is no number of seconds"),
        (["run", "scale.onnx", "--rtol", "-1"], "'-1' is no number"),
        (["run", "scale.onnx", "--percentiles", "101"], "101"),
        (["run", "scale.onnx", "--session-option", "novalue"], "'novalue' is not of the form key=value"),
        (["run", "scale.onnx", "--cpu-affinity", "0-"], "'0-' is no list of CPUs"),
        (["run", "scale.onnx", "--cpu-affinity", "0,9999"], "there is no CPU 9999"),
        (["run", "scale.onnx", "resnet18", "--weights", "w.pth"], "--weights is for one model"),
        (["run", "resnet18", "--backend", "torch-compile", "--compile-mode", "fast"], "'fast' is not one of"),
        (["run", "resnet18", "--compile-mode", "max-autotune"], "--compile-mode max-autotune takes --backend torch-co"),
        (["run", "resnet18", "--backend", "torch-aoti", "--cuda-graph"], "--cuda-graph has no form for torch-aoti"),
        (["run", "scale.onnx", "--results-file", "a", "--export-samples", "./a"], "name the same file"),
        (["run", "scale.onnx", "--results-file", "scale.onnx"], "the results would overwrite it"),
    ],
)
def test_what_is_no_use_of_the_command_is_told_and_ends_with_2(folder: Path, arguments: list[str], said: str) -> None:
    done = run_command(*arguments, cwd=folder, code=2)
    assert said in " ".join(done.err.split())
    assert done.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--provider", "cuda"], "CUDAExecutionProvider"),
        (["--provider", "nowhere"], "provider 'nowhere' is not in this build of ONNX Runtime"),
        (["--device", "mps"], "--device mps is not in this version"),
    ],
)
def test_a_device_or_provider_that_is_not_there_ends_with_4(folder: Path, arguments: list[str], said: str) -> None:
    done = run_command("run", "scale.onnx", *arguments, cwd=folder, code=4)
    assert said in done.err
    assert done.out == ""


def test_an_unknown_model_is_named_with_the_nearest_and_nothing_is_measured(folder: Path) -> None:
    done = run_command("run", "scale.onnx", "resnet51", "--results-file", "r.json", *QUICK, cwd=folder, code=3)
    assert "unknown model 'resnet51' (did you mean resnet50" in done.err
    assert "models list" in done.err
    assert done.out == ""
    assert not (folder / "r.json").exists()


def test_a_file_that_is_not_there_is_named_with_the_nearest(folder: Path) -> None:
    done = run_command("run", "scael.onnx", cwd=folder, code=3)
    assert "scael.onnx: there is no such file (did you mean scale.onnx?)" in done.err


def test_a_hostile_name_is_printed_and_not_obeyed(folder: Path) -> None:
    done = run_command("run", "\x1b[31mred\x07", cwd=folder, code=3)
    assert "\x1b" not in done.err
    assert r"\x1b[31mred" in done.err


def test_debug_shows_where_an_error_comes_from(folder: Path) -> None:
    for arguments in (["--debug", "run", "nothing"], ["run", "nothing", "--debug"]):
        done = run_command(*arguments, cwd=folder, code=3)
        assert "Traceback (most recent call last)" in done.err
        assert "InputError" in done.err


def test_help_and_version_are_no_errors(folder: Path) -> None:
    assert "Example: pyperf-infer run resnet50" in run_command("--help", cwd=folder).out
    assert "--max-duration" in run_command("run", "--help", cwd=folder).out
    assert "pyperf-infer, version" in run_command("-V", cwd=folder).out
    assert "resnet152" in run_command("models", "list", "resnet", cwd=folder).out
    run_command("models", "list", "zzz", cwd=folder, code=3)
    assert "x: float32 batchx4" in run_command("models", "info", "scale.onnx", cwd=folder).out


@pytest.mark.parametrize(("redirection", "code"), [("| head -1", 0), (">/dev/full", 3), (">&-", 0), ("2>&-", 0)])
def test_standard_output_may_be_closed_or_full(folder: Path, redirection: str, code: int) -> None:
    """The results file is written all the same."""
    results = folder / "kept.json"
    results.unlink(missing_ok=True)
    command = f"set -o pipefail; {COMMAND} run scale.onnx {' '.join(QUICK)} --results-file kept.json {redirection}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert results.stat().st_size > 1000
    assert ("standard output cannot be written: No space left" in done.stderr) == (code == 3)
