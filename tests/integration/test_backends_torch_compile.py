# SPDX-License-Identifier: Apache-2.0
"""Backend torch-compile: what it runs, what it says of compiling, and what fails."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tiny_models
import torch
from fake_torch_cuda import FakeTorchCuda
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import X, loaded

from pyperf_infer import _core
from pyperf_infer.backends import compile_log, compiling
from pyperf_infer.backends.base import BackendOptions, PreparedBackend
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_compile import PreparedTorchCompile
from pyperf_infer.errors import BackendError, InputError, MeasurementError, OutOfMemoryError, UsageError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel

MASK = InputSpec("mask", ("batch", 4), "float32")


def prepared(model: LoadedModel, *, batch: int = 2, **asked: Any) -> PreparedTorchCompile:
    inputs = make_inputs(model.inputs, {spec.name: (batch, 4) for spec in model.inputs}, 1)
    made = make_backend("torch-compile", BackendOptions(threads=1, **asked)).prepare(model, inputs)
    assert isinstance(made, PreparedTorchCompile)
    return made


def eager(model: LoadedModel, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    inputs = make_inputs(model.inputs, {spec.name: (2, 4) for spec in model.inputs}, seed)
    return make_backend("torch", BackendOptions(threads=1)).prepare(model, inputs).outputs()


def timed(made: PreparedBackend, calls: int) -> None:
    with made.measuring():
        _core.run_batch(made.target, _core.Samples(), calls)


@pytest.fixture(scope="module")
def structured() -> LoadedModel:
    return loaded(tiny_models.Structured(), X, MASK)


@pytest.fixture(scope="module")
def compiled(structured: LoadedModel) -> Iterator[PreparedTorchCompile]:
    """The one model here that goes through Inductor and the C++ compiler."""
    before = {name: os.environ.get(name) for name in ("TORCHINDUCTOR_CACHE_DIR", "TMPDIR", "TRITON_CACHE_DIR")}
    with torch._inductor.config.patch(cpp_cache_precompile_headers=False):  # which take longer than this one model
        made = prepared(structured)
    assert {name: os.environ.get(name) for name in before} == before
    yield made
    made.close()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Graphs are run as they are traced, without a compiler. What torch.compile was asked for is listed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked: list[dict[str, Any]] = []
    really = torch.compile

    def trace(module: torch.nn.Module, **options: Any) -> Any:
        asked.append(options)
        return really(module, backend="eager", dynamic=options["dynamic"])

    monkeypatch.setattr(torch, "compile", trace)
    return asked


def test_outputs_are_those_of_the_module_on_any_input(structured: LoadedModel, compiled: PreparedTorchCompile) -> None:
    for seed in (1, 2):
        compiled.bind(make_inputs(structured.inputs, {"x": (2, 4), "mask": (2, 4)}, seed))
        outputs, expected = compiled.outputs(), eager(structured, seed)
        assert list(outputs) == list(expected) == ["logits", "hidden.0", "hidden.1"]
        for name, array in expected.items():
            np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-6)


def test_compiling_is_a_time_of_its_own_and_leaves_no_process(compiled: PreparedTorchCompile) -> None:
    facts = compiled.facts
    assert facts.compile_s is not None
    assert facts.compile_s > facts.first_inference_ms / 1e3 > 0
    assert facts.first_inference_warm
    assert (facts.graph_breaks, facts.graph_break_reasons) == (0, ())
    assert {name: facts.settings[name] for name in ("compile_mode", "compile_cache", "graphs", "recompiled")} == {
        "compile_mode": "default", "compile_cache": "fresh folder", "graphs": 1, "recompiled": 0
    }  # fmt: skip
    assert (facts.backend, facts.loop, facts.threads) == ("torch-compile", "native, Python callable", 1)
    assert not [one for one in psutil.Process().children(recursive=True) if "compile" in " ".join(one.cmdline())]
    timed(compiled, 5)
    assert compiled.facts.settings["recompiled"] == 0


def test_what_inductor_made_goes_when_it_is_closed(traced: object, tmp_path: Path) -> None:
    made = prepared(loaded(tiny_models.Perceptron(), X))
    assert len(list(tmp_path.iterdir())) == 1
    made.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises((InputError, MeasurementError), match="closed"):
        made.outputs()


def test_the_mode_and_static_shapes_are_passed_on(traced: list[dict[str, Any]]) -> None:
    made = prepared(loaded(tiny_models.Perceptron(), X), compile_mode="max-autotune")
    assert traced == [{"mode": "max-autotune", "dynamic": False}]
    assert made.facts.settings["compile_mode"] == "max-autotune"
    assert made.facts.settings["cuda_graphs"] == "none on the CPU"


class Breaking(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()  # before the first operator
        x = x + 1
        if x.sum() > 1e9:  # data-dependent
            x = x * 2
        return x - 1


class Repeated(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.Sequential(*(Once() for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.parts(x) * 2
        return result


class Once(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        torch._dynamo.graph_break()  # of each part
        return x * 3


class Looping(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = x + 1
            torch._dynamo.graph_break()  # in a loop
        return x


@pytest.mark.parametrize(
    ("module", "places", "graphs"),
    [
        (Breaking(), [("graph_break()", "before the first operator"), ("Data-dependent", "data-dependent")], 2),
        (Repeated(), [("graph_break()", "of each part")], None),
        (Looping(), [("graph_break()", "in a loop")], 0),
        (tiny_models.Perceptron(), [], 1),
    ],
    ids=lambda one: type(one).__name__,
)
def test_graph_breaks_are_places_each_with_its_reason_and_line(
    traced: object, module: torch.nn.Module, places: list[tuple[str, str]], graphs: int | None
) -> None:
    """A place counts once, however many graphs end there; one before any operator and one in a loop count too."""
    model = loaded(module, X)
    made = prepared(model)
    facts = made.facts
    assert facts.graph_breaks == len(facts.graph_break_reasons) == len(places)
    for said, (reason, comment) in zip(facts.graph_break_reasons, places, strict=True):
        assert reason in said
        assert f"{__file__}:" in said
        assert said.endswith(f"# {comment}")
    if graphs is not None:
        assert facts.settings["graphs"] == graphs
    for name, array in eager(model, 1).items():
        np.testing.assert_array_equal(made.outputs()[name], array)


@given(
    file=st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1),
    line=st.integers(1, 10**6),
    reason=st.text(st.characters(whitelist_categories=["L", "N"]), min_size=1),
    headings=st.lists(st.sampled_from(["Encountered graph break when tracing:", "Failed to handle it:"]), max_size=2),
    duplicate=st.booleans(),
)
def test_any_place_and_reason_are_read_from_what_torch_logs(
    file: str, line: int, reason: str, headings: list[str], duplicate: bool
) -> None:
    where = " (user stack suppressed due to duplicate graph break)" if duplicate else ""
    said = "\n\n".join([*headings, reason])
    text = f"Graph break{where} in user code at {file}:{line}\nGraph Break Reason: {said}\n  Hint: none\n"
    text += "" if duplicate else f'\nUser code traceback:\n  File "{file}", line {line}, in forward\n'
    record = logging.LogRecord("torch", logging.DEBUG, "", 0, text, None, None)
    assert compile_log._parsed(record) == (file, line, reason)


def test_a_function_left_to_python_as_a_whole_is_a_break_at_its_last_frame() -> None:
    text = (
        "Graph break: torch.compile cannot properly resume from this graph break, which results in a skip.\n"
        "torch.compile will skip tracing the frame forward (model.py line 3) and fall back to eager.\n"
        "The graph break occurred in the following user code:\n"
        '  File "model.py", line 9, in forward\n    y = g(x)\n  File "other.py", line 4, in g\n    raise\n'
    )
    error = RuntimeError("cannot go on:\nno such thing\nand more")
    record = logging.LogRecord("torch", logging.DEBUG, "", 0, text, None, (RuntimeError, error, None))
    assert compile_log._parsed(record) == ("other.py", 4, "no such thing")
    assert compile_log._parsed(logging.LogRecord("torch", logging.DEBUG, "", 0, "no place in it", None, None)) is None


def test_tracing_says_nothing_on_the_terminal_and_loggers_stay(
    traced: object, capfd: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._dynamo.symbolic_convert.__graph_breaks")]
    before = [(list(one.handlers), one.level, one.propagate) for one in loggers]
    prepared(loaded(Breaking(), X))
    assert [(list(one.handlers), one.level, one.propagate) for one in loggers] == before
    assert capfd.readouterr() == ("", "")


class Counting(torch.nn.Module):
    """Its state is a part of what is compiled, and another one in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


