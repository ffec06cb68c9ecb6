# SPDX-License-Identifier: Apache-2.0
"""A model's YAML: what is read from it, and what each mistake in it is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import builtin_names
from pyperf_infer.models.config import nearest, read_config

CONFIGS = Path(__file__).parents[2] / "pyperf_infer/models/configs"
GOOD = """
input: [3, 8, 8]
num_classes: 10
names: {backbone: [conv, "stage.*"], head: [flatten, fc]}
backbone:
  - [1, Conv, [4, 3, {padding: 1}]]
  - [2, ConvReLU, [8]]
head:
  - [1, Flatten, []]
  - [1, Linear, [num_classes]]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(text)
    return path


def test_rows_come_with_their_defaults_and_names(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.input == (3, 8, 8)
    assert [(row.repeat, row.module, row.name) for row in config.rows] == [
        (1, "Conv", "conv"),
        (2, "ConvReLU", "stage.*"),
        (1, "Flatten", "flatten"),
        (1, "Linear", "fc"),
    ]
    assert config.rows[0].arguments == {
        "out_channels": 4,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "groups": 1,
        "bias": True,
    }
    assert config.rows[3].arguments == {"out_features": 10, "bias": True}


def test_sections_without_names_are_numbered_under_their_own(tmp_path: Path) -> None:
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("names"))
    assert {row.name for row in read_config(write(tmp_path, text)).rows} == {"backbone.*", "head.*"}


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_configurations_are_valid_and_described(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.yaml")
    assert config.description
    assert config.input == (3, 224, 224)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[2, ConvReLU, [8]]", "[2, ConvRelu, [8]]", r"backbone row 2: unknown module 'ConvRelu'.*mean ConvReLU"),
        ("[2, ConvReLU, [8]]", "[2, 17, [8]]", r"backbone row 2: unknown module 17"),
        ("[2, ConvReLU, [8]]", "[2, [x], [8]]", r"backbone row 2: unknown module \['x'\]"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU]", r"backbone row 2: a row is \[n_repeat, module, args\]"),
        ("[2, ConvReLU, [8]]", "ConvReLU", r"backbone row 2: a row is"),
        ("[2, ConvReLU, [8]]", "[0, ConvReLU, [8]]", r"backbone row 2: n_repeat .* not 0"),
        ("[2, ConvReLU, [8]]", "[true, ConvReLU, [8]]", r"backbone row 2: n_repeat .* not True"),
        ("[2, ConvReLU, [8]]", "[1000000, ConvReLU, [8]]", r"n_repeat must be a whole number from 1 to 1000"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, 8]", r"backbone row 2: args must be a list, not 8.*ConvReLU takes"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, []]", r"backbone row 2: out_channels is missing"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [-8]]", r"out_channels must be a whole number of at least 1, not -8"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [8.5]]", r"out_channels must be .* not 8.5"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [true]]", r"out_channels must be .* not True"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [8, {bias: 1}]]", r"bias must be true or false, not 1"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [8, {strid: 1}]]", r"no argument 'strid'.*mean stride"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [8, {out_channels: 8}]]", r"out_channels is given twice"),
        ("[2, ConvReLU, [8]]", "[2, ConvReLU, [1, 2, 3, 4, 5, true, 7]]", r"7 arguments are too many"),
        ("[1, Conv, ", "[2, Conv, ", r"backbone row 1: it adds 2 modules, so its name must end in '\*'.*'conv'"),
        ("num_classes: 10", "", r"head row 2: it uses num_classes, which the file does not set"),
        ("num_classes: 10", "num_classes: ten", r"num_classes must be .* not 'ten'"),
        ("input: [3, 8, 8]", "input: 8", r"input must be"),
        ("input: [3, 8, 8]", "input: [3, 8, 0]", r"input must be"),
        ("input: [3, 8, 8]", "inputs: [3, 8, 8]", r"unknown key 'inputs' \(did you mean input\?\)"),
        ("head:", "tail:", r"unknown key 'tail'"),
        ("[conv, ", "[conv, extra, ", r"names.backbone must be one name .* its 2 rows"),
        ("[conv, ", "['a b', ", r"names.backbone: 'a b' is not a name"),
        ("[conv, ", "['*.conv', ", r"names.backbone: '\*.conv' is not a name"),
        ("names: {backbone", "names: {spine", r"names must be a mapping with the keys backbone and head"),
        ("num_classes: 10", "num_classes: [", r"not valid YAML"),
        ("num_classes: 10", "num_classes: !!python/object/apply:os.getcwd []", r"not valid YAML.*python/object"),
    ],
)
def test_a_mistake_is_named_with_file_and_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this one is empty"),
        ("- 1\n- 2", "this one is a list"),
        ("just text", "this one is a str"),
        ("input: [3, 8, 8]\nhead: [[1, Flatten, []]]", "backbone must be a list of at least one"),
        ("input: [3, 8, 8]\nbackbone: []\nhead: [[1, Flatten, []]]", "backbone must be a list of at least one"),
        ("[" * 5000, "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: 2024-99-99", "not valid YAML"),
    ],
)
def test_what_is_no_model_at_all_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_config(write(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00\x9f\x92")
    with pytest.raises(InputError, match="not valid YAML"):
        read_config(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)


def test_nearest_ignores_case_and_is_silent_where_nothing_is_close() -> None:
    assert nearest("RESNET5", ["resnet50", "vgg16"]) == " (did you mean resnet50?)"
    assert nearest("zzz", ["resnet50", "vgg16"]) == ""
