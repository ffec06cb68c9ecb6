# SPDX-License-Identifier: Apache-2.0
"""`run A --vs B` and `--fail-if-slower` through the real command line, on small ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx_cases
import pytest
from command_line import QUICK, Running, run_command

from pyperf_infer.results.files import read_document

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document

# Done as soon as a factor of twenty is plain, with time to spare on a machine that is busy with something else.
COARSE = ("--duration", "0.02", "--max-duration", "3", "--warmup-ms", "50", "--ci", "20%", "--margin", "50%", "-q")


@pytest.fixture(name="models", scope="module")
def made_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """light.onnx, and heavy.onnx: the same inputs, and hundred times the work."""
    folder = tmp_path_factory.mktemp("models")
    onnx_cases.slow(folder / "light.onnx", width=64, layers=1)
    onnx_cases.slow(folder / "heavy.onnx", width=64, layers=100)
    return folder


def vs(models: Path, *arguments: str, code: int = 0, options: tuple[str, ...] = QUICK) -> tuple[Document, str]:
    done = run_command("run", *arguments, *options, "--results-format", "json", cwd=models, code=code)
    return done.document, done.err


def test_a_model_against_itself(models: Path) -> None:
    document, _ = vs(models, "light.onnx", "--vs", "")
    first, second = document.results
    assert (first.side is not None, second.side is not None) == (True, True)
    assert [one.side.label for one in document.results if one.side] == ["A", "B"]
    assert first.subject == second.subject
    assert second.parity is not None
    assert (second.parity.status, second.parity.reference) == ("equal", "A")
    (comparison,) = document.comparisons
    assert (comparison.baseline, comparison.contender, comparison.compared) == ("A", "B", 1)
    assert (comparison.baseline_row, comparison.contender_row) == (0, 1)
    assert comparison.items_ratio is None
    assert comparison.converged is not None


def test_two_options_and_a_batch_each_reach_their_own_side_and_no_other(models: Path) -> None:
    document, _ = vs(
        models, "light.onnx", "--opt-level", "extended", "--vs", "--opt-level disabled", "--vs",
        "-b 4 --session-option session.intra_op.allow_spinning=0", "--vs", "--threads 1",
    )  # fmt: skip
    levels = [row.method.settings["opt_level"] for row in document.results]
    assert levels == ["extended", "disabled", "extended", "extended"]
    assert [row.subject.batch_size for row in document.results] == [1, 1, 4, 1]
    assert [row.method.threads for row in document.results][2:] == [document.results[0].method.threads, 1]
    parities = [row.parity.status if row.parity else None for row in document.results]
    assert parities == [None, "equal", "not checked", "equal"]
    assert [one.compared for one in document.comparisons] == [3, 3, 3]
    batches = document.comparisons[1]
    assert batches.items_ratio == pytest.approx(4 * batches.ratio)


def test_a_model_that_is_much_slower_fires_the_gate_and_the_other_way_round_does_not(models: Path) -> None:
    document, said = vs(models, "light.onnx", "--vs", "heavy.onnx", "--fail-if-slower", "3%", code=1, options=COARSE)
    (comparison,) = document.comparisons
    assert comparison.verdict == "slower"
    assert document.results[1].parity is not None
    assert document.results[1].parity.reason == "heavy.onnx is another model than light.onnx"
    assert "--fail-if-slower 3%: B (heavy.onnx batch 1 float32 onnxruntime) against A (light.onnx" in said
    document, said = vs(models, "heavy.onnx", "--vs", "light.onnx", "--fail-if-slower", "3%", options=COARSE)
    assert document.comparisons[0].verdict == "faster"
    assert "--fail-if-slower" not in said


def test_the_table_and_the_file_say_which_side_is_which(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "vs.json"
    done = run_command("run", "light.onnx", "--vs", "--opt-level basic", *QUICK, "--results-file", path, cwd=models)
    assert "sides" in done.out
    assert "A: as the command says; B: --opt-level basic" in done.out
    assert [one.side.given for one in read_document(path).results if one.side] == ["", "--opt-level basic"]


def test_a_side_that_cannot_be_loaded_leaves_the_others_numbers(models: Path) -> None:
    (models / "broken.onnx").write_bytes(b"not a model")
    document, _ = vs(models, "light.onnx", "--vs", "broken.onnx", code=3)
    assert {row.side.label: row.error is None for row in document.results if row.side} == {"A": True, "B": False}
    assert document.comparisons == []
    assert document.status == "failed"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["light.onnx", "--vs", "--mode cold"], 2, "--mode is no part of what is compared"),
        (["light.onnx", "--vs", "'heavy.onnx"], 2, "No closing quotation"),
        (["light.onnx", "--vs", "--provider nowhere"], 4, "B: "),
        (["light.onnx", "--vs", "nowhere.onnx"], 3, "nowhere.onnx"),
        (["light.onnx", "--vs", "", "--results-file", "light.onnx"], 2, "would overwrite it"),
        (["light.onnx", "--vs", "heavy.onnx", "--results-file", "heavy.onnx"], 2, "would overwrite it"),
        (["light.onnx", "--fail-if-slower", "3%"], 2, "add --vs"),
        (["light.onnx", "--vs", "", "--margin", "0%"], 2, "--margin takes a share above 0%"),
        (["light.onnx", "--vs", "", "--mode", "throughput"], 2, "--vs takes --mode latency"),
    ],
)
def test_what_cannot_be_compared_is_refused(models: Path, arguments: list[str], code: int, said: str) -> None:
    before = {path.name: path.read_bytes() for path in models.glob("*.onnx")}
    done = run_command("run", *arguments, "-q", cwd=models, code=code)
    assert said in done.err
    assert done.out == ""
    assert before == {path.name: path.read_bytes() for path in models.glob("*.onnx")}


def test_ctrl_c_keeps_the_sides_that_were_measured(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "stopped.json"
    running = Running(
        "run", "light.onnx", "--vs", "--opt-level basic", "--duration", "0.02", "--ci", "0.0001%", "--warmup-ms", "20",
        "--iterations", "1000000", "--max-duration", "120", "--results-file", path, cwd=models,
    )  # fmt: skip
    try:
        running.wait_until_shown("A: light.onnx, batch 1: measuring onnxruntime")
        running.press_ctrl_c()
        running.finish(130)
    finally:
        running.stop()
    document = read_document(path)
    assert document.status == "interrupted"
    assert [one.side.label for one in document.results if one.side] in (["A"], [])
    assert document.comparisons == []
