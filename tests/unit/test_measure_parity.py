# SPDX-License-Identifier: Apache-2.0
"""What a compiler made of a module is checked against the module, whether that is timed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tiny_models
from fake_backends import FakeBackend, executed

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure import case as module
from pyperf_infer.measure.eager import Eager, eager_outputs
from pyperf_infer.measure.entry import Case
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.models.inputs import make_inputs

if TYPE_CHECKING:
    from pyperf_infer.measure.run import Run

COMPILED = ["torch-compile", "torch-aoti"]


def plan(**options: Any) -> RunPlan:
    return RunPlan(models=("m",), backends=(), options=BackendOptions(threads=1, **options))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes at which the module was called: a module that doubles its input."""
    batches: list[int] = []

    def call(case: Case, plan: RunPlan) -> Eager:
        batches.append(case.batch_size)
        inputs = [make_inputs(case.model.inputs, case.shapes, seed)["x"] for seed in (plan.seed, plan.seed + 1)]
        return Eager(outputs_a={"y": inputs[0] * 2}, outputs_b={"y": inputs[1] * 2})

    monkeypatch.setattr(module, "eager_outputs", call)
    return batches


def parities(job: Run) -> list[tuple[str, str, str] | None]:
    return [row.parity and (row.parity.other, row.parity.reference, row.parity.status) for row in job.results]  # type: ignore[misc]


@pytest.mark.parametrize("name", COMPILED)
def test_alone_it_is_checked_against_the_module(monkeypatch: pytest.MonkeyPatch, asked: list[int], name: str) -> None:
    job = executed(monkeypatch, FakeBackend(name), batch_sizes=(1, 3))
    assert parities(job) == [(name, "torch", "equal")] * 2
    assert asked == [1, 3]
    assert job.exit_code == 0
    job = executed(monkeypatch, FakeBackend(name, factor=2.5))
    assert parities(job) == [(name, "torch", "different")]
    assert job.results[0].summary.latency is not None  # timed all the same
    assert job.exit_code == 1


def test_all_others_are_then_checked_against_the_module_too(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    job = executed(monkeypatch, FakeBackend("onnxruntime", factor=3.0), *map(FakeBackend, COMPILED))
    assert parities(job) == [
        ("onnxruntime", "torch", "different"), ("torch-compile", "torch", "equal"), ("torch-aoti", "torch", "equal")
    ]  # fmt: skip
    assert asked == [1]


def test_where_torch_takes_part_its_outputs_are_the_reference(
    monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    job = executed(monkeypatch, FakeBackend("torch-aoti", factor=2.5), FakeBackend("torch", factor=2.5))
    assert parities(job) == [("torch-aoti", "torch", "equal"), None]
    assert asked == []


def test_backends_that_do_not_take_the_module_need_no_call_of_it(
    monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    assert parities(executed(monkeypatch, FakeBackend("onnxruntime", factor=7.0))) == [None]
    assert asked == []


def test_a_module_that_fails_leaves_the_outputs_unchecked_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are no numbers are a finding all the same."""
    failed = Eager(outputs_a={}, outputs_b={}, failed="the module itself fails: tired")
    monkeypatch.setattr(module, "eager_outputs", lambda case, plan: failed)
    job = executed(monkeypatch, FakeBackend("torch-aoti"), FakeBackend("torch-compile", factor=float("nan")))
    assert parities(job) == [("torch-aoti", "torch", "not checked"), ("torch-compile", "torch-compile", "invalid")]
    assert job.results[0].parity is not None
    assert job.results[0].parity.reason == "the module itself fails: tired"
    assert job.exit_code == 1


def test_a_module_that_does_not_fit_in_memory_halves_the_batch(
    monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    small = module.eager_outputs

    def call(case: Case, plan: RunPlan) -> Eager:
        if case.batch_size > 2:
            raise MemoryError("no")
        return small(case, plan)

    monkeypatch.setattr(module, "eager_outputs", call)
    job = executed(monkeypatch, FakeBackend("torch-aoti"), batch_sizes=(8,))
    assert [(row.subject.requested_batch_size, row.subject.batch_size) for row in job.results] == [(8, 2)]
    assert job.exit_code == 0


def _case(**changes: Any) -> Case:
    model = tiny_models.loaded(changes.pop("module", tiny_models.Perceptron()), tiny_models.X)
    return Case(model=model, batch_size=2, requested_batch_size=2, shapes={"x": (2, 4)})


def test_the_module_is_called_on_the_runs_two_inputs() -> None:
    case = _case()
    made = eager_outputs(case, plan())
    assert made.failed is None
    assert made.name == "torch"
    assert case.model.module is not None
    for seed, outputs in ((42, made.outputs_a), (43, made.outputs_b)):
        x = make_inputs(case.model.inputs, case.shapes, seed)["x"]
        weight, bias = (one.detach().numpy() for one in case.model.module.parameters())
        np.testing.assert_allclose(outputs["output"], x @ weight.T + bias, rtol=1e-5, atol=1e-6)


def test_what_the_module_raises_is_the_reason() -> None:
    class Failing(tiny_models.Perceptron):
        def forward(self, x: Any) -> Any:
            raise ValueError("not today\nor tomorrow")

    made = eager_outputs(_case(module=Failing()), plan())
    assert made.failed is not None
    assert made.failed.startswith("the module itself fails: ")
    assert "not today" in made.failed
    assert "\n" not in made.failed
    assert not made.outputs_a


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"recompiled": 3}, "recompiled", "compiled 3 times more while torch-compile"),
        ({"recompiled": 1}, "recompiled", "compiled 1 time more"),
        ({"recompiled": 1, "recompiled_because": "n == 1"}, "recompiled", "gave up. What no longer held: n == 1."),
        ({"graphs": 0}, "nothing_compiled", "made no graph of the model: torch-compile ran it eagerly"),
        ({"package_rebuilt": "it is damaged: x"}, "package_rebuilt", "of m was compiled again: it is damaged: x."),
    ],
)
def test_what_compiling_makes_worth_less_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, asked: list[int], settings: dict[str, Any], code: str, says: str
) -> None:
    backend = FakeBackend("torch-compile")
    backend.settings = settings
    (row,) = executed(monkeypatch, backend).results
    (message,) = [one.message for one in row.warnings if one.code == code]
    assert says in message
    backend.settings = {"recompiled": 0, "graphs": 2, "package_rebuilt": None}
    (row,) = executed(monkeypatch, backend).results
    assert not {"recompiled", "nothing_compiled", "package_rebuilt"} & {one.code for one in row.warnings}


def test_what_compiling_took_stands_in_the_row(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    backend = FakeBackend("torch-compile")
    (row,) = executed(monkeypatch, backend).results
    assert (row.summary.compile_s, row.summary.graph_breaks, row.summary.graph_break_reasons) == (None, None, [])
    backend.facts = {"compile_s": 2.5, "graph_breaks": 1, "graph_break_reasons": ("here",)}
    (row,) = executed(monkeypatch, backend).results
    assert (row.summary.compile_s, row.summary.graph_breaks, row.summary.graph_break_reasons) == (2.5, 1, ["here"])
