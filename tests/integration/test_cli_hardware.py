# SPDX-License-Identifier: Apache-2.0
"""The installed `pyperf-infer hardware`: models on devices that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_documents
import onnx_cases
import pytest
from command_line import run_command

from pyperf_infer.results.files import write_document

BOX = """
gpus: 2
memory: 1 GB
bandwidth: 100 GB/s
interconnect_bandwidth: 32 GB/s
float32: 10 TFLOP/s
float16: 20 TFLOP/s
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hardware")
    onnx_cases.slow(folder / "slow.onnx", width=64, layers=2)
    (folder / "box.yaml").write_text(BOX)
    return folder


def rows(folder: Path, *arguments: str) -> list[dict]:  # type: ignore[type-arg]
    done = run_command("hardware", "slow.onnx", *arguments, "--results-format", "json", cwd=folder)
    found: list[dict] = json.loads(done.out)  # type: ignore[type-arg]
    return found


def test_the_time_is_that_of_the_figures(folder: Path) -> None:
    (row,) = rows(folder, "--device", "box.yaml")
    # Two products of 64 x 64 x 64; the 3 x 16 KiB of each take longer at 100 GB/s than they at 10 TFLOP/s.
    assert row["time_ms"] == pytest.approx(2 * 3 * 64 * 64 * 4 / 100e9 * 1e3)
    assert row["kind"] == "modelled, not measured"
    assert row["memory_needed_bytes"] == 64 * 64 * 4 * (1 + 2)
    assert (row["fits"], row["compute_bound_share"]) == (True, 0.0)
    assert row["largest_batch"] == pytest.approx((1e9 - 64 * 64 * 4) / (2 * 64 * 64 * 4), rel=1e-3)
    assert [one["gpus"] for one in row["scaling"]] == [2]


def test_half_the_precision_moves_half_the_bytes(folder: Path) -> None:
    full, half = (rows(folder, "--device", "box.yaml", "--precision", one)[0] for one in ("float32", "float16"))
    assert half["time_ms"] == pytest.approx(full["time_ms"] / 2)
    assert half["memory_needed_bytes"] == full["memory_needed_bytes"] / 2


def test_devices_and_batches_stand_side_by_side(folder: Path) -> None:
    arguments = ["-b", "1", "-b", "8", "--device", "box.yaml", "--device", "H200", "--gpus", "4", "--per-layer"]
    found = rows(folder, *arguments)
    assert [(row["device"], row["batch_size"]) for row in found] == [
        ("box", 1), ("H200 SXM", 1), ("box", 8), ("H200 SXM", 8)
    ]  # fmt: skip
    assert all(sum(one["time_ms"] for one in row["kernels"]) == pytest.approx(row["time_ms"]) for row in found)
    table = run_command("hardware", "slow.onnx", *arguments, cwd=folder).out
    assert "Modelled, not measured" in table
    assert "Split over several (modelled)" in table
    assert "\nH200 SXM, batch 8 (modelled)\n" in table
    assert "\\n" not in table
    assert "Figures of H200 SXM: NVIDIA H200" in " ".join(table.split())


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_other_formats_say_that_it_is_a_model(folder: Path, form: str) -> None:
    done = run_command("hardware", "slow.onnx", "--device", "H200", "--results-format", form, cwd=folder)
    assert "odelled, not measured" in done.out


def test_a_measured_run_stands_beside_it(folder: Path) -> None:
    on_h200 = gpu_documents.gpu_method(device_name="NVIDIA H200")
    results = [gpu_documents.gpu_result(p50_ms=p50_ms, method=on_h200) for p50_ms in (0.9, 0.8)]
    for one in results:
        one.subject.model, one.subject.shapes = "slow.onnx", {"x0": [1, 64, 64]}
    write_document(gpu_documents.gpu_document(results), folder / "run.json")
    (row,) = rows(folder, "--device", "H200", "--measured", "run.json")
    assert row["measured_ms"] == 0.8
    assert row["measured_over_modelled"] == pytest.approx(row["measured_ms"] / row["time_ms"])
    other = run_command("hardware", "slow.onnx", "-b", "2", "--device", "H200", "--measured", "run.json", cwd=folder)
    assert "run.json holds no row of this model" in other.err


def test_a_shape_says_all_but_how_many(folder: Path) -> None:
    (row,) = rows(folder, "--device", "box.yaml", "--shape", "4x64x64", "--gpus", "2")
    assert row["batch_size"] == 4
    assert row["largest_batch"] == rows(folder, "--device", "box.yaml")[0]["largest_batch"]
    assert [one["gpus"] for one in row["scaling"]] == [2]


def test_a_results_file_is_none_of_what_is_read(folder: Path) -> None:
    for name in ("slow.onnx", "box.yaml"):
        before = (folder / name).read_bytes()
        arguments = ["./slow.onnx", "--device", "./box.yaml", "--results-file", name]
        done = run_command("hardware", *arguments, cwd=folder, code=2)
        assert "would overwrite it" in done.err
        assert (folder / name).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--device", "H100"], 3, "Did you mean H100 SXM or H100 PCIe"),
        (["--device", "none.yaml"], 3, "none.yaml: cannot be read"),
        (["--device", "box.yaml", "--precision", "tf32"], 3, "no peak is known in tf32"),
        (["--device", "RTX 4090", "--interconnect", "NVLINK"], 3, "how fast its NVLINK is, is not known"),
        (["--device", "H200", "--measured", "none.json"], 3, "none.json"),
        (["--device", "H200", "--results-file", "slow.onnx"], 2, "would overwrite it"),
        ([], 2, "Missing option '--device'"),
    ],
)
def test_bad_input(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = run_command("hardware", "slow.onnx", *arguments, cwd=folder, code=code)
    assert message in " ".join(done.err.split())


def test_a_batch_that_does_not_fit_says_so(folder: Path) -> None:
    done = run_command("hardware", "slow.onnx", "-b", "100000", "--device", "box.yaml", cwd=folder)
    text = " ".join(done.out.split())
    assert "NO" in text
    assert "Batch 100000 needs" in text
