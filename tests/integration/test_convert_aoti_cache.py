# SPDX-License-Identifier: Apache-2.0
"""Which compiled models are taken for the same. The compile itself is replaced: it only writes a file."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch

from pyperf_infer.convert import aoti, aoti_export, cache_folder, fingerprint
from pyperf_infer.convert.aoti_cache import CachedPackage, cached_package, compile_package
from pyperf_infer.convert.fingerprint import describe_package
from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.models.spec import LoadedModel, WeightsInfo

OPTIONS: dict[str, Any] = {
    "shapes": {"x": (2, 4)},
    "threads": 2,
    "precision": "float32",
    "device": "cpu",
    "channels_last": False,
    "autocast": False,
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Device and threads of each compile that was asked for."""
    done: list[tuple[str, int]] = []

    def write(name: str, program: object, path: Path, *, threads: int, device: str) -> aoti.Compiled:
        done.append((device, threads))
        path.write_bytes(b"compiled")
        return aoti.Compiled(1.5, {"compiled_threads": "open"})

    monkeypatch.setattr(aoti, "compile_to_package", write)
    return done


@pytest.fixture
def model() -> LoadedModel:
    return tiny.loaded(tiny.Perceptron(), tiny.X)


def ask(model: LoadedModel, **changes: Any) -> CachedPackage:
    def prepared() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        assert model.module is not None
        return model.module, (torch.randn(2, 4),)

    return cached_package(model, **{**OPTIONS, "prepared": prepared, **changes})


def test_a_compile_is_kept_with_what_it_took(root: Path, compiles: list[tuple[str, int]], model: LoadedModel) -> None:
    first = ask(model)
    second = ask(copy.deepcopy(model))
    assert compiles == [("cpu", 2)]
    assert (first.hit, first.compile_s, first.outputs, first.rebuilt) == (False, 1.5, ("output",), None)
    assert first.export_s
    assert second == replace(first, hit=True, export_s=None, compile_s=None)
    assert first.path.suffix == ".pt2"
    assert first.path.read_bytes() == b"compiled"


def test_a_damaged_or_outdated_package_is_compiled_again_and_said_once(
    root: Path, compiles: list[tuple[str, int]], model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(model)
    first.path.write_bytes(b"compile")
    assert ask(model).rebuilt == "it is damaged: model.pt2 is not what was written"
    assert ask(model).rebuilt is None
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    newer = ask(model)
    assert (newer.hit, newer.rebuilt) == (False, f"torch was {first_torch(first)} and is 2.99.0")
    assert ask(model).rebuilt is None
    assert len(compiles) == 3


def first_torch(package: CachedPackage) -> str:
    manifest = json.loads((package.path.parent / "manifest.json").read_text())
    return str(manifest["description"]["versions"]["torch"])


def other_weights(model: LoadedModel) -> LoadedModel:
    return replace(model, weights=WeightsInfo("random", 1, "0" * 64))


def other_setting(model: LoadedModel) -> LoadedModel:
    return replace(model, module=tiny.Perceptron(scale=2.0).eval())


def other_name(model: LoadedModel) -> LoadedModel:
    return replace(model, name="other")


@pytest.mark.parametrize("change", [other_weights, other_setting, other_name])
def test_another_model_is_another_package(model: LoadedModel, change: Callable[[LoadedModel], LoadedModel]) -> None:
    assert describe_package(change(model), **OPTIONS) != describe_package(model, **OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shapes", {"x": (3, 4)}),
        ("threads", 1),
        ("threads", 3),
        ("precision", "bfloat16"),
        ("channels_last", True),
        ("autocast", True),
    ],
)
def test_whatever_is_asked_for_is_in_the_key(model: LoadedModel, name: str, value: object) -> None:
    plain = describe_package(model, **OPTIONS)
    assert describe_package(model, **{**OPTIONS, name: value}) != plain
    assert describe_package(copy.deepcopy(model), **OPTIONS) == plain


