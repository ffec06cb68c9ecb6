# SPDX-License-Identifier: Apache-2.0
"""The rows of the GPU proof that run the command line: they get its document, or say why there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gpu_presence
import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from gpu import product, resnet50, stability
from gpu.bounds import bounds_of
from onnx_graphs import save_scale_model

from pyperf_infer.models.catalog import resolve

QUICK = ("--duration", "0", "--iterations", "10", "--max-duration", "1", "--warmup-ms", "50")


def test_the_document_of_a_run_comes_back(tmp_path: Path) -> None:
    model = save_scale_model(tmp_path / "scale.onnx")
    document = product.pyperf_infer(["run", str(model), *QUICK], timeout_s=120)
    (result,) = document["results"]
    assert result["error"] is None
    assert stability.p50_ms(document, "latency") > 0


def test_a_command_that_is_off_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 2: .*no-such-option"):
        product.pyperf_infer(["run", "resnet18", "--no-such-option"], timeout_s=60)


def test_a_model_that_is_not_there_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: .*no_such_model"):
        product.pyperf_infer(["run", "no_such_model"], timeout_s=60)


def test_a_run_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    model = save_scale_model(tmp_path / "scale.onnx")
    with pytest.raises(subprocess.TimeoutExpired):
        product.pyperf_infer(["run", str(model), "--duration", "50", "--max-duration", "60"], timeout_s=3)


@pytest.mark.skipif(gpu_presence.look().why_none is None, reason="there is a GPU")
@pytest.mark.parametrize("backend", ["torch", "torch-cudagraph"])
def test_the_commands_of_the_rows_are_those_that_the_product_knows(backend: str) -> None:
    command = resnet50.command("float16", (backend,), device=0, core=True)
    with pytest.raises(RuntimeError, match=r"ended with 4: .*no NVIDIA driver"):
        product.pyperf_infer(command, timeout_s=120)
    with pytest.raises(RuntimeError, match=r"ended with 4: .*no NVIDIA driver"):
        product.pyperf_infer([part.format(device=0) for part in stability.COMMAND], timeout_s=120)


def test_bounds_of_a_known_device_are_its_bytes_and_flops_over_its_peaks() -> None:
    model = resolve("resnet50").load(seed=42)
    one = bounds_of(model, 1, "float16", "NVIDIA H100 80GB HBM3", 3.35e12)
    many = bounds_of(model, 32, "float16", "NVIDIA H100 80GB HBM3", 3.35e12)
    # 25.6 million parameters of 2 bytes, and an image; 4.09 billion multiply-accumulates.
    assert one.memory.ms == pytest.approx(1e3 * (2 * 25.56e6 + 2 * 150_528 + 2_000) / 3.35e12, rel=0.01)
    assert one.compute.ms == pytest.approx(1e3 * 2 * 4.09e9 / 989.4e12, rel=0.01)
    assert many.compute.ms == pytest.approx(32 * (one.compute.ms or 0))


def test_bounds_of_an_unknown_device_are_not_invented() -> None:
    unknown = bounds_of(resolve("resnet18").load(seed=42), 1, "float16", "Nobody's GPU", 0.0)
    assert (unknown.memory.ms, unknown.compute.ms) == (None, None)
    assert "not known" in unknown.memory.reason


def test_an_onnxruntime_without_the_provider_says_how_to_give_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "libonnxruntime.so.1.31.1"
    library.touch()
    monkeypatch.setattr("pyperf_infer.ort_session.find_library", lambda: library)
    assert "--ort-capi" in str(product.provider_of_onnxruntime())
    (tmp_path / "libonnxruntime_providers_cuda.so").touch()
    assert product.provider_of_onnxruntime() is None
