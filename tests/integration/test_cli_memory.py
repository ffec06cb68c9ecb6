# SPDX-License-Identifier: Apache-2.0
"""The installed command where a batch does not fit in memory: a limit on the process stands in for a small machine."""

from __future__ import annotations

import resource
from pathlib import Path

import onnx_cases
import pytest
from command_line import QUICK, run_command

MIB = 1 << 20
ITEM = 250_000  # a MiB of float32 an item
LIMITS = {"address space": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA}
JSON = ("--results-format", "json")


def _limited(kind: int, mebibytes: int) -> None:
    resource.setrlimit(kind, (mebibytes * MIB, mebibytes * MIB))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    onnx_cases.one_node(folder / "wide.onnx", "Neg", ("batch", ITEM))
    return folder


@pytest.mark.parametrize("kind", LIMITS.values(), ids=LIMITS)
def test_a_batch_that_does_not_fit_is_halved_and_the_row_says_so(folder: Path, kind: int) -> None:
    arguments = ["run", "wide.onnx", "-b", "2", "-b", "512", *QUICK, *JSON]
    done = run_command(*arguments, cwd=folder, setup=lambda: _limited(kind, 900))
    small, halved = done.document.results
    assert (small.subject.batch_size, small.subject.requested_batch_size) == (2, 2)
    assert "batch_halved" not in {one.code for one in small.warnings}
    assert halved.subject.requested_batch_size == 512
    assert halved.subject.batch_size in (2, 4, 8, 16, 32, 64, 128, 256)
    assert halved.subject.shapes == {"x": [halved.subject.batch_size, ITEM]}
    (warning,) = (one for one in halved.warnings if one.code == "batch_halved")
    assert "Batch 512 of wide.onnx did not fit in memory" in warning.message
    assert "batch 512 of wide.onnx does not fit in memory; halving it" in done.err


@pytest.mark.parametrize("arguments", [["--no-retry"], ["--shape", f"x:512x{ITEM}"]], ids=["no retry", "shape"])
def test_a_batch_that_may_not_be_halved_ends_with_5(folder: Path, arguments: list[str]) -> None:
    """--shape fixes the batch, so that half of it would not be what was asked for."""
    command = ["run", "wide.onnx", "-b", "512", *arguments, "-b", "512", *QUICK, *JSON]
    done = run_command(*command, cwd=folder, setup=lambda: _limited(resource.RLIMIT_AS, 600), code=5)
    (row,) = done.document.results
    assert row.error is not None
    assert row.error.kind == "OutOfMemoryError"
    assert "wide.onnx at batch 512 does not fit in memory" in row.error.message
    assert row.subject.batch_size == 512


def test_a_batch_of_one_that_does_not_fit_ends_with_5(folder: Path) -> None:
    onnx_cases.one_node(folder / "huge.onnx", "Neg", ("batch", 300 * ITEM))
    arguments = ["run", "huge.onnx", "-b", "4", *QUICK, *JSON]
    done = run_command(*arguments, cwd=folder, setup=lambda: _limited(resource.RLIMIT_AS, 600), code=5)
    (row,) = done.document.results
    assert row.error is not None
    assert "huge.onnx at batch 1 does not fit in memory" in row.error.message
    assert row.subject.requested_batch_size == 4
