# SPDX-License-Identifier: Apache-2.0
"""The flags of a GPU as a user types them: what contradicts itself, and what is said where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from command_line import QUICK, run_command
from fake_cuda import FakeCuda
from onnx_graphs import save_scale_model

from pyperf_infer.results.schema import Document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    save_scale_model(folder / "scale.onnx")
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "tf32"], "--precision tf32: only with --device cuda"),
        (["--cuda-graph"], "--cuda-graph: only with --device cuda"),
        (["--backend", "onnxruntime-cudagraph"], "--backend onnxruntime-cudagraph: only with --device cuda"),
        (["--block-wait", "--cuda-graph"], "--cuda-graph, --block-wait: only with --device cuda"),
        (["--include-transfers"], "--include-transfers: only with --device cuda"),
        (["--profile-range"], "--profile-range: only with --device cuda"),
        (["--conv-search", "heuristic"], "--conv-search heuristic: only with --device cuda"),
        (["--no-gate"], "--no-gate: only with --device cuda"),
        (["--no-poll-gpu"], "--no-poll-gpu: only with --device cuda"),
        (["--streams", "2", "--mode", "throughput"], "--streams: only with --device cuda"),
        (["--device", "cuda", "--streams", "2"], "--streams takes --mode throughput"),
        (["--autocast"], "--autocast takes --precision float16 or bfloat16"),
        (["--device", "cuda", "--autocast"], "--autocast takes --precision float16 or bfloat16"),
        (["--device", "cuda", "--provider", "cpu"], "--provider cpu contradicts --device cuda"),
        (["--device", "gpu"], "'gpu' is no device; it can be cpu, cuda or cuda:N"),
        (["--device", "cuda:-1"], "'cuda:-1' is no device"),
        (["--streams", "0"], "0 is not in the range"),
    ],
)
def test_flags_that_contradict_each_other_end_with_2(folder: Path, arguments: list[str], said: str) -> None:
    done = run_command("run", "scale.onnx", *arguments, cwd=folder, code=2)
    assert said in " ".join(done.err.split())
    assert done.out == ""


def test_what_the_cpu_has_by_default_is_no_contradiction_when_it_is_typed_out(folder: Path) -> None:
    typed = ("--conv-search", "exhaustive", "--gate", "--poll-gpu", "--spin-wait", "--no-cuda-graph", "--streams", "1")
    done = run_command("run", "scale.onnx", *typed, *QUICK, cwd=folder)
    assert "onnxruntime" in done.out


def test_the_help_tells_what_exit_code_1_stands_for(folder: Path) -> None:
    said = " ".join(run_command("run", "--help", cwd=folder).out.split())
    assert "1 outputs differ or are no numbers, a time is impossible, or --fail-if-slower fired; 2 usage" in said


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("/nowhere/libcuda.so.1", "there is no NVIDIA driver here: /nowhere/libcuda.so.1 does not load"),
        ("libm.so.6", "libm.so.6 is no CUDA driver"),
    ],
)
def test_without_a_driver_it_is_said_what_is_missing(folder: Path, library: str, said: str) -> None:
    env = {"PYPERF_INFER_LIBCUDA": library}
    done = run_command("run", "scale.onnx", "--device", "cuda", "--results-file", "r.json", cwd=folder, env=env, code=4)
    assert said in done.err
    assert done.out == ""
    assert not (folder / "r.json").exists()


def test_a_gpu_that_is_not_there_is_said_with_those_that_are(folder: Path) -> None:
    with FakeCuda.loaded() as fake:
        env = {"PYPERF_INFER_LIBCUDA": str(fake.path)}
    done = run_command("run", "scale.onnx", "--device", "cuda:7", cwd=folder, env=env, code=4)
    assert "there is no GPU 7; this process sees 2, numbers 0 to 1" in done.err


def test_mode_cold_on_the_cpu_flushes_the_caches_and_says_so(folder: Path) -> None:
    arguments = ("--mode", "cold", "--results-format", "json", "--results-file", "cold.json")
    done = run_command("run", "scale.onnx", *arguments, *QUICK, cwd=folder)
    assert "cold p50" in done.out
    (row,) = msgspec.json.decode((folder / "cold.json").read_bytes(), type=Document).results
    assert row.method.mode == "cold"
    flushed = row.method.settings["cache_flush_bytes"]
    assert isinstance(flushed, int)
    assert flushed > 2**20
    assert row.summary.latency is not None
    assert row.summary.throughput_per_s is None
