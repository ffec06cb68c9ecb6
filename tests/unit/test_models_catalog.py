# SPDX-License-Identifier: Apache-2.0
"""Names of models: what each resolves to, what an unknown one is answered with, and that none of it imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import builtin_names, list_models, resolve


def test_the_built_in_models_in_the_order_of_their_depth() -> None:
    vggs = [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]
    assert builtin_names() == ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", *vggs]


def test_each_form_of_name_has_its_source(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b.YML").touch()
    names = [
        "resnet50",
        "timm:vit_tiny_patch16_224",
        "hf:gpt2",
        f"{tmp_path}/a.onnx",
        f"{tmp_path}/b.YML",
        "my.package:make.it",
    ]
    assert [resolve(name).source for name in names] == ["built-in", "timm", "hf", "onnx", "config", "factory"]
    assert [resolve(name).name for name in names] == names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet51", r"unknown model 'resnet51' \(did you mean .*resnet50.*models list"),
        ("ResNet50", r"did you mean resnet50"),
        ("", r"unknown model ''"),
        ("timm:", r"unknown model 'timm:'"),
        ("hf:", r"unknown model 'hf:'"),
        ("models/net.py:build", r"write the module as Python imports it: models.net:build"),
        ("net.py:build", r"write the module as Python imports it: net:build"),
        ("weights.pth", r"weights file.*--weights"),
        ("no/such/file.onnx", r"no/such/file.onnx: there is no such file"),
        ("no/such/file.yaml", r"there is no such file"),
        ("a b:c", r"unknown model"),
    ],
)
def test_an_unknown_name_is_answered_with_what_to_do(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(name)


def test_a_missing_file_is_answered_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "model_v2.onnx").touch()
    with pytest.raises(InputError, match=r"did you mean model_v2\.onnx"):
        resolve(str(tmp_path / "model_v3.onnx"))


def test_a_folder_with_a_model_suffix_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        resolve(str(tmp_path / "folder.onnx"))
    (tmp_path / "model.tflite").touch()
    with pytest.raises(InputError, match="a file of this kind is not read"):
        resolve(str(tmp_path / "model.tflite"))


@pytest.mark.parametrize(("pattern", "count"), [(None, 13), ("", 13), ("vgg", 8), ("VGG1?", 4), ("*_bn", 4), ("50", 1)])
def test_list_models_takes_parts_of_names_and_globs(pattern: str | None, count: int) -> None:
    listed = list_models(pattern)
    assert len(listed) == count
    assert all(row.source == "built-in" and row.description for row in listed)


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no model matches 'reznet50' \(did you mean resnet50"):
        list_models("reznet50")


def test_resolving_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pyperf_infer.models.catalog import resolve; "
        "resolve('resnet50'); resolve('timm:x'); resolve('hf:x'); resolve('a.b:c'); "
        "heavy = ('torch', 'onnx', 'timm', 'transformers', 'onnxruntime', 'torchvision', 'numpy'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
