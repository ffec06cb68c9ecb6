# SPDX-License-Identifier: Apache-2.0
"""The installed command with PyTorch: both backends on modules of the user's own, their weights and their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import QUICK, run_command

from pyperf_infer.results.files import read_document

JSON = ("--results-format", "json")

FACTORIES = """
import sys
import torch

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.layer(x))

def make():
    return Tiny(), torch.zeros(2, 8)

class Broken(Tiny):
    '''Gives NaN.'''
    def forward(self, x):
        return super().forward(x) * float("nan")

def broken():
    return Broken(), torch.zeros(2, 8)

class Moody(Tiny):
    '''Differs between the two backends: an export holds what it saw.'''
    def forward(self, x):
        return super().forward(x) * (1.0 if torch.compiler.is_exporting() else 1.5)

def moody():
    return Moody(), torch.zeros(2, 8)

class Tired(Tiny):
    '''Fails in the midst of being timed.'''
    calls = 0

    def forward(self, x):
        if not torch.compiler.is_exporting():
            Tired.calls += 1
            if Tired.calls > 60:
                raise RuntimeError("tired of it")
        return super().forward(x)

def tired():
    return Tired(), torch.zeros(2, 8)

class Unexportable(Tiny):
    def forward(self, x):
        return torch.linalg.eig(self.layer(x).reshape(-1, 4, 2) @ self.layer(x).reshape(-1, 2, 4))[0].real

def unexportable():
    return Unexportable(), torch.zeros(2, 8)

def raising():
    raise ValueError("no model today")

def text():
    return "not a module"
"""

CONFIG = """
description: a config of the user's own
input: [3, 8, 8]
backbone:
  - [1, Frobnicate, [3, 4]]
head:
  - [1, Flatten, []]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    (folder / "own.py").write_text(FACTORIES)
    return folder


def test_models_and_batches_on_both_backends(folder: Path) -> None:
    """The second run finds the export of the first, the same weights and the threads that were asked for."""
    arguments = ["run", "own:make", "-b", "1", "-b", "3", "--threads", "2", *QUICK]
    first = run_command(*arguments, *JSON, cwd=folder).document
    keys = [(row.subject.batch_size, row.method.backend) for row in first.results]
    assert keys == [(1, "torch"), (1, "onnxruntime"), (3, "torch"), (3, "onnxruntime")]
    assert [(one.batch_size, one.baseline, one.contender) for one in first.comparisons] == [
        (1, "torch", "onnxruntime"), (3, "torch", "onnxruntime")
    ]  # fmt: skip
    for row in first.results:
        assert row.error is None
        assert row.method.threads == 2
        if row.method.backend == "torch":
            assert row.method.loop == "native, Python callable"
            assert row.method.settings["torch_num_threads"] == 2
        else:
            assert row.method.loop == "native"
            assert row.parity is not None
            assert row.parity.status == "equal"
    run_command(*arguments, "--results-file", "again.json", cwd=folder)
    again = read_document(folder / "again.json")
    assert [row.subject.weights for row in again.results] == [row.subject.weights for row in first.results]
    assert again.results[1].method.settings["export_cached"] is False  # the Python behind a factory may have changed
    other = run_command("run", "own:make", "--backend", "torch", "--seed", "7", *QUICK, *JSON, cwd=folder).document
    assert other.results[0].subject.weights != first.results[0].subject.weights


def test_what_fails_does_not_take_the_rest_with_it(folder: Path) -> None:
    """One command, a mistake of every kind, and a good model at the end."""
    mistakes = {
        "own:raising": (3, "no model today"),
        "own:text": (3, "it must return a torch.nn.Module"),
        "own:nowhere": (3, "has no 'nowhere'"),
        "absent.module:make": (3, "there is no module 'absent'"),
        "bad.yaml": (3, "Frobnicate"),
        "timm:resnet5o": (3, "resnet5o"),
    }
    (folder / "bad.yaml").write_text(CONFIG)
    models = [*mistakes, "own:unexportable", "own:tired", "own:make"]
    done = run_command("run", *models, *QUICK, *JSON, cwd=folder, code=3)
    rows = {(row.subject.model, row.method.backend): row for row in done.document.results}
    for model, (code, said) in mistakes.items():
        for backend in ("torch", "onnxruntime"):
            error = rows[model, backend].error
            assert error is not None
            assert error.exit_code == code, error
            assert said in error.message
    assert rows["own:unexportable", "torch"].error is None
    unexportable = rows["own:unexportable", "onnxruntime"].error
    assert unexportable is not None
    assert "eig" in unexportable.message
    assert "\n" not in unexportable.message
    tired = rows["own:tired", "torch"].error
    assert tired is not None
    assert (tired.kind, tired.exit_code) == ("MeasurementError", 5)
    assert "tired of it" in tired.message
    assert rows["own:tired", "onnxruntime"].error is None
    assert all(rows["own:make", backend].error is None for backend in ("torch", "onnxruntime"))


def test_outputs_that_differ_or_are_no_numbers_end_with_1_and_are_kept(folder: Path) -> None:
    done = run_command("run", "own:moody", "own:broken", *QUICK, "--results-file", "bad.json", cwd=folder, code=1)
    document = read_document(folder / "bad.json")
    rows = {(row.subject.model, row.method.backend): row for row in document.results}
    moody = rows["own:moody", "onnxruntime"].parity
    assert moody is not None
    assert moody.status == "different"
    assert "DIFFER" in done.out
    for backend in ("torch", "onnxruntime"):
        parity = rows["own:broken", backend].parity
        assert parity is not None
        assert parity.status == "invalid"
    assert all(row.samples is not None for row in document.results)


def test_tolerances_decide(folder: Path) -> None:
    """A difference of a half of the output's movement is allowed; by default it is not, see above."""
    run_command("run", "own:moody", *QUICK, "--rtol", "1", cwd=folder, code=0)


def test_weights_from_a_file_fit_or_are_named_by_key(folder: Path) -> None:
    state = {"layer.weight": torch.eye(8), "layer.bias": torch.zeros(8)}
    torch.save(state, folder / "good.pth")
    torch.save({"layer.weight": torch.eye(8), "extra.weight": torch.zeros(8)}, folder / "bad.pth")
    command = ["run", "own:make", "--backend", "torch", *QUICK, *JSON, "--weights"]
    good = run_command(*command, "good.pth", cwd=folder).document.results[0].subject.weights
    assert good is not None
    assert good.source == "good.pth"
    bad = run_command(*command, "bad.pth", cwd=folder, code=3).document.results[0].error
    assert bad is not None
    assert "extra.weight" in bad.message
    assert "layer.bias" in bad.message


def test_a_builtin_model_at_a_small_shape(folder: Path) -> None:
    """Random weights, named as such; the shape from the flag."""
    arguments = ["--backend", "torch", "--shape", "1x3x32x32", "--mode", "throughput"]
    (row,) = run_command("run", "resnet18", *arguments, *QUICK, *JSON, cwd=folder).document.results
    assert row.subject.source == "built-in"
    assert row.subject.parameters == 11_689_512
    assert row.subject.weights is not None
    assert (row.subject.weights.source, row.subject.weights.seed) == ("random", 42)
    assert list(row.subject.shapes.values()) == [[1, 3, 32, 32]]
    assert row.summary.period is not None
