# SPDX-License-Identifier: Apache-2.0
"""The installed `pyperf-infer overhead`: every path of a model in one table, whatever becomes of one of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_cases
import psutil
import pytest
from command_line import Running, run_command
from onnx import TensorProto
from onnx_graphs import save_scale_model

from pyperf_infer.results.files import read_document

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, OverheadPath

ONNX_PATHS = ["session.run", "run_with_iobinding", "native loop"]
TORCH_PATHS = ["eager", "compiled", "AOTI Python loader", "AOTI native loop"]
QUICK = ("--max-duration", "0.6", "--threads", "1", "-q")

FACTORY = """
import torch

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x, y):
        hidden = torch.relu(self.layer(x))
        return {"sum": hidden + y, "parts": (hidden, x * 2)}

def make():
    return Tiny(), (torch.zeros(2, 8), torch.zeros(2, 8))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_scale_model(tmp_path / "scale.onnx")
    (tmp_path / "tiny.py").write_text(FACTORY)
    return tmp_path


def rows(document: Document, number: int = 0) -> dict[str, OverheadPath]:
    return {one.path: one for one in document.overheads[number].paths}


def test_an_onnx_file_has_the_ladder_of_onnx_runtime(folder: Path) -> None:
    arguments = ["--results-file", "r.csv", "--results-format", "csv"]
    time = ("--max-duration", "4", "--threads", "1", "-q")  # in which a busy machine too gets round once
    done = run_command("overhead", "scale.onnx", "-b", "1", "-b", "3", *time, *arguments, cwd=folder)
    assert "native loop" in done.out
    assert "At batch 1 " in " ".join(done.out.split())
    lines = list(csv.DictReader((folder / "r.csv").read_text().splitlines()))
    assert [line["path"] for line in lines] == 2 * ONNX_PATHS
    assert [line["batch_size"] for line in lines] == ["1"] * 3 + ["3"] * 3
    assert {line["parity"] for line in lines} == {"equal"}
    assert {line["process"] for line in lines} == {"shared"}
    assert all(float(line["p50_us"]) > 0 and not line["failed"] for line in lines)


def test_pythons_onnxruntime_in_a_process_of_its_own_finds_the_same(folder: Path) -> None:
    more = ("--max-duration", "3", "--isolate", "--results-format", "json")  # rounds enough on a busy machine
    done = run_command("overhead", "scale.onnx", *QUICK, *more, cwd=folder)
    document = done.document
    assert (document.status, document.results) == ("complete", [])
    found = rows(document)
    assert [one.process for one in found.values()] == ["own", "own", "shared"]
    assert {one.parity for one in found.values()} == {"equal"}
    assert all(one.p50_us is not None and one.alone_us is not None for one in found.values())
    assert found["session.run"].settings["onnxruntime"] == found["native loop"].settings["onnxruntime"]
    assert document.overheads[0].rounds >= 1
    assert document.overheads[0].sentence.startswith("At batch 1 ")


def test_a_module_has_every_path_with_outputs_that_agree(folder: Path) -> None:
    """Two inputs, and a dict with a tuple in it as the output."""
    more = ("--max-duration", "3", "--results-format", "json")  # rounds enough on a busy machine
    done = run_command("overhead", "tiny:make", "-b", "2", *QUICK, *more, cwd=folder)
    (overhead,) = done.document.overheads
    assert [one.path for one in overhead.paths] == TORCH_PATHS + ONNX_PATHS
    assert {one.path: one.failed for one in overhead.paths if one.failed} == {}
    assert {one.parity for one in overhead.paths} == {"equal"}
    assert [one.path for one in overhead.paths if not one.same_code] == ["eager", "compiled"]
    assert [one.path for one in overhead.paths if one.loop == "native"] == ["AOTI native loop", "native loop"]
    assert all(one.p50_us is not None for one in overhead.paths)
    assert list(overhead.shapes.values()) == [[2, 8], [2, 8]]
    assert "eager" not in overhead.sentence
    assert "AOTI Python loader" in overhead.sentence


def test_one_runtime_can_be_named(folder: Path) -> None:
    arguments = ["--backend", "onnxruntime", "--results-format", "json"]
    done = run_command("overhead", "tiny:make", *QUICK, *arguments, cwd=folder)
    assert list(rows(done.document)) == ONNX_PATHS


