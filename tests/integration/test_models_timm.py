# SPDX-License-Identifier: Apache-2.0
"""`timm:NAME`: input sizes, reproducible weights, and what is said where timm or the name is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.models.catalog import list_models, resolve

timm = pytest.importorskip("timm", exc_type=ModuleNotFoundError)


def test_the_input_size_is_the_models_own() -> None:
    loaded = resolve("timm:test_efficientnet").load(seed=1)
    size = timm.create_model("test_efficientnet").pretrained_cfg["input_size"]
    assert size != (3, 224, 224)
    assert loaded.inputs[0].shape == ("batch", *size)
    assert loaded.source == "timm"
    assert loaded.module is not None
    assert not loaded.module.training
    assert loaded.weights.seed == 1


def test_info_needs_no_weights() -> None:
    info = resolve("timm:vit_tiny_patch16_224").info()
    reference = timm.create_model("vit_tiny_patch16_224")
    assert info.parameters == sum(parameter.numel() for parameter in reference.parameters())
    assert info.inputs[0].shape == ("batch", 3, 224, 224)
    assert "VisionTransformer" in info.description


def test_the_seed_decides_timms_own_initialisation_too() -> None:
    # pos_embed keeps what timm drew for it: from the global stream, so that one is seeded for the time.
    before = torch.random.get_rng_state()
    first, again, other = (resolve("timm:test_vit").load(seed=seed).weights.sha256 for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_shape_where_the_model_takes_it_and_where_not() -> None:
    loaded = resolve("timm:test_efficientnet").load(seed=1, shapes={"": (1, 3, 96, 64)})
    assert loaded.inputs[0].shape == ("batch", 3, 96, 64)
    with pytest.raises(InputError, match=r"timm:deit_tiny.*: the model does not take these inputs .*x3x96x64"):
        resolve("timm:deit_tiny_patch16_224").load(seed=1, shapes={"": (1, 3, 96, 64)})


def test_weights_from_a_file(tmp_path: Path) -> None:
    random = resolve("timm:test_vit").load(seed=1)
    assert random.module is not None
    torch.save(random.module.state_dict(), tmp_path / "vit.pth")
    loaded = resolve("timm:test_vit").load(seed=2, weights=tmp_path / "vit.pth")
    assert loaded.weights.sha256 == random.weights.sha256
    assert loaded.weights.source == str(tmp_path / "vit.pth")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet5O", r"has no model 'resnet5O' \(did you mean .*resnet50.*models list 'timm:\*'"),
        ("timm:hf-hub:timm/resnet50.a1_in1k", r"has no model 'hf-hub:timm/resnet50.a1_in1k'"),
        ("timm:resnet50.no_such_tag", r"timm cannot build it: .*no_such_tag"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, said: str) -> None:
    for call in (lambda: resolve(name).load(seed=1), lambda: resolve(name).info()):
        with pytest.raises(InputError, match=said):
            call()


def test_listing() -> None:
    rows = list_models("timm:resnet50*")
    assert "timm:resnet50" in [row.name for row in rows]
    assert all(row.name.startswith("timm:resnet50") and row.source == "timm" for row in rows)
    assert len(list_models("timm:")) == len(timm.list_models())
    with pytest.raises(InputError, match="no model matches"):
        list_models("timm:no such thing")


def test_without_timm_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackendError, match=r"pip install 'pyperf-infer\[timm\]'"):
        resolve("timm:resnet50").load(seed=1)


def test_a_timm_that_does_not_load_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("pyperf_infer.models.timm_source.importlib.import_module", fail)
    with pytest.raises(
        BackendError, match=r"installed and does not load: RuntimeError: operator torchvision::nms does"
    ):
        resolve("timm:resnet50").info()