def test_the_machine_and_what_compiles_are_in_the_key(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = [describe_package(model, **OPTIONS)]

    def describe() -> None:
        described.append(describe_package(model, **OPTIONS))

    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho a compiler 99.1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    describe()
    compiler.write_text("#!/bin/sh\necho a compiler 99.2\n")
    describe()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    describe()
    monkeypatch.setattr(fingerprint, "read_fields", lambda path: {"flags": "sse2 fma"})
    describe()
    monkeypatch.setattr(fingerprint, "read_fields", lambda path: {"flags": "sse2 fma amx_tile"})
    describe()
    monkeypatch.setenv("TORCHINDUCTOR_FREEZING", "1")
    describe()
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    describe()
    keys = {json.dumps(description, sort_keys=True) for description in described}
    assert len(keys) == len(described)


def test_where_inductor_keeps_its_files_and_the_order_of_flags_are_not_in_the_key(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "read_fields", lambda path: {"flags": "sse2 fma"})
    plain = describe_package(model, **OPTIONS)
    monkeypatch.setattr(fingerprint, "read_fields", lambda path: {"flags": "fma sse2"})
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert describe_package(model, **OPTIONS) == plain


def test_a_gpu_is_in_the_key_by_name_and_capability(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(name: str, capability: tuple[int, int]) -> Any:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        return describe_package(model, **{**OPTIONS, "device": "cuda:0"})["device"]

    large = describe("Large", (9, 0))
    assert (large["kind"], large["name"], large["compute_capability"]) == ("cuda:0", "Large", "9.0")
    assert large != describe("Small", (9, 0))
    assert large != describe("Large", (10, 0))


def test_a_factory_is_compiled_into_the_folder_it_is_given_and_kept_by_nobody(
    root: Path, tmp_path: Path, compiles: list[tuple[str, int]], model: LoadedModel
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    assert model.module is not None
    module = model.module
    made = [
        compile_package(model, folder, threads=1, device="cpu", prepared=lambda: (module, (torch.randn(2, 4),)))
        for _ in range(2)
    ]
    assert compiles == [("cpu", 1), ("cpu", 1)]
    assert [(one.hit, one.path.parent, one.compile_s) for one in made] == [(False, folder, 1.5)] * 2
    assert not root.exists()


def test_a_compile_that_fails_leaves_nothing(root: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, program: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half of it")
        raise BackendError("the compiler failed")

    monkeypatch.setattr(aoti, "compile_to_package", fail)
    with pytest.raises(BackendError, match="the compiler failed"):
        ask(model)
    assert [path.name for path in root.iterdir()] == ["locks"]


def test_a_model_that_cannot_be_exported_is_never_compiled(root: Path, compiles: list[tuple[str, int]]) -> None:
    with pytest.raises(InputError, match=r"if x\.sum"):
        ask(tiny.loaded(tiny.Branching(), tiny.X))
    assert compiles == []


def test_an_onnx_file_is_refused(root: Path, model: LoadedModel) -> None:
    file = replace(model, module=None, onnx_path=Path("model.onnx"))
    with pytest.raises(InputError, match="--backend onnxruntime"):
        ask(file)


def test_exported_onnx_files_lie_elsewhere(root: Path, compiles: list[tuple[str, int]], model: LoadedModel) -> None:
    ask(model)
    assert [path.name for path in root.parent.iterdir()] == ["compiled"]


def test_a_hit_imports_none_of_inductor(
    root: Path, compiles: list[tuple[str, int]], model: LoadedModel, tmp_path: Path
) -> None:
    ask(model)
    script = f"""
import sys; sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
import tiny_models as tiny
from pyperf_infer.convert.aoti_cache import cached_package
found = cached_package(tiny.loaded(tiny.Perceptron(), tiny.X), **{OPTIONS!r}, prepared=None)
assert found.hit
assert "torch._inductor.compile_fx" not in sys.modules
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, env=dict(os.environ), check=True)


def test_what_is_exported_is_the_prepared_module_and_not_the_loaded_one(
    root: Path, compiles: list[tuple[str, int]], model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.nn.Module, list[str]]] = []

    def note(name: str, module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> aoti_export.Exported:
        seen.append((module, list(inputs)))
        return aoti_export.Exported(None, ("output",), 0.1)  # type: ignore[arg-type]

    monkeypatch.setattr(aoti_export, "export_for_aoti", note)
    half = copy.deepcopy(model.module)
    assert half is not None
    half = half.to(torch.bfloat16)
    ask(model, precision="bfloat16", prepared=lambda: (half, (torch.randn(2, 4, dtype=torch.bfloat16),)))
    assert seen == [(half, ["x"])]
