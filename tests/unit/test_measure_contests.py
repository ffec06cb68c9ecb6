# SPDX-License-Identifier: Apache-2.0
"""Who is compared with whom in `run A --vs B`, and which sides one process cannot hold."""

from __future__ import annotations

from typing import Any

import pytest

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import UsageError
from pyperf_infer.measure.contests import Asked, contests_of, side_label
from pyperf_infer.measure.plan import RunPlan


def asked(number: int = 0, *, options: dict[str, Any] | None = None, **plan: Any) -> Asked:
    """A side; what `plan` names besides the first side's is its own."""
    complete: dict[str, Any] = {"models": ("m",), "backends": (), "options": BackendOptions(threads=2)}
    if options:
        complete["options"] = BackendOptions(**{"threads": 2, **options})
    return Asked(
        label=side_label(number),
        text="",
        plan=RunPlan(**{**complete, **plan}),
        own_model=number > 0 and "models" in plan,
        own_backend=number > 0 and "backends" in plan,
        own_batch=number > 0 and "batch_sizes" in plan,
    )


def grouped(*sides: Asked) -> list[list[tuple[str, str, str, int | None]]]:
    contests = contests_of(sides, lambda name: name.endswith(".onnx"))
    return [[(one.label, one.model, one.backend, one.asked_batch) for one in contest] for contest in contests]


def test_each_backend_of_the_command_is_compared_on_the_same_backend() -> None:
    assert grouped(asked(), asked(1, models=("n",))) == [
        [("A", "m", "torch", None), ("B", "n", "torch", None)],
        [("A", "m", "onnxruntime", None), ("B", "n", "onnxruntime", None)],
    ]


def test_a_side_with_a_backend_of_its_own_keeps_it_in_every_contest() -> None:
    assert grouped(asked(backends=("torch", "torch-aoti")), asked(1, backends=("onnxruntime",))) == [
        [("A", "m", "torch", None), ("B", "m", "onnxruntime", None)],
        [("A", "m", "torch-aoti", None), ("B", "m", "onnxruntime", None)],
    ]


def test_models_and_batch_sizes_of_the_command_are_contests_of_their_own() -> None:
    sides = asked(models=("m", "n"), backends=("onnxruntime",), batch_sizes=(1, 4)), asked(1), asked(2)
    assert [(one[0][1], one[0][3]) for one in grouped(*sides)] == [("m", 1), ("m", 4), ("n", 1), ("n", 4)]
    for contest in grouped(*sides):
        assert {(model, batch) for _, model, _, batch in contest} == {contest[0][1::2]}
        assert [label for label, *_ in contest] == ["A", "B", "C"]


def test_a_sides_own_batch_stands_against_each_of_the_command() -> None:
    sides = asked(backends=("onnxruntime",), batch_sizes=(1, 4)), asked(1, batch_sizes=(8,))
    assert [[batch for *_, batch in contest] for contest in grouped(*sides)] == [[1, 8], [4, 8]]


@pytest.mark.parametrize(("first", "second"), [("m.onnx", "n"), ("m", "n.onnx"), ("m.onnx", "n.onnx")])
def test_where_no_backend_is_named_a_file_leaves_those_that_run_files(first: str, second: str) -> None:
    contests = grouped(asked(models=(first,)), asked(1, models=(second,)))
    assert [[backend for _, _, backend, _ in contest] for contest in contests] == [["onnxruntime", "onnxruntime"]]


def test_a_file_on_a_backend_of_its_own_leaves_the_others_theirs() -> None:
    contests = grouped(asked(), asked(1, models=("n.onnx",), backends=("onnxruntime",)))
    assert [contest[0][2] for contest in contests] == ["torch", "onnxruntime"]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {"options": {"threads": 1}}, "--threads 2 and 1: PyTorch's threads are the process's"),
        (
            {"backends": ("torch",), "options": {"precision": "tf32"}},
            {"options": {"precision": "float32"}},
            "--precision tf32 and float32",
        ),
        ({"backends": ("torch-compile",)}, {}, "--backend torch-compile on A and B"),
        ({"backends": ("torch",)}, {"backends": ("torch-aoti",), "options": {"threads": 1}}, "--threads 2 and 1"),
    ],
)
def test_what_torch_keeps_once_a_process_cannot_differ(
    first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as error:
        grouped(asked(**first), asked(1, **second))
    assert said in str(error.value)
    assert "--processes 5" in str(error.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"backends": ("onnxruntime",)}, {"options": {"threads": 1}}),
        ({"backends": ("torch",)}, {"backends": ("onnxruntime",), "options": {"threads": 1}}),
        ({"backends": ("torch-compile",)}, {"backends": ("torch",)}),
        ({"backends": ("onnxruntime",), "options": {"precision": "tf32"}}, {"options": {"precision": "float32"}}),
    ],
)
def test_what_only_one_side_takes_from_torch_may_differ(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert len(grouped(asked(**first), asked(1, **second))) == 1