def test_a_path_that_cannot_take_the_model_is_a_row_with_the_reason(folder: Path) -> None:
    """NumPy has no bfloat16, and so no path of Python's onnxruntime does; the native loop takes it."""
    onnx_cases.one_node(folder / "short.onnx", "Identity", ("batch", 4), element=TensorProto.BFLOAT16)
    done = run_command("overhead", "short.onnx", *QUICK, "--results-format", "json", cwd=folder, code=3)
    document = done.document
    assert document.status == "failed"
    found = rows(document)
    for path in ONNX_PATHS[:2]:
        assert "is bfloat16, which NumPy" in (found[path].failed or "")
    assert found["native loop"].alone_us is not None
    assert "is bfloat16" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["scale.onnx", "--max-duration", "0"], 2, "leaves no time"),
        (["scale.onnx", "--margin", "0%"], 2, "--margin takes a share above 0%"),
        (["scale.onnx", "--precision", "tf32"], 2, "only with --device cuda"),
        (["scale.onnx", "--compile-mode", "max-autotune", "--no-compile"], 2, "not to be measured"),
        (["scale.onnx", "--device", "tpu"], 2, "is no device"),
        (["scale.onnx", "--results-file", "scale.onnx"], 2, "would overwrite"),
        (["scale.onnx", "--backend", "torch"], 3, "PyTorch does not run"),
        (["scale.onnx", "--shape", "nothing:2x4"], 3, "nothing"),
        (["nowhere.onnx"], 3, "no such file"),
        (["scale.onnx", "--provider", "cuda"], 4, "runs on a GPU"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run_command("overhead", *arguments, "-q", cwd=folder, code=code)
    assert said in " ".join(done.err.split())
    assert done.out == ""


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Running]:
    command = Running("overhead", *arguments, "--threads", "1", cwd=cwd)
    try:
        yield command
    finally:
        command.stop()


def test_ctrl_c_keeps_the_batch_sizes_that_are_done_and_ends_the_other_process(folder: Path) -> None:
    arguments = ["-b", "1", "-b", "2", "--isolate", "--max-duration", "2", "--results-file", "r.json"]
    with running("scale.onnx", *arguments, cwd=folder) as command:
        command.wait_until_shown("batch 2: 3 paths in turn")
        (child,) = psutil.Process(command.process.pid).children()
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert not child.is_running()
    document = read_document(folder / "r.json")
    assert document.status == "interrupted"
    assert [one.batch_size for one in document.overheads] == [1]
    assert "INTERRUPTED" in done.out
    assert "Written to r.json" in done.err


def test_ctrl_c_without_a_results_file_names_a_rescue_file(folder: Path) -> None:
    with running("scale.onnx", "-b", "1", "-b", "2", "--max-duration", "2", cwd=folder) as command:
        command.wait_until_shown("batch 2: 3 paths in turn")
        command.press_ctrl_c()
        done = command.finish(code=130)
    named = re.search(r"Written to (.*?\.json)", done.err.replace("\r\n", ""))
    assert named is not None
    assert [one.batch_size for one in read_document(Path("".join(named[1].split()))).overheads] == [1]


def test_ctrl_c_before_the_first_is_done_saves_nothing(folder: Path) -> None:
    with running("scale.onnx", "--max-duration", "8", "--results-file", "r.json", cwd=folder) as command:
        command.wait_until_shown("paths in turn")
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert "Interrupted before a batch size was done." in done.err
    assert not (folder / "state").exists()


def test_a_process_that_is_killed_fails_its_rows_and_no_other(folder: Path) -> None:
    arguments = ["--isolate", "--max-duration", "5", "--results-file", "r.json"]
    with running("scale.onnx", *arguments, cwd=folder) as command:
        command.wait_until_shown("3 paths in turn")
        (child,) = psutil.Process(command.process.pid).children()
        child.kill()
        command.finish(code=5)
    found = rows(read_document(folder / "r.json"))
    for path in ONNX_PATHS[:2]:
        assert "the process of Python's onnxruntime was ended by SIGKILL" in (found[path].failed or "")
    assert found["native loop"].failed is None
    assert found["native loop"].alone_us is not None
