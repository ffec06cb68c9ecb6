# SPDX-License-Identifier: Apache-2.0
"""Exports that are kept; what holds for whatever is kept stands in tests/unit/test_convert_kept.py."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import tiny_models as tiny
import torch

from pyperf_infer.convert import cache_folder, export
from pyperf_infer.convert.cache import CachedExport, cached_export
from pyperf_infer.convert.fingerprint import describe_export
from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "exports"


@pytest.fixture
def model() -> LoadedModel:
    return tiny.loaded(tiny.Perceptron(), tiny.X)


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith("tmp-")]


def never(*_: object, **__: object) -> None:
    raise AssertionError("exported again")


def test_the_second_call_is_a_hit_with_the_same_answer(
    root: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_export(model)
    monkeypatch.setattr(export, "export_to_onnx", never)
    second = cached_export(model)
    assert (first.hit, second.hit) == (False, True)
    assert replace(first, hit=True, seconds=0.0) == replace(second, seconds=0.0)
    assert (first.inputs, first.outputs) == (("x",), ("output",))
    onnx.checker.check_model(str(second.path))
    assert not leftovers(root)
    assert root.stat().st_mode & 0o777 == 0o700
    assert first.path.parent.stat().st_mode & 0o777 == 0o700


def other_weights(model: LoadedModel) -> LoadedModel:
    return replace(model, weights=WeightsInfo("random", 1, "0" * 64))


def other_setting(model: LoadedModel) -> LoadedModel:
    return replace(model, module=tiny.Perceptron(scale=2.0).eval())


def other_hidden_buffer(model: LoadedModel) -> LoadedModel:
    module = copy.deepcopy(model.module)
    assert module is not None
    module.get_buffer("offset").fill_(1.0)
    return replace(model, module=module)


def other_submodule(model: LoadedModel) -> LoadedModel:
    module = copy.deepcopy(model.module)
    assert module is not None
    module.extra = torch.nn.ReLU()
    return replace(model, module=module)


@pytest.mark.parametrize("change", [other_weights, other_setting, other_hidden_buffer, other_submodule])
def test_whatever_changes_the_file_changes_the_key(
    model: LoadedModel, change: Callable[[LoadedModel], LoadedModel]
) -> None:
    assert describe_export(change(model), None, {}) != describe_export(model, None, {})
    assert describe_export(copy.deepcopy(model), None, {}) == describe_export(model, None, {})


def test_the_batch_is_not_in_the_key_other_dimensions_and_the_opset_are() -> None:
    model = tiny.loaded(torch.nn.ReLU(), InputSpec("x", ("batch", "width"), "float32"))
    at_4 = describe_export(model, None, {"x": (1, 4)})
    assert describe_export(model, None, {"x": (8, 4)}) == at_4
    assert describe_export(model, None, {"x": (1, 5)}) != at_4
    assert describe_export(model, 18, {"x": (1, 4)}) != at_4


def test_source_files_of_a_models_classes_are_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return x * {}\n"
    monkeypatch.syspath_prepend(str(tmp_path))
    described = []
    for name, factor in (("net_of_the_key_test_a", 2), ("net_of_the_key_test_b", 3)):
        (tmp_path / f"{name}.py").write_text(source.format(factor))
        net = __import__(name).Net()
        described.append(describe_export(tiny.loaded(net, tiny.X), None, {})["structure_sha256"])
    assert described[0] != described[1]


def truncate_weights(entry: Path) -> None:
    os.truncate(entry / "model.onnx.data", 1)


def drop_weights(entry: Path) -> None:
    (entry / "model.onnx.data").unlink()


def flip_graph(entry: Path) -> None:
    content = bytearray((entry / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (entry / "model.onnx").write_bytes(content)


def empty_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text("")


def odd_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text('["not", "a", "manifest"]')


@pytest.mark.parametrize("damage", [truncate_weights, drop_weights, flip_graph, empty_manifest, odd_manifest])
def test_a_damaged_entry_is_rebuilt(root: Path, damage: Callable[[Path], None]) -> None:
    model = tiny.loaded(torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Linear(64, 64)), tiny.X)
    first = cached_export(model)
    damage(first.path.parent)
    again = cached_export(model)
    assert not again.hit
    assert again.path == first.path
    onnx.checker.check_model(str(again.path))
    assert cached_export(model).hit
    assert not leftovers(root)


def test_a_failed_export_leaves_nothing_behind(root: Path) -> None:
    with pytest.raises(InputError, match="cannot be exported"):
        cached_export(tiny.loaded(tiny.Branching(), tiny.X))
    assert [path.name for path in root.iterdir()] == ["locks"]


def test_without_the_lock_the_first_one_to_finish_stays(
    root: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second builder finds an entry that came up while it was building."""
    write = export.export_to_onnx
    rival: list[CachedExport] = []
    manifests: list[str] = []

    def overtaken(*args: object, **kwargs: object) -> export.ExportInfo:
        monkeypatch.setattr(export, "export_to_onnx", write)
        monkeypatch.setattr(cache_folder, "LOCK_TIMEOUT_SECONDS", 0.0)
        rival.append(cached_export(model))
        manifests.append((rival[0].path.parent / "manifest.json").read_text())
        return write(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "export_to_onnx", overtaken)
    late = cached_export(model)
    assert late.path == rival[0].path
    assert (late.path.parent / "manifest.json").read_text() == manifests[0]  # it holds the export's exact duration
    assert cached_export(model).hit
    assert not leftovers(root)


def test_a_cache_folder_that_cannot_be_made_names_the_variable(
    tmp_path: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match=cache_folder.ENVIRONMENT_VARIABLE):
        cached_export(model)


def test_a_hit_imports_neither_onnx_nor_the_exporter(root: Path, model: LoadedModel, tmp_path: Path) -> None:
    cached_export(model)
    script = f"""
import sys; sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
import tiny_models as tiny
from pyperf_infer.convert.cache import cached_export
assert cached_export(tiny.loaded(tiny.Perceptron(), tiny.X)).hit
assert not {{"onnx", "onnxscript", "onnx_ir"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
