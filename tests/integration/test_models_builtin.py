# SPDX-License-Identifier: Apache-2.0
"""Built-in models against torchvision, and models from a user's own YAML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models

from pyperf_infer.errors import InputError
from pyperf_infer.models.build import build
from pyperf_infer.models.catalog import builtin_names, resolve
from pyperf_infer.models.config import read_config
from pyperf_infer.models.layers import BUILDERS
from pyperf_infer.models.signatures import SIGNATURES

CONFIGS = Path(__file__).parents[2] / "pyperf_infer/models/configs"


def test_every_signature_has_its_builder() -> None:
    assert set(BUILDERS) == set(SIGNATURES)


@pytest.mark.parametrize("name", builtin_names())
def test_names_shapes_and_their_order_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        reference = getattr(torchvision.models, name)()
    ours = build(read_config(CONFIGS / f"{name}.yaml"))
    expected = [(key, tuple(tensor.shape), tensor.dtype) for key, tensor in reference.state_dict().items()]
    assert [(key, tuple(tensor.shape), tensor.dtype) for key, tensor in ours.state_dict().items()] == expected


# One of each kind. VGG's classifier alone has 120 million parameters; its channels are thinned out in the next test.
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_outputs_are_torchvisions_with_each_others_weights(name: str) -> None:
    loaded = resolve(name).load(seed=1, shapes={"": (1, 3, 64, 64)})
    assert loaded.module is not None
    reference = getattr(torchvision.models, name)().eval()
    reference.load_state_dict(loaded.module.state_dict(), strict=True)
    loaded.module.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = reference(x), loaded.module(x)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn"])
def test_vgg_features_are_torchvisions(name: str, tmp_path: Path) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text().replace("4096", "16")
    (tmp_path / "thin.yaml").write_text(text)
    loaded = resolve(str(tmp_path / "thin.yaml")).load(seed=1, shapes={"": (1, 3, 64, 64)})
    assert loaded.module is not None
    with torch.device("meta"):
        reference = getattr(torchvision.models, name)().eval()
    reference.classifier = torchvision.models.vgg.nn.Sequential(
        torch.nn.Linear(512 * 49, 16, device="meta"),
        torch.nn.ReLU(True),
        torch.nn.Dropout(),
        torch.nn.Linear(16, 16, device="meta"),
        torch.nn.ReLU(True),
        torch.nn.Dropout(),
        torch.nn.Linear(16, 1000, device="meta"),
    ).eval()
    reference.load_state_dict(loaded.module.state_dict(), strict=True, assign=True)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = reference(x), loaded.module(x)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_info_counts_parameters_without_memory_and_load_agrees() -> None:
    info = resolve("resnet18").info()
    assert (info.parameters, info.source) == (11_689_512, "built-in")
    assert [(spec.name, spec.shape, spec.dtype) for spec in info.inputs] == [
        ("input", ("batch", 3, 224, 224), "float32")
    ]
    assert resolve("vgg19_bn").info().parameters == 143_678_248
    loaded = resolve("resnet18").load(seed=0, shapes={"input": (7, 3, 32, 48)})
    assert loaded.parameters == info.parameters
    # The batch stays open: `--batch-size` and an exporter fill it.
    assert loaded.inputs[0].shape == ("batch", 3, 32, 48)
    assert loaded.module is not None
    assert not any(module.training for module in loaded.module.modules())
    assert (loaded.weights.source, loaded.weights.seed) == ("random", 0)


def write(folder: Path, backbone: str, head: str, names: str = "{}", size: str = "[3, 16, 16]") -> str:
    path = folder / "own.yaml"
    path.write_text(f"input: {size}\nnum_classes: 5\nnames: {names}\nbackbone:\n{backbone}\nhead:\n{head}\n")
    return str(path)


HEAD = "  - [1, AdaptiveAvgPool, [1]]\n  - [1, Flatten, []]\n  - [1, Linear, [num_classes]]"


def test_a_users_own_yaml_is_built_with_its_names(tmp_path: Path) -> None:
    rows = (
        "  - [1, ConvBNReLU, [8, {stride: 2}]]\n  - [2, Bottleneck, [4, 2, 2, 32]]\n  - [1, Dropout, []]\n"
        "  - [1, AvgPool, [2]]\n  - [1, BasicBlock, [8]]"
    )
    loaded = resolve(write(tmp_path, rows, HEAD)).load(seed=3)
    assert loaded.source == "config"
    assert loaded.module is not None
    names = list(loaded.module.state_dict())
    assert names[0] == "backbone.0.weight"
    # ConvBNReLU is 0 to 2, the Bottlenecks 3 and 4 (the second with neither stride nor another shortcut).
    assert "backbone.3.downsample.0.weight" in names
    assert "backbone.4.conv3.weight" in names
    assert "backbone.4.downsample.0.weight" not in names
    # base_width 32 halves the planes, two groups of it: width 4.
    assert loaded.module.get_parameter("backbone.4.conv2.weight").shape == (4, 2, 3, 3)
    assert names[-1] == "head.2.bias"
    with torch.no_grad():
        assert loaded.module(torch.randn(3, 3, 16, 16)).shape == (3, 5)


def test_a_model_of_vectors(tmp_path: Path) -> None:
    name = write(tmp_path, "  - [2, LinearReLUDropout, [16, 0.1]]", "  - [1, Linear, [num_classes]]", size="[12]")
    loaded = resolve(name).load(seed=3)
    assert loaded.inputs[0].shape == ("batch", 12)
    assert loaded.module is not None
    with torch.no_grad():
        assert loaded.module(torch.randn(3, 12)).shape == (3, 5)


@pytest.mark.parametrize(
    ("backbone", "head", "names", "said"),
    [
        ("  - [1, Conv, [4, 3]]", "  - [1, Linear, [5]]", "{}", r"head row 1: Linear works on 2 .*; put Flatten"),
        ("  - [1, Flatten, []]\n  - [1, Conv, [4, 3]]", HEAD, "{}", r"row 2: Conv works on 4 dim.* \(N, 768\)"),
        ("  - [1, Conv, [4, 33, 1, 0]]", HEAD, "{}", r"backbone row 1: Conv does not take \(N, 3, 16, 16\)"),
        ("  - [9, ConvReLU, [4]]\n  - [5, MaxPool, [2]]", HEAD, "{}", r"backbone row 2: MaxPool does not take"),
        ("  - [1, Conv, [4, 3, {groups: 2}]]", HEAD, "{}", r"backbone row 1: Conv with .*groups"),
        ("  - [1, Bottleneck, [1, 1, 1, 1]]", HEAD, "{}", r"backbone row 1: Bottleneck"),
        ("  - [1, Conv, [4, 3]]\n  - [1, ReLU, []]", HEAD, "{backbone: same}", r"the name 'same' is already taken"),
        ("  - [1, Conv, [4, 3]]", HEAD, "{backbone: train}", r"row 1: 'train' is a word of torch's own"),
        (
            "  - [1, ReLU, []]\n  - [1, ReLU, []]\n  - [1, ReLU, []]",
            HEAD,
            "{backbone: ['a.*', b, 'a.*']}",
            r"row 3: the name 'a\.\*' goes back to 'a'",
        ),
        ("  - [1, ReLU, []]", HEAD, "{backbone: a, head: [a.b, c, d]}", r"head row 1: the name 'a.b' goes back to 'a'"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_together_are_named(
    tmp_path: Path, backbone: str, head: str, names: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        resolve(write(tmp_path, backbone, head, names)).info()


def test_a_model_beyond_this_machines_memory_is_refused_before_it_is_built(tmp_path: Path) -> None:
    name = write(tmp_path, "  - [1, Flatten, []]", "  - [1, Linear, [2000000000]]")
    with pytest.raises(InputError, match=r"parameters take .* and this machine has"):
        resolve(name).load(seed=0)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"": (1, 4, 64, 64)}, r"does not take these inputs \(float32 1x4x64x64\): RuntimeError"),
        ({"": (3, 64, 64)}, r"input 'input' has 4 dimensions, such as batchx3x224x224, not 3"),
        ({"image": (1, 3, 64, 64)}, r"no input 'image'; its inputs are input"),
    ],
)
def test_a_shape_that_the_model_does_not_take(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve("resnet18").load(seed=0, shapes=shapes)


@pytest.fixture
def _no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Callable[..., Any]:
        raise AssertionError("torch's default initialisation ran on the CPU")

    monkeypatch.setattr("torch.Tensor.normal_", fail)


@pytest.mark.usefixtures("_no_random_numbers")
def test_loading_does_not_touch_the_global_random_state() -> None:
    before = torch.random.get_rng_state()
    resolve("resnet18").load(seed=0, shapes={"": (1, 3, 32, 32)})
    assert torch.equal(before, torch.random.get_rng_state())
