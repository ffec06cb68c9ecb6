# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer profile` as a user runs it: the folder, the tables, bad input, and Ctrl-C."""

from __future__ import annotations

import csv
import hashlib
import json
import resource
from pathlib import Path

import onnx_cases
import pytest
from command_line import ENDLESS, Done, Running, run_command
from onnx_graphs import save_scale_model

from pyperf_infer.results.files import read_document

BRIEF = ("--duration", "0.02", "--max-duration", "0.3", "--inferences", "2", "-q")
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
    return tmp_path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A factory's model on both sides."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "tiny.py").write_text(FACTORY)
    done = run_command("profile", "tiny:make", *BRIEF, "--output-dir", "p", "--results-file", "r.csv",
                       "--results-format", "csv", cwd=folder, env={"PYTHONPATH": str(folder)})  # fmt: skip
    return folder, done


def test_both_sides_stand_in_one_folder_with_every_file_as_it_is_listed(both: tuple[Path, Done]) -> None:
    folder, _ = both
    document = read_document(folder / "p" / "profile.json")
    assert document.status == "complete"
    assert [one.backend for one in document.profiles] == ["torch", "onnxruntime"]
    listed = {file.name: file.sha256 for one in document.profiles for file in one.files}
    assert set(listed) == {
        "torch-trace.json", "torch-layers.csv", "torch-python.prof", "torch-python.txt",
        "onnxruntime-trace.json", "onnxruntime-nodes.csv",
    }  # fmt: skip
    for name, sha256 in listed.items():
        assert hashlib.sha256((folder / "p" / name).read_bytes()).hexdigest() == sha256, name
    assert {one.name for one in (folder / "p").iterdir()} == {*listed, "profile.json", "profile.md"}
    json.loads((folder / "p" / "torch-trace.json").read_text())
    names = {table.name for one in document.profiles for table in one.tables}
    assert names == {"torch layers", "memory", "python", "onnxruntime nodes"}


def test_the_tables_are_printed_written_as_a_page_and_in_the_format_asked_for(both: tuple[Path, Done]) -> None:
    folder, done = both
    page = (folder / "p" / "profile.md").read_text()
    for title in ("Layers of PyTorch", "Nodes of ONNX Runtime", "Memory by layer", "Functions of Python"):
        assert title in done.out
        assert f"### {title}" in page
    assert "(outside of every layer)" in done.out
    assert "the nodes' time was traced" in done.out
    lines = list(csv.DictReader((folder / "r.csv").open()))
    assert {line["table"] for line in lines} == {"torch layers", "memory", "python", "onnxruntime nodes"}
    assert any(line["name"] == "layer" and line["kind"] == "Linear" for line in lines)
    assert "Written to r.csv\n" in done.err
    assert "Written to p/: onnxruntime-nodes.csv, onnxruntime-trace.json, profile.json, profile.md, torch-" in done.err


def test_a_file_is_profiled_into_a_folder_of_its_own_without_what_is_not_wanted(folder: Path) -> None:
    done = run_command("profile", "scale.onnx", *BRIEF, "--no-trace", "--no-memory", "--top", "0", cwd=folder)
    (made,) = folder.glob("scale-profile-*")
    assert sorted(one.name for one in made.iterdir()) == ["onnxruntime-nodes.csv", "profile.json", "profile.md"]
    (profile,) = read_document(made / "profile.json").profiles
    assert profile.memory_method is None
    assert "scale" in done.out
    assert f"Written to {made.name}/" in done.err


