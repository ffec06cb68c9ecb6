# SPDX-License-Identifier: Apache-2.0
"""The table of PyTorch's layers: which rows there are, how often each ran, and that the model is left as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from module_calls import Calls
from tiny_models import Answer, X, loaded
from torch import Tensor, nn

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import MeasurementError
from pyperf_infer.models.spec import InputSpec
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.profile.torch_profile import profile_torch
from pyperf_infer.results.profile_schema import ProfileRow, ProfileTable

QUICK = ProfilePlan(inferences=4, duration_s=0.0, max_duration_s=0.2, ci=50.0, memory=False, python=False, trace=False)
Table = Callable[..., ProfileTable]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    def make(module: nn.Module, *inputs: InputSpec, plan: ProfilePlan = QUICK, **shapes: tuple[int, ...]) -> Any:
        given = inputs or (X,)
        model = loaded(module, *given)
        wanted = {spec.name: shapes.get(spec.name, (2, 4)) for spec in given}
        profile = profile_torch(model, wanted, BackendOptions(threads=1), tmp_path, plan, seed=1)
        assert not [name for part in module.modules() for name in vars(part) if name == "forward"]
        return profile.tables[0]

    return make


def rows(table: ProfileTable) -> dict[str, ProfileRow]:
    assert len({row.name for row in table.rows}) == len(table.rows)
    return {row.name: row for row in table.rows}


def linear() -> nn.Linear:
    return nn.Linear(4, 4)


def test_rows_and_rest_are_the_whole(table: Table) -> None:
    found = table(nn.Sequential(linear(), nn.ReLU()))
    assert [(row.name, row.kind) for row in found.rows] == [("", "Sequential"), ("0", "Linear"), ("1", "ReLU")]
    own = [row.time_ms for row in found.rows if row.time_ms is not None]
    assert len(own) == 3
    assert sum(own) + found.rest_ms == pytest.approx(found.whole_ms)
    assert 0 <= found.rest_ms < found.whole_ms
    whole = rows(found)[""]
    assert whole.total_ms == pytest.approx(sum(own))
    assert whole.share == pytest.approx(own[0] / found.whole_ms)
    assert found.inferences >= 4
    assert found.perturbation is not None
    assert found.perturbation.rounds >= 1


def test_a_module_that_runs_several_times_under_several_names_is_one_row(table: Table) -> None:
    shared = linear()
    found = rows(table(nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared))))
    assert (found["0"].calls, found["0"].aliases, found["0"].parameters) == (2.0, ["2.0"], 20)
    assert found["0"].output_bytes == 2 * 2 * 4 * 4
    assert found["0"].total_ms == pytest.approx(found["0"].time_ms)
    assert "2.0" not in found


def test_a_module_that_calls_itself_has_the_outermost_call_in_full(table: Table) -> None:
    class Recursive(nn.Module):
        def forward(self, x: Tensor, depth: int = 3) -> Tensor:
            return x + 1 if depth == 0 else self(x, depth - 1) * 2

    found = table(nn.Sequential(Recursive()))
    row = rows(found)["0"]
    assert row.calls == 4.0
    assert row.total_ms == pytest.approx(row.time_ms)
    assert row.total_ms <= found.whole_ms


def test_control_flow_gives_the_mean_of_calls(table: Table) -> None:
    class Alternating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.even, self.odd, self.turn = linear(), nn.ReLU(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.turn += 1
            return (self.odd if self.turn % 2 else self.even)(x)  # type: ignore[no-any-return]

    found = rows(table(Alternating(), plan=QUICK))
    assert found["even"].calls + found["odd"].calls == pytest.approx(1.0)
    assert min(found["even"].calls, found["odd"].calls) > 0.2
    shapes = {name: found[name].output_shapes for name in ("even", "odd")}
    assert sorted(shapes.values()) == [[], [[2, 4]]]  # only one of them ran where shapes were looked at


def test_what_a_caught_exception_left_counts_and_ends(table: Table) -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("on purpose")

    def forward(self: Any, x: Tensor) -> Tensor:
        try:
            x = self.failing(x)
        except ValueError:
            x = self.other(x)
        return x

    found = rows(table(Calls(forward, failing=Failing(), other=linear())))
    assert (found["failing"].calls, found["other"].calls) == (1.0, 1.0)
    assert (found["failing"].input_shapes, found["failing"].output_shapes) == ([[2, 4]], [])


@pytest.mark.parametrize("good_calls", [1, 2, 4])
def test_a_model_that_fails_is_left_as_it_was(table: Table, good_calls: int) -> None:
    class Failing(nn.Module):
        left = good_calls

        def forward(self, x: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise ValueError("no more")
            return x

    module = nn.Sequential(linear(), Failing())
    with pytest.raises(MeasurementError, match=r"tiny.*ValueError: no more"):
        table(module)
    assert not [name for part in module.modules() for name in vars(part) if name == "forward"]


def test_a_forward_that_an_object_has_of_its_own_is_timed_and_stays(tmp_path: Path) -> None:
    part = linear()
    own = part.forward
    doubled = lambda x: own(x) * 2  # noqa: E731
    vars(part)["forward"] = doubled
    profile = profile_torch(
        loaded(nn.Sequential(part), X), {"x": (2, 4)}, BackendOptions(threads=1), tmp_path, QUICK, seed=1
    )
    assert rows(profile.tables[0])["0"].calls == 1.0
    assert vars(part)["forward"] is doubled


def test_a_forward_that_a_class_holds_on_to_is_its_callers(table: Table) -> None:
    class Fixed(nn.Module):
        forward = property(lambda self: lambda x: x + 1)

    found = table(nn.Sequential(linear(), Fixed()))
    assert set(rows(found)) == {"", "0"}
    assert [said for said in found.not_told if "Fixed" in said and "its caller's" in said]


def test_modules_written_in_torchscript_or_compiled_are_one_row(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(linear(), nn.ReLU()))
    in_place = nn.Sequential(linear())
    graphs = []

    def backend(graph: Any, inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    in_place.compile(backend=backend)
    compiled: Any = torch.compile(nn.Sequential(linear()), backend="eager")
    module = nn.Sequential(scripted, compiled, in_place)
    compiled_call = vars(in_place)["_compiled_call_impl"]
    model = loaded(module, X)
    profile = profile_torch(model, {"x": (2, 4)}, BackendOptions(threads=1), tmp_path, QUICK, seed=1)
    found = rows(profile.tables[0])
    assert {name: row.kind for name, row in found.items()} == {
        "": "Sequential",
        "0": "Sequential",
        "1": "OptimizedModule",
        "2": "Sequential",
    }
    assert [row.calls for row in found.values()] == [1.0] * 4
    assert [found[name].parameters for name in ("0", "1", "2")] == [20, 20, 20]
    said = " ".join(profile.tables[0].not_told)
    assert "0 is TorchScript" in said
    assert "1 is compiled by torch.compile" in said
    assert "2 is compiled by torch.compile" in said
    assert vars(in_place)["_compiled_call_impl"] is compiled_call
    assert len(graphs) == 1  # what is put around it makes it compile nothing anew


@pytest.mark.parametrize("fullgraph", [False, True])
def test_modules_that_compiled_code_has_taken_in_are_its_callers(table: Table, fullgraph: bool) -> None:
    graphs = []

    def backend(graph: Any, inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.after = linear(), nn.ReLU()
            self.compiled = torch.compile(self.step, backend=backend, fullgraph=fullgraph)

        def step(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2  # type: ignore[no-any-return]

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.compiled(x))  # type: ignore[no-any-return]

    found = table(Partly())
    assert {name: row.calls for name, row in rows(found).items()} == {"": 1.0, "after": 1.0}
    assert rows(found)[""].parameters == 20
    assert found.not_told[0] == "inner: within code that torch.compile compiled, whose time is its caller's"
    assert len(graphs) <= 2  # the model's own, and one of looking at shapes: no inference that was timed made more


def test_the_fast_path_of_transformers_stays_on(table: Table) -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    found = table(nn.Sequential(layer), InputSpec("x", (2, 3, 4), "float32"), x=(2, 3, 4))
    assert set(rows(found)) == {"", "0"}  # it calls none of its parts
    assert rows(found)["0"].parameters == sum(one.numel() for one in layer.parameters())
    assert "0.self_attn" in found.not_told[-1]


def test_containers_that_never_run_are_no_rows(table: Table) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.by_name["one"](self.listed[0](x))  # type: ignore[no-any-return]

    listed, by_name = nn.ModuleList([linear()]), nn.ModuleDict({"one": nn.ReLU()})
    found = table(Calls(forward, listed=listed, by_name=by_name))
    assert [row.name for row in found.rows] == ["", "listed.0", "by_name.one"]
    assert found.not_told == []


def test_tied_parameters_count_once_and_those_of_silent_parts_with_what_is_around(table: Table) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return nn.functional.linear(self.second(self.first(x)), self.silent.weight)

    first, second = linear(), linear()
    second.weight = first.weight
    found = table(Calls(forward, first=first, second=second, silent=nn.Linear(4, 4, bias=False)))
    assert {name: row.parameters for name, row in rows(found).items()} == {"": 16, "first": 20, "second": 4}
    assert [said for said in found.not_told if said.startswith("silent did not run")]


def test_a_module_called_by_another_method_is_its_callers(table: Table) -> None:
    class Projecting(nn.Module):
        def project(self, x: Tensor) -> Tensor:
            return x + 1

    found = table(Calls(lambda self, x: self.part.project(x), part=Projecting()))
    assert set(rows(found)) == {""}
    assert "its caller's" in found.method


def test_parts_that_run_in_other_threads_are_nobodys_parts(table: Table) -> None:
    class Threaded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Sequential(linear()), nn.Sequential(linear())])

        def forward(self, x: Tensor) -> Tensor:
            results: list[Tensor] = []

            def run(part: nn.Module) -> None:
                results.append(part(x))

            threads = [threading.Thread(target=run, args=(part,)) for part in self.parts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return results[0] + results[1]

    found = table(Threaded())
    by_name = rows(found)
    assert {name: row.calls for name, row in by_name.items()} == dict.fromkeys(
        ["", "parts.0", "parts.0.0", "parts.1", "parts.1.0"], 1.0
    )
    whole = by_name[""]
    assert whole.time_ms == pytest.approx(whole.total_ms)
    for name in ("parts.0", "parts.1"):
        part, within = by_name[name], by_name[f"{name}.0"]
        assert part.total_ms == pytest.approx((part.time_ms or 0.0) + (within.total_ms or 0.0))
    assert sum(row.time_ms or 0.0 for row in found.rows) + found.rest_ms == pytest.approx(found.whole_ms)


def test_shapes_of_whatever_goes_in_and_out(table: Table) -> None:
    class Mapped(nn.Module):
        def forward(self, x: Tensor, *, options: dict[str, Any]) -> Answer:
            return Answer(logits=x.sum(-1), hidden=(x, options["mask"][0]))

    class Opaque(nn.Module):
        def forward(self, value: object) -> object:
            return object()

    def forward(self: Any, x: Tensor) -> Tensor:
        answer = self.mapped(x, options={"mask": [x[:1], "text"], "self": self})
        self.opaque(object())
        return answer.logits  # type: ignore[no-any-return]

    found = rows(table(Calls(forward, mapped=Mapped(), opaque=Opaque())))
    assert found["mapped"].input_shapes == [[2, 4], [1, 4]]
    assert found["mapped"].output_shapes == [[2], [2, 4], [1, 4]]
    assert found["mapped"].output_bytes == (2 + 8 + 4) * 4
    assert (found["opaque"].input_shapes, found["opaque"].output_shapes, found["opaque"].output_bytes) == ([], [], 0)


def test_a_structure_that_holds_itself_or_cannot_be_looked_through_harms_nothing(table: Table) -> None:
    class Broken(dict[str, Any]):
        def values(self) -> Any:
            raise RuntimeError("not yet")

    def forward(self: Any, x: Tensor) -> Tensor:
        loop: list[Any] = [x[:1]]
        loop.append(loop)
        self.looping(loop)
        self.broken([x, Broken(a=x)])
        return x

    found = rows(table(Calls(forward, looping=nn.Identity(), broken=nn.Identity())))
    assert found["looping"].input_shapes == [[1, 4]]
    assert (found["broken"].calls, found["broken"].input_shapes) == (1.0, [])
    assert found[""].output_shapes == [[2, 4]]