def test_compiling_again_while_it_is_timed_is_counted(traced: object, capfd: pytest.CaptureFixture[str]) -> None:
    made = prepared(loaded(Counting(), X))
    assert (made.facts.settings["recompiled"], made.facts.settings["recompiled_because"]) == (0, None)
    with made.measuring():
        _core.run_batch(made.target, _core.Samples(), 2)
        assert made.facts.settings["recompiled"] == 2  # already while it lasts: the row is made there
    assert made.facts.settings["recompiled"] == 2
    assert str(made.facts.settings["recompiled_because"]).startswith("self.calls == ")
    assert "in forward" in str(made.facts.settings["recompiled_because"])
    made.outputs()  # nothing of which is timed
    assert made.facts.settings["recompiled"] == 2
    timed(made, 20)  # torch.compile gives up meanwhile, and says so
    assert capfd.readouterr() == ("", "")


def test_batch_sizes_do_not_count_towards_each_others_limit(traced: object) -> None:
    """torch.compile gives up on a function that it has compiled eight times."""
    model = loaded(tiny_models.Perceptron(), X)
    for batch in range(1, 12):
        made = prepared(model, batch=batch)
        assert made.facts.settings["graphs"] == 1
        made.close()


def test_a_precision_is_that_of_weights_and_inputs(traced: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyperf_infer.backends import torch_cpu

    monkeypatch.setattr(torch_cpu, "check_instructions", lambda precision: ())  # whatever CPU this is
    model = loaded(tiny_models.Perceptron(), X)
    assert prepared(model, precision="bfloat16").outputs()["output"].dtype.name == "bfloat16"
    assert model.module is not None
    assert next(model.module.parameters()).dtype is torch.float32


def test_what_the_model_raises_is_an_error_that_names_it(traced: object, tmp_path: Path) -> None:
    class Failing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("not today\nor tomorrow")

    with pytest.raises(MeasurementError, match=r"torch\.compile failed on tiny: .*not today") as caught:
        prepared(loaded(Failing(), X))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def _raised(name: str, text: str) -> Exception:
    """As torch words it: a type of its own, that says which type it is about."""
    return type(name, (RuntimeError,), {})(text)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            _raised("InductorError", "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config"),
            BackendError,
            r"no C\+\+ compiler that works for tiny: install one .*apt install g\+\+",
        ),
        (_raised("InvalidCxxCompiler", "No working C++ compiler found"), BackendError, r"no C\+\+ compiler that works"),
        (
            _raised("InductorError", "CppCompileError: C++ compile error\n\nCommand:\ng++ a.cpp\n\nOutput:\nin a.cpp\n"
                    "a.cpp:1:10: fatal error: omp.h: No such file"),
            BackendError,
            r"torch.compile made of tiny\.\s+a.cpp:1:10: fatal error: omp.h(?s:.)*apt install g\+\+",
        ),
        (_raised("TritonMissing", "Cannot find a working triton"), BackendError, "pip install triton"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError, "while compiling tiny"),
        (_raised("BackendCompilerFailed", "odd\nand more"), MeasurementError, "BackendCompilerFailed: odd; --backend"),
        (InputError("ours"), InputError, "^ours$"),
    ],
)  # fmt: skip
def test_what_fails_while_compiling_says_what_to_do(
    traced: object, error: Exception, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says), compiling.compile_explained("tiny"):
        raise error


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_cuda_graphs_on_several_streams_are_refused(mode: str) -> None:
    with (
        FakeTorchCuda.installed(),
        pytest.raises(UsageError, match=f"--compile-mode {mode} .* 3 streams .*--streams 1"),
    ):
        make_backend("torch-compile", BackendOptions(threads=1, device="cuda", streams=3, compile_mode=mode))