def test_json_on_standard_output_is_json_alone(folder: Path) -> None:
    done = run_command("profile", "scale.onnx", *BRIEF, "--output-dir", "p", "--results-format", "json", cwd=folder)
    (profile,) = done.document.profiles
    assert profile.tables[0].rows[0].kind == "Mul"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nosuchmodel"], 3, "nosuchmodel"),
        (["missing.onnx"], 3, "missing.onnx"),
        (["scale.onnx", "--backend", "torch"], 3, "is an ONNX file, which backend torch does not run"),
        (["scale.onnx", "--output-dir", "."], 3, "is not empty"),
        (["scale.onnx", "--output-dir", "scale.onnx/p"], 3, "A part of the path is a file"),
        (["scale.onnx", "--shape", "y:1x4"], 3, "y"),
        (["scale.onnx", "--precision", "tf32"], 2, "--precision tf32: only with --device cuda"),
        (["scale.onnx", "--device", "mps"], 4, "--device mps is not in this version"),
        (["scale.onnx", "--device", "gpu"], 2, "'gpu' is no device"),
        (["scale.onnx", "--duration", "3", "--max-duration", "1"], 2, "--max-duration 1 is less than --duration 3"),
        (["scale.onnx", "--duration", "0", "--max-duration", "0"], 2, "leaves no time"),
        (["scale.onnx", "--results-file", "p/profile.json", "--output-dir", "p"], 2, "a name that the profile uses"),
        (["scale.onnx", "--results-file", "scale.onnx"], 2, "the results would overwrite it"),
        (["scale.onnx", "--results-file", "no/r.json", "--output-dir", "p"], 3, "The folder is not there"),
        (["scale.onnx", "scale.onnx"], 2, "unexpected extra argument"),
        (["scale.onnx", "--top", "-1"], 2, "--top"),
        (["scale.onnx", "--precision", "float16", "--output-dir", "p"], 3, "keeps the element types"),
    ],
)
def test_bad_input_says_what_is_wrong_and_leaves_no_folder(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run_command("profile", *arguments, cwd=folder, code=code)
    assert said in " ".join(done.err.split())
    assert done.out == ""
    assert {one.name for one in folder.iterdir()} <= {"scale.onnx", "cache", "state"}


def test_a_disk_that_takes_nothing_is_found_before_anything_is_profiled(folder: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = run_command("profile", "scale.onnx", *ENDLESS[:4], cwd=folder, setup=small_files, code=3)
    assert "ulimit -f" in done.err
    assert list(folder.glob("scale-profile-*")) == []


def test_a_disk_that_fills_meanwhile_loses_nothing(folder: Path) -> None:
    """profile.json becomes a folder: it was writable before, and is not any more."""
    command = Running(
        "profile", "scale.onnx", "--duration", "0.5", "--max-duration", "1", "--output-dir", "p", cwd=folder
    )
    try:
        command.wait_until_shown("profiling onnxruntime")
        (folder / "p" / "profile.json").mkdir()
        done = command.finish(code=3)
    finally:
        command.stop()
    assert "Cannot write" in done.err
    assert "Nodes of ONNX Runtime" in done.out
    (rescued,) = (folder / "state" / "pyperf-infer" / "interrupted").glob("*.json")
    assert read_document(rescued).profiles


def test_ctrl_c_says_what_is_there_and_what_is_not(folder: Path) -> None:
    onnx_cases.slow(folder / "slow.onnx")
    command = Running("profile", "slow.onnx", *ENDLESS[:4], "--output-dir", "p", cwd=folder)
    try:
        command.wait_until_shown("profiling onnxruntime")
        command.press_ctrl_c()
        done = command.finish(code=130)
    finally:
        command.stop()
    assert "Interrupted before a profile was complete." in done.err
    assert not (folder / "p").exists() or list((folder / "p").iterdir())


def test_ctrl_c_on_the_second_side_keeps_the_first(folder: Path) -> None:
    (folder / "tiny.py").write_text(FACTORY)
    command = Running(
        "profile", "tiny:make", "--duration", "0.1", "--max-duration", "0.5", "--output-dir", "p", cwd=folder
    )
    try:
        command.wait_until_shown("profiling onnxruntime")
        command.press_ctrl_c()
        done = command.finish(code=130)
    finally:
        command.stop()
    document = read_document(folder / "p" / "profile.json")
    assert document.status == "interrupted"
    assert [one.backend for one in document.profiles] == ["torch"]
    assert "INTERRUPTED" in done.out
    assert "Interrupted." in done.err


def test_the_help_has_an_example(folder: Path) -> None:
    said = " ".join(run_command("profile", "--help", cwd=folder).out.split())
    assert "Example: pyperf-infer profile resnet50" in said
    assert "--output-dir" in said
