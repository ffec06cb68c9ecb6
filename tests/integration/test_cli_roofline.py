# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer roofline` as a user runs it, with ceilings that were kept before: nothing here asserts a time."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from ceilings import make_ceilings
from command_line import Done, environment, run_command
from onnx_graphs import save_scale_model
from roofline_documents import document

from pyperf_infer.results.files import read_document, write_document
from pyperf_infer.results.schema import Document, utc_now
from pyperf_infer.roofline.ceilings import store
from pyperf_infer.roofline.ceilings.machine import ceilings_machine

BRIEF = ("--duration", "0.02", "--max-duration", "0.3", "--inferences", "2", "--threads", "1", "-q")
FACTORY = """
import torch

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(x.mean((2, 3)))

def make():
    return Tiny(), torch.zeros(2, 3, 10, 10)
"""
MACS = 8 * 8 * 8 * 3 * 9 + 8 * 4


def keep_ceilings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a command of before would have in the state folder that `run_command` gives its commands."""
    for name, value in environment(folder).items():
        if name.startswith("XDG"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYPERF_INFER_STATE_DIR", raising=False)
    kept = make_ceilings({"float32": 1e14}, threads=1, machine=ceilings_machine("cpu"))
    kept.measured_utc = utc_now()
    store.save_ceilings(kept)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_scale_model(tmp_path / "scale.onnx")
    (tmp_path / "tiny.py").write_text(FACTORY)
    write_document(document(), tmp_path / "kept.json")
    keep_ceilings(tmp_path, monkeypatch)
    return tmp_path


def roofline(folder: Path, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
    return run_command("roofline", *arguments, cwd=folder, code=code, env={"PYTHONPATH": str(folder), **(env or {})})


def test_both_backends_are_set_against_the_ceilings_that_were_kept(folder: Path) -> None:
    done = roofline(folder, "tiny:make", *BRIEF, "--results-file", "r.json", "--plot", "p.svg")
    found = read_document(folder / "r.json")
    assert found.status == "complete"
    assert [one.backend for one in found.rooflines] == ["torch", "onnxruntime"]
    for one in found.rooflines:
        assert one.macs == MACS == sum(layer.macs for layer in one.layers)
        assert (one.formula_share, one.mapped_share, one.batch_size, one.unknown_ops) == (1.0, 1.0, 1, {})
        assert one.ceilings.device_name == "Imaginary 9000"
        assert one.roof_ms == pytest.approx(sum(layer.roof_ms or 0.0 for layer in one.layers))
        assert one.layers_ms == pytest.approx(sum(layer.time_ms for layer in one.layers))
        assert one.layers_ms + one.rest_ms == pytest.approx(one.profiled_ms)
    torch, onnx = found.rooflines
    assert {layer.name for layer in torch.layers} >= {"conv", "norm", "head", ""}
    fused = next(layer for layer in onnx.layers if layer.kind in ("Conv", "FusedConv"))
    assert set(fused.layers) >= {"conv"}
    assert "Relu" in fused.ops
    assert (folder / "p.svg").read_text().lstrip().startswith("<?xml")
    assert "Written to p.svg" in done.err
    assert "FLOP/byte" in done.out


def test_a_file_that_was_kept_is_shown_and_plotted_again_without_measuring(folder: Path) -> None:
    done = roofline(folder, "--from", "kept.json", "--results-format", "csv", "--plot", "again.png")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [one["name"] for one in rows if one["row"] == "layer"] == ["block.conv", "block.relu", ""]
    assert (folder / "again.png").read_bytes().startswith(b"\x89PNG")
    page = roofline(folder, "--from", "kept.json", "--results-format", "markdown").out
    assert "| block.conv | Conv2d |" in page


def test_without_a_model_the_ceilings_are_shown(folder: Path) -> None:
    done = roofline(folder, "--threads", "1", "-q")
    assert "Imaginary 9000" in done.out
    found = roofline(folder, "--threads", "1", "-q", "--results-format", "json").document
    assert (found.rooflines, len(found.ceilings)) == ([], 1)


def test_run_tells_its_share_of_the_roof_once_there_are_ceilings(folder: Path) -> None:
    arguments = ("run", "tiny:make", "--backend", "torch", "--threads", "1", "--duration", "0.02",
                 "--max-duration", "0.1", "--warmup-ms", "20", "-q")  # fmt: skip
    env = {"PYTHONPATH": str(folder)}
    found = run_command(*arguments, "--results-format", "json", cwd=folder, env=env).document
    roof, timing = found.results[0].roof, found.results[0].summary.latency
    assert roof is not None
    assert timing is not None
    assert roof.share_of_roof == pytest.approx(roof.roof_ms / timing.p50_ms)
    assert "of roof" in run_command(*arguments, cwd=folder, env=env).out
    nothing = {**env, "XDG_STATE_HOME": str(folder / "none")}
    other = run_command(*arguments, "--results-format", "json", cwd=folder, env=nothing)
    assert other.document.results[0].roof is None
    cold = run_command(*arguments, "--mode", "cold", "--results-format", "json", cwd=folder, env=env)
    assert cold.document.results[0].roof is None
    sides = run_command(*arguments, "--vs", "tiny:make -b 3", "--results-format", "json", cwd=folder, env=env).document
    least = [one.roof.roof_ms for one in sides.results if one.roof is not None]
    assert len(least) == 2
    assert least[1] > least[0]
    both = run_command(*arguments, "--processes", "2", "--results-format", "json", cwd=folder, env=env).document
    (merged,) = both.results
    assert merged.roof is not None
    assert merged.summary.latency is not None
    assert merged.roof.share_of_roof == pytest.approx(merged.roof.roof_ms / merged.summary.latency.p50_ms)


def test_several_batches_and_precisions_are_a_row_each(folder: Path) -> None:
    given = ("scale.onnx", *BRIEF, "-b", "1", "-b", "3", "-b", "1", "--results-format", "json")
    found = roofline(folder, *given).document
    assert [(one.batch_size, one.backend) for one in found.rooflines] == [(1, "onnxruntime"), (3, "onnxruntime")]


def test_what_fails_of_one_model_leaves_the_others(folder: Path) -> None:
    done = roofline(folder, "nothing:here", "scale.onnx", *BRIEF, "--results-file", "r.json", code=3)
    found = read_document(folder / "r.json")
    assert (found.status, [one.model for one in found.rooflines]) == ("failed", ["scale.onnx"])
    assert "nothing" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--plot", "p.svg"], 2, "--plot needs a MODEL"),
        (["scale.onnx", "--plot", "p.pdf"], 2, "ends in .png or .svg"),
        (["scale.onnx", "--plot", "missing/p.svg"], 3, "missing"),
        (["scale.onnx", "--plot", "same.svg", "--results-file", "same.svg"], 2, "same file"),
        (["scale.onnx", "--from", "kept.json"], 2, "leave out a MODEL"),
        (["--from", "kept.json", "-b", "2", "--threads", "1"], 2, "leave out --batch-size, --threads"),
        (["--from", "none.json"], 3, "none.json"),
        (["--from", "scale.onnx"], 3, "scale.onnx"),
        (["--from", "run.json"], 3, "no result of `pyperf-infer roofline`"),
        (["--from", "kept.json", "--results-file", "kept.json"], 2, "would overwrite it"),
        (["scale.onnx", "--backend", "torch", "--threads", "1"], 3, "which backend torch does not run"),
        (["scale.onnx", "--precision", "tf32"], 2, "only with --device cuda"),
        (["scale.onnx", "--device", "mps"], 4, "mps"),
        (["scale.onnx", "--duration", "3", "--max-duration", "1"], 2, "is less than"),
        (["scale.onnx", "kept.onnx", "--weights", "w.pth"], 2, "--weights is for one model"),
        (["scale.onnx", "--caches", "L1=lots"], 2, "L1=lots"),
        (["scale.onnx", "--threads", "1", "--shape", "x:1x0x3"], 2, "every size must be at least 1"),
    ],
)
def test_bad_input_is_refused_with_its_reason(folder: Path, arguments: list[str], code: int, said: str) -> None:
    (folder / "kept.onnx").write_bytes((folder / "scale.onnx").read_bytes())
    nothing: Document = document([], ceilings=[])
    write_document(nothing, folder / "run.json")
    done = roofline(folder, *arguments, "-q", code=code)
    assert said in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    assert "closed" in roofline(folder, "scale.onnx", "--plot", "closed/p.svg", code=3).err
