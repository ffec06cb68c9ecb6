# SPDX-License-Identifier: Apache-2.0
"""The installed `pyperf-infer count`: tables, JSON with stable keys, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import onnx_cases
import pytest
from command_line import run_command

KEYS = [
    "model", "batch_size", "shapes", "macs", "flops_model", "flops_all", "fvcore_flops", "params", "activations",
    "bytes_min_model", "bytes_min_layer", "unknown_ops",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("count")
    onnx_cases.slow(folder / "slow.onnx", width=8, layers=3)
    onnx_cases.one_node(folder / "top.onnx", "Nobody", domain="elsewhere")
    return folder


def test_resnet50_in_json_has_the_published_counts(folder: Path) -> None:
    done = run_command("count", "resnet50", "--results-format", "json", cwd=folder)
    (row,) = json.loads(done.out)
    assert list(row) == KEYS
    assert row["macs"] == 4_089_184_256
    assert row["flops_model"] == 2 * row["macs"]
    assert row["params"] == 25_557_032
    assert row["activations"] == pytest.approx(11.11e6, rel=0.005)
    assert row["shapes"] == {"input": [1, 3, 224, 224]}
    assert row["unknown_ops"] == []
    assert row["bytes_min_model"] > 4 * row["params"]
    assert row["bytes_min_layer"] > row["bytes_min_model"]


def test_models_and_batches_are_lines_of_one_table(folder: Path) -> None:
    done = run_command("count", "slow.onnx", "resnet18", "-b", "1", "-b", "2", cwd=folder)
    assert done.out.count("slow.onnx") == 2
    assert done.out.count("resnet18") == 2
    assert "fvcore" in done.out


def test_every_operator_is_shown_where_it_is_asked_for(folder: Path) -> None:
    done = run_command("count", "slow.onnx", "--per-op", "--results-format", "json", cwd=folder)
    (row,) = json.loads(done.out)
    assert [one["op"] for one in row["ops"]] == ["MatMul"] * 3
    assert sum(one["macs"] for one in row["ops"]) == row["macs"] == 3 * 8 * 8 * 8
    assert sum(one["kernel_bytes"] for one in row["ops"]) == row["bytes_min_layer"]
    table = run_command("count", "slow.onnx", "--per-op", cwd=folder)
    assert "matmul2" in table.out
    lines = run_command("count", "slow.onnx", "--per-op", "--results-format", "csv", cwd=folder).out
    assert [one["op"] for one in csv.DictReader(io.StringIO(lines, newline=""))] == ["MatMul"] * 3


def test_a_shape_decides(folder: Path) -> None:
    rows = [
        json.loads(run_command("count", "resnet18", "--results-format", "json", *more, cwd=folder).out)[0]
        for more in ((), ("--shape", "1x3x112x112"))
    ]
    assert 3.5 < rows[0]["macs"] / rows[1]["macs"] < 4.5
    assert rows[0]["params"] == rows[1]["params"]


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_other_formats(folder: Path, form: str) -> None:
    done = run_command("count", "slow.onnx", "--results-format", form, cwd=folder)
    assert "slow.onnx" in done.out
    assert "macs" in done.out


def test_results_go_to_a_file(folder: Path) -> None:
    done = run_command("count", "slow.onnx", "--results-file", "counts.json", cwd=folder)
    assert json.loads((folder / "counts.json").read_text())[0]["macs"] == 1536
    assert "slow.onnx" in done.out
    assert "Written to counts.json" in done.err


def test_what_cannot_be_counted_is_named_and_the_others_are_counted(folder: Path) -> None:
    done = run_command("count", "top.onnx", "none.onnx", "slow.onnx", "--results-format", "json", cwd=folder, code=3)
    assert [row["model"] for row in json.loads(done.out)] == ["slow.onnx"]
    assert "top.onnx: the shape of 'y' at node 'nobody'" in done.err
    assert "none.onnx: there is no such file" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nosuchnet"], 3, "unknown model"),
        (["slow.onnx", "--shape", "1x"], 2, "write [name:]sizes"),
        (["slow.onnx", "--shape", "1x9x8"], 3, "is fixed at 8"),
        (["./slow.onnx", "--results-file", "slow.onnx"], 2, "would overwrite it"),
        (["slow.onnx", "--results-file", "nowhere/x.json"], 3, "nowhere"),
        ([], 2, "Missing argument"),
    ],
)
def test_bad_input(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = run_command("count", *arguments, cwd=folder, code=code)
    assert message in " ".join(done.err.split())
