# SPDX-License-Identifier: Apache-2.0
"""Backend torch-aoti: what it compiles and keeps, what it runs, and what it says of both."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import tiny_models
import torch
from command_line import QUICK, run_command
from fake_torch_cuda import FakeTorchCuda
from tiny_models import X, loaded

from pyperf_infer import _core
from pyperf_infer.backends import torch_aoti, torch_cpu
from pyperf_infer.backends.base import Array, BackendOptions
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.convert.aoti_cache import CachedPackage
from pyperf_infer.errors import InputError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel

MASK = InputSpec("mask", ("batch", 4), "float32")
IMAGE = InputSpec("x", ("batch", 3, 8, 8), "float32")
SHAPES = {"x": (2, 4)}


def backend(**asked: Any) -> torch_aoti.TorchAoti:
    made = make_backend("torch-aoti", BackendOptions(**{"threads": 2, **asked}))
    assert isinstance(made, torch_aoti.TorchAoti)
    return made


def inputs_of(model: LoadedModel, seed: int, batch: int = 2) -> dict[str, Array]:
    return make_inputs(model.inputs, {spec.name: (batch, *spec.shape[1:]) for spec in model.inputs}, seed)  # type: ignore[misc]


def eager(model: LoadedModel, seed: int) -> dict[str, Array]:
    return make_backend("torch", BackendOptions(threads=2)).prepare(model, inputs_of(model, seed)).outputs()


@pytest.fixture(scope="module")
def structured() -> LoadedModel:
    return loaded(tiny_models.Structured(), X, MASK)


@pytest.fixture(scope="module")
def compiled(structured: LoadedModel) -> Iterator[torch_aoti.PreparedAoti]:
    """The one model here that is really compiled: two inputs, a dataclass with a tuple and a None in it."""
    made = backend()
    seconds = made.convert(structured, {"x": (2, 4), "mask": (2, 4)})
    assert seconds is not None
    assert seconds > 0
    prepared = made.prepare(structured, inputs_of(structured, 1))
    assert isinstance(prepared, torch_aoti.PreparedAoti)
    yield prepared
    prepared.close()
    with pytest.raises(InputError, match="closed"):
        prepared.outputs()


def test_outputs_are_those_of_the_module_on_any_input(
    structured: LoadedModel, compiled: torch_aoti.PreparedAoti
) -> None:
    for seed in (2, 1):
        compiled.bind(inputs_of(structured, seed))
        outputs, expected = compiled.outputs(), eager(structured, seed)
        assert list(outputs) == list(expected) == ["logits", "hidden.0", "hidden.1"]
        for name, array in expected.items():
            np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-6)


def test_it_runs_in_the_native_loop_without_python(compiled: torch_aoti.PreparedAoti) -> None:
    assert not compiled.target.needs_python
    samples = _core.Samples()
    with compiled.measuring():
        _core.run_batch(compiled.target, samples, 50)
    assert len(samples) == 50
    assert not [one for one in psutil.Process().children(recursive=True) if "compile" in " ".join(one.cmdline())]


def test_loading_and_compiling_are_times_of_their_own(compiled: torch_aoti.PreparedAoti) -> None:
    facts = compiled.facts
    assert (facts.backend, facts.loop, facts.threads, facts.provider) == ("torch-aoti", "native", 2, None)
    assert facts.load_s is not None
    assert facts.compile_s is not None
    assert facts.compile_s > facts.load_s > 0
    assert facts.first_inference_ms > 0
    assert not facts.first_inference_warm
    assert (facts.graph_breaks, facts.graph_break_reasons) == (None, ())
    assert {name: facts.settings[name] for name in ("compiled_threads", "inference_mode", "package_cached")} == {
        "compiled_threads": 2, "inference_mode": True, "package_cached": False
    }  # fmt: skip
    assert facts.settings["package_rebuilt"] is None


class FakeModel:
    """A package that doubles its first input."""

    loaded: ClassVar[list[FakeModel]] = []

    def __init__(self, path: Path, **options: Any) -> None:
        FakeModel.loaded.append(self)
        self.path, self.options = path, options
        self.create_ns, self.first_run_ns = 1_000_000, None
        self.bound: tuple[torch.Tensor, ...] = ()
        self.target = _core.CallableTarget(lambda: None)
        self.closed = False

    def bind(self, *tensors: torch.Tensor) -> None:
        self.bound = tensors

    def run(self) -> list[Array]:
        self.first_run_ns = 2_000_000
        return [self.bound[0].float().numpy() * 2]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What was to be compiled; nothing is, and what is loaded are FakeModels."""
    packages: list[dict[str, Any]] = []

    def package(name: str, model: LoadedModel, folder: Path | None, given: dict[str, Any]) -> CachedPackage:
        packages.append({"how": name, "model": model, "folder": folder, **given})
        return CachedPackage(
            path=(folder or Path("kept")) / "model.pt2",
            hit=False,
            export_s=0.5,
            compile_s=1.5,
            outputs=("output",),
            rebuilt="it is damaged: x",
            settings={"compiled_threads": "open"},
        )

    monkeypatch.setattr(torch_aoti, "cached_package", lambda model, **given: package("kept", model, None, given))
    monkeypatch.setattr(
        torch_aoti, "compile_package", lambda model, folder, **given: package("made", model, folder, given)
    )
    monkeypatch.setattr(torch_aoti, "AotiModel", FakeModel)
    FakeModel.loaded.clear()
    yield packages
    FakeModel.loaded.clear()