def test_an_unknown_mode_is_answered_with_all_there_are() -> None:
    with pytest.raises(UsageError, match="no mode 'fast'; it can be default, reduce-overhead, max-autotune, max-"):
        make_backend("torch-compile", BackendOptions(threads=1, compile_mode="fast"))


def test_an_onnx_file_is_not_taken() -> None:
    model = loaded(tiny_models.Perceptron(), X)
    model.module = None
    backend = make_backend("torch-compile", BackendOptions(threads=1))
    assert not backend.accepts(model)
    with pytest.raises(InputError, match="tiny is an ONNX file"):
        backend.prepare(model, {})


def test_on_a_gpu_a_copy_is_compiled_and_called_on_each_stream(traced: list[dict[str, Any]]) -> None:
    with FakeTorchCuda.installed() as world:
        model = loaded(tiny_models.Perceptron(), X)
        made = prepared(model, device="cuda", streams=2)
        assert len(traced) == 1
        facts = made.facts
        assert facts.compile_s is not None
        assert (facts.graph_breaks, facts.settings["graphs"], facts.settings["recompiled"]) == (0, 1, 0)
        assert facts.settings["cuda_graphs"] == "not asked for"
        np.testing.assert_allclose(made.outputs()["output"], eager(model, 1)["output"], rtol=1e-6)
        assert len(made.target.lanes) == 2  # type: ignore[attr-defined]
        made.close()
        assert world.emptied


def test_each_call_into_cuda_graphs_begins_a_step(
    traced: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, calls in flight together would be taken for one step, and a graph recorded for each."""
    begun: list[bool] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", functools.partial(begun.append, True))
    with FakeTorchCuda.installed():
        made = prepared(loaded(tiny_models.Perceptron(), X), device="cuda", compile_mode="reduce-overhead")
        assert traced == [{"mode": "reduce-overhead", "dynamic": False}]
        count = len(begun)
        assert count >= 2
        made.outputs()
        assert len(begun) == count + 1
        made.close()
