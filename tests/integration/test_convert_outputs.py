# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from pyperf_infer.convert.outputs import flatten_outputs, named_outputs
from pyperf_infer.errors import InputError

A, B, C = (torch.full((1,), float(value)) for value in range(3))
Pair = namedtuple("Pair", "left right")


@dataclass
class Answer:
    second: Any
    first: Any = None


class MappedAnswer(OrderedDict[str, Any]):
    """As Hugging Face's: a mapping that looks like a dataclass too."""


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (A, ["output"]),
        ((A,), ["output"]),
        ([A, B], ["output_0", "output_1"]),
        ((None, A, 3, B), ["output_1", "output_3"]),
        ({"z": A, "a": B}, ["z", "a"]),
        (Pair(A, B), ["left", "right"]),
        (Answer(second=A, first=(B, C)), ["second", "first.0", "first.1"]),
        (({"deep": [A]}, B), ["output_0.deep.0", "output_1"]),
        (MappedAnswer(b=A, a=B), ["b", "a"]),
    ],
)
def test_order_and_names(value: Any, names: list[str]) -> None:
    assert [name for name, _ in named_outputs(value)] == names
    assert [int(tensor) for tensor in flatten_outputs(value)] == list(range(len(names)))


@pytest.mark.parametrize(("value", "says"), [(None, "NoneType"), ({}, "dict"), ((1, "a"), "tuple")])
def test_without_a_tensor_there_is_nothing_to_compare(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        flatten_outputs(value)


def test_an_unknown_object_is_named_with_its_place() -> None:
    with pytest.raises(InputError, match=r"object in hidden\.1"):
        flatten_outputs({"hidden": [A, object()]})
