# SPDX-License-Identifier: Apache-2.0
"""`package.module:factory`: where inputs come from, that weights stay, and how the user's own errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import resolve

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

HEADER = "import torch\nfrom torch import nn\n"
PAIR = """
class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, 4)
        self.drop = nn.Dropout(0.5)
        self.body = nn.Linear(4, 3)
    def forward(self, ids, scale, mask=None):
        return self.body(self.drop(self.embed(ids))) * scale.unsqueeze(-1)
"""


SQUARE = "class Square(nn.Module):\n    def forward(self, x):\n        return x @ x.mT @ x.mT\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write Python source as a module in the current folder, and give its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    count = 0

    def writer(source: str) -> str:
        nonlocal count
        count += 1
        (tmp_path / f"user_model_{count}.py").write_text(HEADER + source)
        return f"user_model_{count}"

    yield writer
    for name in set(sys.modules) - before:
        if name.startswith("user_model_"):
            del sys.modules[name]


def load(name: str, **shapes: tuple[int, ...]) -> LoadedModel:
    return resolve(name).load(seed=1, shapes={key.replace("only", ""): shape for key, shape in shapes.items()})


def described(loaded: LoadedModel) -> list[tuple[object, ...]]:
    return [(spec.name, spec.shape, spec.dtype) for spec in loaded.inputs]


EXPECTED = [("ids", ("batch", 7), "int64"), ("scale", ("batch", 7), "float32")]


@pytest.mark.parametrize(
    "build",
    [
        "return Pair(), (torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7))",
        "return Pair(), [torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.float64)]",
        "return Pair(), {'scale': torch.ones(2, 7), 'ids': torch.zeros(2, 7, dtype=torch.int64)}",
        "m = Pair(); m.example_inputs = (torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7)); return m",
        "m = Pair(); m.input_specs = [('ids', ('batch', 7), 'int64'), ('scale', ('batch', 7), 'float32')]; return m",
    ],
)
def test_inputs_from_examples_or_specs(write: Callable[[str], str], build: str) -> None:
    loaded = load(f"{write(PAIR + f'def build():{chr(10)}    {build}')}:build")
    assert described(loaded) == EXPECTED
    assert loaded.module is not None
    assert not loaded.module.drop.training  # type: ignore[union-attr]
    assert loaded.parameters == 2 * 4 + 4 * 3 + 3


def test_info_is_the_same_without_shapes(write: Callable[[str], str]) -> None:
    name = write(PAIR + "def build():\n    return Pair(), (torch.zeros(2, 7, dtype=torch.int64), torch.ones(2, 7))")
    info = resolve(f"{name}:build").info()
    assert [(spec.name, spec.shape, spec.dtype) for spec in info.inputs] == EXPECTED
    assert (info.parameters, info.source) == (23, "factory")


def test_inputs_from_shapes_alone_in_the_order_of_forward(write: Callable[[str], str]) -> None:
    name = write("class Add(nn.Module):\n    def forward(self, a, b):\n        return a - b\n")
    assert described(load(f"{name}:Add", b=(2, 4), a=(2, 4))) == [
        ("a", ("batch", 4), "float32"),
        ("b", ("batch", 4), "float32"),
    ]
    assert described(load(f"{write('linear = nn.Linear(4, 2)')}:linear", only=(8, 4))) == [
        ("input", ("batch", 4), "float32")
    ]


def test_a_shape_replaces_the_examples(write: Callable[[str], str]) -> None:
    name = write("def build():\n    return nn.Conv1d(2, 2, 3), torch.zeros(1, 2, 8)")
    assert described(load(f"{name}:build", only=(1, 2, 99))) == [("input", ("batch", 2, 99), "float32")]


def test_an_input_that_does_not_grow_with_the_batch_stays_fixed(write: Callable[[str], str]) -> None:
    source = "class Table(nn.Module):\n    def forward(self, x, table, bias):\n        return x @ table + bias\n"
    name = write(source + "def build():\n    return Table(), (torch.zeros(2, 5), torch.zeros(5, 3), torch.tensor(1.0))")
    assert [spec.shape for spec in load(f"{name}:build").inputs] == [("batch", 5), (5, 3), ()]


def test_weights_are_the_factorys_own_and_seeded(write: Callable[[str], str]) -> None:
    constant = write("def build():\n    m = nn.Linear(4, 2)\n    nn.init.constant_(m.weight, 7.0)\n    return m")
    fixed = load(f"{constant}:build", only=(1, 4))
    assert fixed.module is not None
    assert (fixed.module.get_parameter("weight") == 7.0).all()
    assert (fixed.weights.source, fixed.weights.seed) == ("factory", 1)
    name = write("def build():\n    return nn.Linear(4, 2)")
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    hashes = [resolve(f"{name}:build").load(seed=seed, shapes={"": (1, 4)}).weights.sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_half_precision_becomes_float32(write: Callable[[str], str]) -> None:
    name = write("def build():\n    return nn.Linear(4, 2).half(), torch.zeros(1, 4).half()")
    loaded = load(f"{name}:build")
    assert loaded.module is not None
    assert loaded.module.get_parameter("weight").dtype == torch.float32
    assert loaded.inputs[0].dtype == "float32"


def test_weights_from_a_file(write: Callable[[str], str], tmp_path: Path) -> None:
    name = write("def build():\n    return nn.Linear(4, 2)")
    torch.save({"weight": torch.ones(2, 4), "bias": torch.ones(2)}, tmp_path / "w.pth")
    loaded = resolve(f"{name}:build").load(seed=1, weights=tmp_path / "w.pth", shapes={"": (1, 4)})
    assert loaded.module is not None
    assert (loaded.module.get_parameter("weight") == 1.0).all()
    assert (loaded.weights.source, loaded.weights.seed) == (str(tmp_path / "w.pth"), None)


@pytest.mark.parametrize(
    ("source", "attribute", "said"),
    [
        ("def build():\n    x = 1\n    raise ValueError('no such depth')", "build",
         r"ValueError: no such depth \(.*user_model_1.py:5, in build\)"),
        ("def build():\n    return nn.Linear('a', 2)", "build", r"TypeError: .*\(.*user_model_1.py:4, in build\)"),
        ("import sys\ndef build():\n    sys.exit('bye')", "build", r"SystemExit: bye \(.*user_model_1.py:5"),
        ("def build(depth):\n    return nn.Linear(depth, 2)", "build", r"TypeError: build\(\) missing 1 required"),
        ("raise KeyError('at import')", "build", r"KeyError: 'at import' \(.*user_model_1.py:3"),
        ("import no_such_package", "build", r"ModuleNotFoundError: No module named 'no_such_package' \(.*_1.py:3"),
        ("def build(:", "build", r"SyntaxError: .*user_model_1.py, line 3"),
        ("def build():\n    return 5", "build", r"it must return a torch.nn.Module, .*; it returned a int"),
        ("def build_it():\n    return 5", "build", r"has no 'build' \(did you mean build_it\?\)"),
        ("build = 5", "build", r"build is a int; a function that returns the module is needed"),
        ("def build():\n    return nn.Linear(4, 2)", "build", r"inputs are not known. Give --shape"),
        ("def build():\n    return nn.Linear(4, 2), torch.zeros(1, 5)", "build", r"does not take these inputs .*1x5"),
        (SQUARE + "def build():\n    return Square(), torch.zeros(2, 5)", "build",
         r"RuntimeError: .*user_model_1.py:5, in forward"),
        ("def build():\n    return nn.Linear(4, 2), 'zeros'", "build", r"example_inputs must be a tensor"),
        ("def build():\n    return nn.Linear(4, 2), {'x': torch.zeros(1, 4)}", "build",
         r"first 1 of forward's arguments: input; given are x"),
        ("def build():\n    m = nn.Linear(4, 2)\n    m.input_specs = [('x', (0, 4), 'float32')]\n    return m", "build",
         r"input_specs: .* sizes of at least 1"),
        ("def build():\n    m = nn.Linear(4, 2)\n    m.input_specs = [4]\n    return m", "build", r"one entry is 4"),
        ("def build():\n    return nn.Identity(), torch.zeros(1, 4, dtype=torch.complex64)", "build",
         r"input 'input' has elements of type complex64"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(write: Callable[[str], str], source: str, attribute: str, said: str) -> None:
    name = f"{write(source)}:{attribute}"
    with pytest.raises(InputError, match=said) as caught:
        load(name)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:build", "there is no module 'no_such_module_here', neither installed nor in "),
        ("json.no_such_part:build", "there is no module 'json.no_such_part'"),
        ("no_such_package_here.part:build", "there is no module 'no_such_package_here'"),
    ],
)
def test_a_module_that_is_not_there(write: Callable[[str], str], name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(name)


def test_several_unnamed_shapes_need_names(write: Callable[[str], str]) -> None:
    name = write(PAIR)
    with pytest.raises(InputError, match="first 2 of forward's arguments: ids, scale; given are scale, mask"):
        load(f"{name}:Pair", scale=(1, 4), mask=(1, 4))
