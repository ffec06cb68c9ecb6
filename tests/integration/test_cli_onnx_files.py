# SPDX-License-Identifier: Apache-2.0
"""The installed command on .onnx files: bad ones are told apart with exit code 3, good ones of all kinds are timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_cases
import pytest
from command_line import QUICK, run_command
from onnx import TensorProto
from onnx_graphs import save_scale_model

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Result

Write = Callable[[Path], object]


def _truncated(path: Path) -> None:
    onnx_cases.slow(path, width=16)
    path.write_bytes(path.read_bytes()[:500])


def _outside(path: Path) -> None:
    (path.parent.parent / "secret.bin").write_bytes(bytes(16))
    onnx_cases.with_external_data(path, "../secret.bin")


BAD: dict[str, tuple[Write, str]] = {
    "truncated": (_truncated, "the file may be cut short"),
    "text": (lambda path: path.write_text("hello\n"), "not an ONNX model"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "opset": (lambda path: onnx_cases.one_node(path, "Abs", opset=999), "999"),
    "op": (lambda path: onnx_cases.one_node(path, "Frobnicate"), "Frobnicate"),
    "domain": (lambda path: onnx_cases.one_node(path, "Quux", domain="com.example"), "Quux"),
    "missing": (lambda path: onnx_cases.with_external_data(path, "weights.bin"), "'weights.bin' is missing"),
    "outside": (_outside, "lies outside the model's folder"),
    "strings": (lambda path: onnx_cases.one_node(path, "Identity", element=TensorProto.STRING), "'x' has elements"),
    "unfilled": (lambda path: onnx_cases.one_node(path, "Abs", ("batch", "length")), "dimension 1 (length) is open"),
}


def _row_of(results: list[Result], model: str) -> Result:
    return next(row for row in results if row.subject.model == model)


def test_every_bad_file_has_a_row_that_says_why_and_the_good_one_is_measured(tmp_path: Path) -> None:
    for name, (write, _) in BAD.items():
        write(tmp_path / f"{name}.onnx")
    save_scale_model(tmp_path / "good.onnx")
    models = [f"{name}.onnx" for name in BAD]
    done = run_command("run", *models, "good.onnx", *QUICK, "--results-format", "json", cwd=tmp_path, code=3)
    document = done.document
    assert document.status == "failed"
    for name, (_, said) in BAD.items():
        error = _row_of(document.results, f"{name}.onnx").error
        assert error is not None, name
        assert (error.kind, error.exit_code) == ("InputError", 3), name
        assert f"{name}.onnx" in error.message or name == "unfilled"
        assert said in error.message
        assert error.message in done.err  # where a user who redirects JSON sees it
    good = _row_of(document.results, "good.onnx")
    assert good.error is None
    assert good.samples is not None
    assert good.samples.count >= 30


def test_a_failure_stands_in_the_table_too(tmp_path: Path) -> None:
    _truncated(tmp_path / "cut.onnx")
    done = run_command("run", "cut.onnx", *QUICK, "--results-file", "r.json", cwd=tmp_path, code=3)
    assert "the file may be cut short" in done.out
    assert "FAILED" in done.out
    assert '"status": "failed"' in (tmp_path / "r.json").read_text()


def test_torch_does_not_run_an_onnx_file(tmp_path: Path) -> None:
    save_scale_model(tmp_path / "scale.onnx")
    arguments = ["--backend", "torch", "--backend", "onnxruntime", "--results-format", "json"]
    document = run_command("run", "scale.onnx", *arguments, *QUICK, cwd=tmp_path, code=3).document
    failed, measured = document.results
    assert failed.error is not None
    assert "is an ONNX file, which backend torch does not run" in failed.error.message
    assert measured.error is None


@pytest.mark.parametrize("batch", ["4", "1000000000"])
def test_a_batch_that_contradicts_or_cannot_be_is_refused(tmp_path: Path, batch: str) -> None:
    onnx_cases.one_node(tmp_path / "fixed.onnx", "Abs", (1, 4))
    onnx_cases.one_node(tmp_path / "open.onnx", "Abs", ("batch", 100_000))
    model, said = ("fixed.onnx", "dimension 0 of input 'x' is fixed at 1") if batch == "4" else ("open.onnx", "TiB")
    assert said in run_command("run", model, "-b", batch, *QUICK, cwd=tmp_path, code=3).out


def test_not_a_number_is_invalid_ends_with_1_and_is_kept(tmp_path: Path) -> None:
    onnx_cases.not_a_number(tmp_path / "nan.onnx")
    done = run_command("run", "nan.onnx", *QUICK, "--results-format", "json", cwd=tmp_path, code=1)
    (row,) = done.document.results
    assert row.parity is not None
    assert row.parity.status == "invalid"
    assert "y" in (row.parity.reason or "")
    assert row.summary.latency is not None


ELEMENTS = {
    "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8, "int32": TensorProto.INT32, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}  # fmt: skip


def test_models_batches_and_element_types_in_one_command_without_torch(tmp_path: Path) -> None:
    """Two inputs whose batches have other names, outputs that are no tensors, and every kind of element."""
    for name, element in ELEMENTS.items():
        onnx_cases.one_node(tmp_path / f"{name}.onnx", "Identity", element=element)
    onnx_cases.two_batches(tmp_path / "two.onnx")
    onnx_cases.strange_outputs(tmp_path / "strange.onnx")
    models = [*(f"{name}.onnx" for name in ELEMENTS), "two.onnx", "strange.onnx"]
    # A torch that cannot be imported: ONNX files do not need it.
    (tmp_path / "poison" / "torch").mkdir(parents=True)
    (tmp_path / "poison" / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')\n")
    done = run_command(
        "run", *models, "-b", "1", "-b", "3", *QUICK, "--results-format", "json", "--threads", "1",
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "poison")},
    )  # fmt: skip
    document = done.document
    assert [(row.subject.model, row.subject.batch_size) for row in document.results] == [
        (model, batch) for model in models for batch in (1, 3)
    ]
    assert all(row.error is None and row.method.threads == 1 for row in document.results)
    two = document.results[-3]
    assert two.subject.shapes == {"left": [3, 4], "right": [3, 4], "table": [4, 2]}
    assert document.results[-1].method.settings["outputs_made_anew"] == "list"


def test_options_reach_the_runtime_and_the_result(tmp_path: Path) -> None:
    save_scale_model(tmp_path / "scale.onnx")
    done = run_command(
        "run", "scale.onnx", *QUICK, "--results-format", "json", "--percentiles", "99", "--opt-level", "basic",
        "--max-duration", "20", "--inter-op-threads", "2", "--cpu-affinity", "0", "--shape", "x:5x4",
        "--session-option", "session.intra_op.allow_spinning=0", "--mode", "throughput",
        cwd=tmp_path,
    )  # fmt: skip
    document = done.document
    (row,) = document.results
    assert document.environment.affinity == [0]
    assert row.method.stop is not None
    assert row.method.stop.min_iterations == 368
    assert row.subject.batch_size == 5
    assert row.method.inter_op_threads == 2
    assert row.method.settings["opt_level"] == "basic"
    assert row.method.settings["session:session.intra_op.allow_spinning"] == "0"
    assert row.summary.latency is None
    assert row.summary.period is not None
    assert row.summary.period.p99_ms is not None


def test_the_same_seed_draws_the_same_inputs(tmp_path: Path) -> None:
    """Seen from outside: whether y = x / (x > 0 ? 1 : 0) is finite depends on the one number drawn."""
    from onnx import helper

    nodes = [
        helper.make_node("Greater", ["x", "nought"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["x", "one"], ["y"]),
    ]
    nought = onnx_cases.numpy_helper.from_array(np.zeros(1, np.float32), "nought")
    path = tmp_path / "coin.onnx"
    onnx_cases.save(path, nodes, [onnx_cases.value("x", (1,))], [onnx_cases.value("y", (1,))], [nought])

    from pyperf_infer.models.inputs import make_inputs
    from pyperf_infer.models.spec import InputSpec

    spec = InputSpec("x", (1,), "float32")
    drawn = {seed: float(make_inputs([spec], {"x": (1,)}, seed)["x"][0]) for seed in range(20)}
    heads = next(seed for seed, x in drawn.items() if x > 0)
    tails = next(seed for seed, x in drawn.items() if x < 0)
    for seed, code in ((heads, 0), (tails, 1), (tails, 1)):
        run_command("run", "coin.onnx", *QUICK, "--seed", str(seed), cwd=tmp_path, code=code)
