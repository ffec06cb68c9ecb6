# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_models as tiny
import torch

from pyperf_infer.convert.export import export_to_onnx
from pyperf_infer.convert.outputs import flatten_outputs
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import InputSpec, LoadedModel

ROW = InputSpec("mask", ("batch", 4), "float32")


def run(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds))


def feeds_for(model: LoadedModel, batch: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {spec.name: generator.standard_normal((batch, 4)).astype(spec.dtype) for spec in model.inputs}


CASES = {
    "one output": (tiny.loaded(tiny.Perceptron(), tiny.X), ("output",)),
    "dataclass": (tiny.loaded(tiny.Structured(), tiny.X, ROW), ("logits", "hidden.0", "hidden.1")),
    # mul is a value inside the graph, x is the input: the outputs give way.
    "mapping": (tiny.loaded(tiny.Mapped(), tiny.X), ("mul_2", "add.0", "x_2", "a_b_c")),
    "varargs": (tiny.loaded(tiny.Variadic(), tiny.X, ROW), ("output",)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_computes_what_flatten_outputs_lists_at_any_batch(case: str, tmp_path: Path) -> None:
    model, names = CASES[case]
    info = export_to_onnx(model, tmp_path / "model.onnx")
    assert info.outputs == names
    assert info.inputs == tuple(spec.name for spec in model.inputs)
    assert model.module is not None
    for batch in (1, 2, 5):
        feeds = feeds_for(model, batch)
        expected = flatten_outputs(model.module(*(torch.from_numpy(feed) for feed in feeds.values())))
        for ours, theirs in zip(run(info.path, feeds), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_inputs_returned_as_outputs_repeated_outputs_and_unused_inputs(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Passing(), tiny.X, InputSpec("unused", ("batch", 4), "float32"))
    info = export_to_onnx(model, tmp_path / "model.onnx")
    assert info.inputs == ("x", "unused")
    assert len(set(info.outputs)) == 3
    feeds = feeds_for(model, 3)
    actual = run(info.path, feeds)
    for ours, theirs in zip(actual, (feeds["x"], feeds["x"] * 2, feeds["x"] * 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_open_first_dimensions_are_the_dynamic_batch_and_others_are_fixed(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Variadic(), InputSpec("a", (None, "width"), "float32"), InputSpec("b", (1, 4), "float32"))
    info = export_to_onnx(model, tmp_path / "model.onnx", shapes={"a": (7, 4), "b": (1, 4)})
    dimensions = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(info.path).graph.input
    }
    assert dimensions == {"a": ["batch", 4], "b": [1, 4]}


def test_batches_that_differ_between_inputs_are_fixed_as_asked(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Variadic(), tiny.X, ROW)
    info = export_to_onnx(model, tmp_path / "model.onnx", shapes={"x": (6, 4), "mask": (1, 4)})
    feeds = {"x": np.ones((6, 4), np.float32), "mask": np.full((1, 4), 2, np.float32)}
    np.testing.assert_array_equal(run(info.path, feeds)[0], np.full((6, 4), 3))


def test_weights_lie_beside_the_file_under_their_own_names(tmp_path: Path) -> None:
    model = tiny.loaded(torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Linear(64, 64)), tiny.X)
    info = export_to_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size >= 64 * 64 * 4
    names = {initializer.name for initializer in onnx.load(info.path, load_external_data=False).graph.initializer}
    assert {"0.weight", "1.weight"} <= names


def test_a_given_opset_is_used_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Perceptron(), tiny.X)
    assert export_to_onnx(model, tmp_path / "model.onnx", opset=18).opset == 18
    with pytest.raises(InputError, match="opset 999"):
        export_to_onnx(model, tmp_path / "other.onnx", opset=999)


def test_integer_and_half_inputs(tmp_path: Path) -> None:
    model = tiny.loaded(torch.nn.Embedding(5, 3), InputSpec("ids", ("batch", 4), "int64"))
    info = export_to_onnx(model, tmp_path / "model.onnx")
    assert run(info.path, {"ids": np.full((3, 4), 4)})[0].shape == (3, 4, 3)
    half = tiny.loaded(torch.nn.Identity(), InputSpec("h", ("batch", 2), "float16"))
    assert run(export_to_onnx(half, tmp_path / "h.onnx").path, {"h": np.ones((3, 2), np.float16)})[0].shape == (3, 2)


def line_of_the_culprit(model: type) -> str:
    lines = Path(tiny.__file__).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"class {model.__name__}("))
    return f"tiny_models.py:{next(n for n, line in enumerate(lines, 1) if n > start and 'the culprit' in line)}"


@pytest.mark.parametrize(
    ("module", "spec", "says"),
    [
        (tiny.Branching(), tiny.X, "if x.sum() > 0"),
        (tiny.Eigen(), InputSpec("x", ("batch", 4, 4), "float32"), "aten.linalg_eig"),
    ],
    ids=["tracing", "translating"],
)
def test_a_failed_export_names_operator_and_line(
    module: torch.nn.Module, spec: InputSpec, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        export_to_onnx(tiny.loaded(module, spec, name="culprit"), tmp_path / "model.onnx")
    message = str(caught.value)
    assert message.startswith("culprit cannot be exported to ONNX: ")
    assert says in message
    assert line_of_the_culprit(type(module)) in message
    assert "Traceback" not in message
    assert "\x1b" not in message
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_model_that_fixes_the_batch_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="static shape of 2"):
        export_to_onnx(tiny.loaded(tiny.FixedBatch(), tiny.X), tmp_path / "model.onnx")


def test_a_model_that_fails_on_its_own_input_is_an_input_error_with_the_line(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Perceptron(), InputSpec("x", ("batch", 5), "float32"))
    with pytest.raises(InputError, match=r"tiny_models\.py:\d+ in forward: result"):
        export_to_onnx(model, tmp_path / "model.onnx")


def test_an_open_dimension_without_a_size_is_named(tmp_path: Path) -> None:
    model = tiny.loaded(tiny.Perceptron(), InputSpec("x", ("batch", "length", 4), "float32"))
    with pytest.raises(InputError, match=r"'x'.*dimension 1 \('length'\).*--shape x:"):
        export_to_onnx(model, tmp_path / "model.onnx")


def test_a_folder_that_is_not_there_is_an_input_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        export_to_onnx(tiny.loaded(tiny.Perceptron(), tiny.X), tmp_path / "missing" / "model.onnx")


def test_an_export_prints_nothing(tmp_path: Path) -> None:
    # A fresh process: torch's loggers keep the stream of the moment they are made, which no fixture sees.
    script = f"""
import sys; sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
import tiny_models as tiny
from pyperf_infer.convert.export import export_to_onnx
from pyperf_infer.errors import InputError
export_to_onnx(tiny.loaded(tiny.Structured(), tiny.X, tiny.InputSpec("mask", ("batch", 4), "float32")), "good.onnx")
try:
    export_to_onnx(tiny.loaded(tiny.Branching(), tiny.X), "bad.onnx")
except InputError as error:
    assert "The exporter printed" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_threads_may_print_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with captured_chatter() as chatter:
        print("chatter")  # noqa: T201
        other = threading.Thread(target=print, args=("progress",))
        other.start()
        other.join()
    assert chatter.getvalue() == "chatter\n"
    assert capsys.readouterr().out == "progress\n"


def test_a_logger_that_holds_the_terminal_is_quiet_meanwhile_and_gets_it_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("onnx_of_the_quiet_test")
    logger.addHandler(handler)
    try:
        with captured_chatter() as chatter:
            logger.warning("chatter")
        logger.warning("afterwards")
    finally:
        logger.removeHandler(handler)
    assert chatter.getvalue() == "chatter\n"
    assert capsys.readouterr().err == "afterwards\n"