def named(source: str, module: torch.nn.Module | None = None, spec: InputSpec = X) -> LoadedModel:
    model = loaded(module or tiny_models.Perceptron(), spec)
    model.source = source
    return model


def test_a_models_package_is_kept_by_all_that_it_depends_on(asked: list[dict[str, Any]]) -> None:
    model = named("built-in")
    made = backend(threads=3, channels_last=True)
    assert made.convert(model, SHAPES) == 0.5
    (one,) = asked
    assert one.pop("prepared") is not None
    assert one == {
        "how": "kept", "model": model, "folder": None, "shapes": SHAPES, "threads": 3, "precision": "float32",
        "device": "cpu", "channels_last": True, "autocast": False,
    }  # fmt: skip


def test_a_factorys_package_is_kept_only_while_the_backend_is_there(asked: list[dict[str, Any]]) -> None:
    made = backend()
    made.convert(named("factory"), SHAPES)
    made.convert(named("factory"), SHAPES)
    first, second = (one["folder"] for one in asked)
    assert not first.exists()
    assert second.exists()
    asked.clear()  # what was to be compiled refers to the backend
    del made
    gc.collect()
    assert not second.exists()


def test_it_compiles_anew_for_other_shapes_or_another_model_only(asked: list[dict[str, Any]]) -> None:
    made, model = backend(), named("built-in")
    assert made.convert(model, SHAPES) == 0.5
    assert made.convert(model, SHAPES) is None
    assert made.convert(model, {"x": (3, 4)}) == 0.5
    assert made.convert(named("built-in"), {"x": (3, 4)}) == 0.5
    assert len(asked) == 3


def test_what_was_not_compiled_for_is_not_run(asked: list[dict[str, Any]]) -> None:
    made, model = backend(), named("built-in")
    with pytest.raises(InputError, match="tiny has not been compiled for inputs of these shapes"):
        made.prepare(model, inputs_of(model, 1))
    made.convert(model, SHAPES)
    with pytest.raises(InputError, match="not been compiled"):
        made.prepare(model, inputs_of(model, 1, batch=3))
    assert FakeModel.loaded == []


def test_facts_say_that_an_entry_was_rebuilt(asked: list[dict[str, Any]]) -> None:
    made, model = backend(), named("built-in")
    made.convert(model, SHAPES)
    facts = made.prepare(model, inputs_of(model, 1)).facts
    assert facts.settings["package_rebuilt"] == "it is damaged: x"
    assert (facts.load_s, facts.first_inference_ms, facts.compile_s) == (0.001, 2.0, 1.5)
    (one,) = FakeModel.loaded
    assert one.options == {"check": False}  # it was compiled for the very inputs that are bound
    assert one.path == Path("kept/model.pt2")


def test_what_fails_while_it_is_prepared_is_closed(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FakeModel) -> list[Array]:
        raise MemoryError("no")

    monkeypatch.setattr(FakeModel, "run", fail)
    made, model = backend(), named("built-in")
    made.convert(model, SHAPES)
    with pytest.raises(Exception, match="no"):
        made.prepare(model, inputs_of(model, 1))
    assert [one.closed for one in FakeModel.loaded] == [True]


