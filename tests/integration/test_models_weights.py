# SPDX-License-Identifier: Apache-2.0
"""`--weights FILE`: what is loaded, and what is refused with which words."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.weights import hash_weights, load_weights


def net(features: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, features), nn.BatchNorm1d(features)).eval()


def state(features: int = 4) -> dict[str, Tensor]:
    return {name: torch.rand_like(t.float()).to(t.dtype) for name, t in net(features).state_dict().items()}


def assert_loaded(path: Path, expected: dict[str, Tensor]) -> None:
    module = net()
    load_weights(module, path)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], check_dtype=False)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PTH"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torch_in_either_format(tmp_path: Path, suffix: str, zipped: bool) -> None:
    expected = state()
    path = tmp_path / f"weights{suffix}"
    torch.save(expected, path, _use_new_zipfile_serialization=zipped)
    assert_loaded(path, expected)


def test_safetensors(tmp_path: Path) -> None:
    expected = state()
    save_file(expected, tmp_path / "weights.safetensors")
    assert_loaded(tmp_path / "weights.safetensors", expected)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_what_training_scripts_wrap_around_is_taken_off(tmp_path: Path, key: str, prefix: str) -> None:
    expected = state()
    content = {key: {prefix + name: tensor for name, tensor in expected.items()}, "epoch": 7, "best": 0.5}
    torch.save(content, tmp_path / "checkpoint.pth")
    assert_loaded(tmp_path / "checkpoint.pth", expected)


def test_half_precision_weights_become_the_modules_float32(tmp_path: Path) -> None:
    expected = {name: t.half() if t.is_floating_point() else t for name, t in state().items()}
    torch.save(expected, tmp_path / "half.pth")
    assert_loaded(tmp_path / "half.pth", expected)


def test_a_file_from_before_batch_norm_counted_is_complete(tmp_path: Path) -> None:
    old = {name: tensor for name, tensor in state().items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert_loaded(tmp_path / "old.pth", old | {"1.num_batches_tracked": torch.tensor(0)})


def test_a_built_in_model_takes_them_and_says_so(tmp_path: Path) -> None:
    source = resolve("resnet18")
    shapes = {"": (1, 3, 32, 32)}
    random = source.load(seed=1, shapes=shapes)
    assert random.module is not None
    path = tmp_path / "r18.pth"
    torch.save(random.module.state_dict(), path)
    loaded = source.load(seed=2, weights=path, shapes=shapes)
    assert loaded.weights.sha256 == random.weights.sha256
    assert (loaded.weights.source, loaded.weights.seed) == (str(path), None)
    with pytest.raises(InputError, match="does not take these inputs"):
        source.load(seed=2, weights=path, shapes={"": (1, 1, 32, 32)})


def test_keys_that_do_not_fit_are_listed_and_nothing_is_changed(tmp_path: Path) -> None:
    content = state(5)
    del content["0.bias"]
    content |= {f"extra{i}": torch.zeros(1) for i in range(9)}
    torch.save(content, tmp_path / "other.pth")
    module = net()
    before = hash_weights(module)
    with pytest.raises(InputError) as caught:
        load_weights(module, tmp_path / "other.pth")
    message = str(caught.value)
    assert str(tmp_path / "other.pth") in message
    assert "1 missing: 0.bias;" in message
    assert "9 unexpected: extra0, extra1, extra2, extra3, extra4, ...;" in message
    assert "5 of another shape: 0.weight is (5, 3), must be (4, 3), " in message
    assert hash_weights(module) == before


class Planted:
    """Pickled, it makes a folder when something unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"0.weight": Planted(tmp_path / "planted")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"Python objects .*mkdir.*torch.save\(model.state_dict\(\)"):
        load_weights(net(), path)
    assert not (tmp_path / "planted").exists()


def test_a_whole_model_is_refused_with_the_call_that_mends_it(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"Python objects .*Sequential.*torch.save\(model.state_dict\(\)"):
        load_weights(net(), tmp_path / "model.pth")


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(net(), torch.zeros(1, 3)), tmp_path / "script.pt")
    with pytest.raises(InputError, match="TorchScript program"):
        load_weights(net(), tmp_path / "script.pt")


def contents() -> dict[str, tuple[str, bytes, str]]:
    return {
        "empty": ("a.pth", b"", "not a PyTorch weights file, or a damaged one"),
        "garbage": ("a.pth", b"\x80\x02garbage", "not a PyTorch weights file, or a damaged one"),
        "text": ("a.pt", b"hello, world", "not a PyTorch weights file, or a damaged one"),
        "zip": ("a.pt", b"PK\x03\x04 and then nothing of a zip", "not a PyTorch weights file, or a damaged one"),
        "pickle": ("a.pth", pickle.dumps({"a": 1}), "not a PyTorch weights file, or a damaged one"),
        "safetensors": ("a.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "not a safetensors file"),
        "safetensors, empty": ("a.safetensors", b"", "not a safetensors file"),
        "git lfs": ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        "other suffix": ("a.h5", b"x", r"read from .pth, .pt, .safetensors files, not from '.h5'"),
    }


@pytest.mark.parametrize("case", contents())
def test_what_is_no_weights_file_is_refused(tmp_path: Path, case: str) -> None:
    name, content, said = contents()[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_weights(net(), tmp_path / name)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="or a damaged one"):
        load_weights(net(), path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "holds nothing"),
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        ({"epoch": 3, "0.weight": torch.zeros(1)}, "epoch is not a tensor"),
        (
            {"optimizer": {"lr": 1.0}, "epoch": 3},
            "optimizer, epoch are not tensors.*state_dict, model_state_dict, model",
        ),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=said):
        load_weights(net(), tmp_path / "a.pth")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_weights(net(), tmp_path / "no.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(net(), tmp_path / "folder.pth")