@pytest.mark.usefixtures("asked")
def test_a_package_that_is_refused_is_called_by_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise InputError(f"{path} calls aten::complex through PyTorch's proxy executor")

    monkeypatch.setattr(torch_aoti, "AotiModel", refuse)
    made, model = backend(), named("factory")
    made.convert(model, SHAPES)
    with pytest.raises(InputError) as caught:
        made.prepare(model, inputs_of(model, 1))
    assert str(caught.value).startswith(f"{model.name}, compiled by AOTInductor, calls aten::complex through")
    assert "model.pt2" not in str(caught.value)
    assert "--backend torch" in str(caught.value)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_precision_is_compiled_in(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, autocast: bool
) -> None:
    """With autocast inside of what is exported, so that it holds without Python too."""
    monkeypatch.setattr(torch_cpu, "check_instructions", lambda precision: ())  # whatever CPU this is
    model = named("built-in")
    made = backend(precision="bfloat16", autocast=autocast)
    made.convert(model, SHAPES)
    module, (x,) = asked[0]["prepared"]()
    assert not module.training
    weights = {one.dtype for one in module.parameters()}
    assert weights == {torch.float32 if autocast else torch.bfloat16}
    assert x.dtype is (torch.float32 if autocast else torch.bfloat16)
    lowered = [node.target for node in torch.export.export(module, (x,), strict=False).graph.nodes]
    assert any("autocast" in str(target) for target in lowered) == autocast
    made.prepare(model, inputs_of(model, 1))
    assert FakeModel.loaded[0].bound[0].dtype is x.dtype
    facts = made.prepare(model, inputs_of(model, 1)).facts
    assert facts.settings["autocast"] == ("bfloat16, compiled in" if autocast else None)


def test_images_are_laid_out_alike_for_compiling_and_running(asked: list[dict[str, Any]]) -> None:
    model = named("built-in", torch.nn.Conv2d(3, 4, 3), IMAGE)
    made = backend(channels_last=True)
    made.convert(model, {"x": (2, 3, 8, 8)})
    module, (x,) = asked[0]["prepared"]()
    made.prepare(model, inputs_of(model, 1))
    for tensor in (x, FakeModel.loaded[0].bound[0], module.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_an_onnx_file_is_not_taken() -> None:
    model = loaded(tiny_models.Perceptron(), X)
    model.module = None
    made = backend()
    assert not made.accepts(model)
    with pytest.raises(InputError, match="tiny is an ONNX file"):
        made.convert(model, SHAPES)


def test_on_a_gpu_each_stream_has_a_model_and_inputs_of_its_own(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[list[FakeModel]] = []
    monkeypatch.setattr(torch_aoti, "several_streams", lambda models: joined.append(models) or "joint")
    with FakeTorchCuda.installed() as world:
        model = named("built-in")
        made = backend(device="cuda:0", streams=2, include_transfers=True, wait="block", gate=False)
        made.convert(model, SHAPES)
        assert asked[0]["device"] == "cuda:0"
        assert world.emptied  # the copy that was compiled from is gone
        prepared = made.prepare(model, inputs_of(model, 1))
        one, other = FakeModel.loaded
        assert {name: value for name, value in one.options.items() if name != "stream"} == {
            "device": "cuda:0", "include_transfers": True, "check": False, "wait": "block", "gate": False
        }  # fmt: skip
        assert one.options["stream"] is not other.options["stream"]
        assert one.bound[0].data_ptr() != other.bound[0].data_ptr()
        assert torch.equal(one.bound[0], other.bound[0])
        assert prepared.target == "joint"
        assert joined == [[one, other]]
        np.testing.assert_allclose(prepared.outputs()["output"], inputs_of(model, 1)["x"] * 2)
        prepared.close()
        assert one.closed
        assert other.closed


def test_an_export_that_fails_is_a_row_that_names_the_line_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n\n"
        "class Branching(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x * 2 if x.sum() > 0 else x  # the culprit\n\n"
        "def make():\n"
        "    return Branching(), torch.zeros(2, 4)\n"
    )
    arguments = ["run", "own:make", "--backend", "torch-aoti", "--backend", "torch", *QUICK]
    done = run_command(*arguments, "--results-format", "json", cwd=tmp_path, code=3)
    failed, eager_row = done.document.results
    assert failed.error is not None
    assert "own.py:5 in forward: return x * 2 if x.sum() > 0 else x # the culprit" in failed.error.message
    assert "--backend torch" in failed.error.message
    assert eager_row.error is None
