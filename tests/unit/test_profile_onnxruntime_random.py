# SPDX-License-Identifier: Apache-2.0
"""Random graphs, fused and laid out anew by an optimiser that knows the truth: each new node is traced to just that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graph_cases import graph, node
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.profile.graph_matching import names_of
from pyperf_infer.profile.graph_sources import find_sources

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node


@dataclass
class Optimised:
    """A graph, its optimised form, and the old outputs that each new node stands for, by its name."""

    old: Graph
    new: Graph
    truth: dict[str, set[str]]


@dataclass
class Optimiser:
    """Fuses, and moves nodes into another layout, as `choices` say; values of that layout are numbered at random."""

    draw: st.DrawFn
    hints: bool
    nodes: list[Node] = field(default_factory=list)
    laid_out: dict[str, str] = field(default_factory=dict)  # old value to its name in the other layout
    plain: set[str] = field(default_factory=lambda: {"x"})
    numbers: list[int] = field(default_factory=list)

    def made_up(self) -> str:
        return f"reorder_{self.numbers.pop()}"

    def in_layout(self, value: str) -> str:
        if value not in self.laid_out:
            self.laid_out[value] = self.made_up()
            self.nodes.append(node("ReorderInput", [value], [self.laid_out[value]], f"in_{len(self.nodes)}"))
        return self.laid_out[value]

    def in_plain(self, value: str) -> str:
        if value not in self.plain:
            self.plain.add(value)
            self.nodes.append(node("ReorderOutput", [self.laid_out[value]], [value], f"out_{len(self.nodes)}"))
        return value


@st.composite
def optimised(draw: st.DrawFn, hints: bool) -> Optimised:
    size = draw(st.integers(1, 12))
    old: list[Node] = []
    values = ["x"]
    for index in range(size):
        op = draw(st.sampled_from(["Conv", "Relu", "Add", "Concat"]))
        recent = st.sampled_from(values[-4:])
        inputs = [draw(recent) for _ in range(1 if op in ("Conv", "Relu") else 2)]
        weights = [f"w{index}", f"b{index}"] if op == "Conv" else []
        old.append(node(op, [*inputs, *weights], [f"v{index}"], id=str(index)))
        values.append(f"v{index}")
    used = {name for one in old for name in one.inputs}
    outputs = [name for name in values[1:] if name not in used]
    users = {name: [one for one in old if name in one.inputs] for name in values}

    state = Optimiser(draw, hints, numbers=draw(st.permutations(range(100))))
    truth: dict[str, set[str]] = {}
    done: set[str] = set()
    for one in old:
        if one.outputs[0] in done:
            continue
        group, end = {one.outputs[0]}, one.outputs[0]
        behind = users[end]
        if (
            one.op == "Conv"
            and len(behind) == 1
            and behind[0].op == "Relu"
            and end not in outputs
            and draw(st.booleans())
        ):
            end = behind[0].outputs[0]
            group.add(end)
        done |= group
        name = f"n{len(truth)}"
        data = [value for value in one.inputs if value in values]
        kept = {"id": one.attributes["id"].decode()}
        if one.op != "Relu" and draw(st.booleans()):
            inputs = [state.in_layout(value) for value in data]
            name = f"{one.outputs[0]}_nchwc" if hints else name
            rest = [state.made_up(), one.inputs[-1]] if one.op == "Conv" else []
            state.laid_out[end] = state.made_up()
            state.nodes.append(node(one.op, [*inputs, *rest], [state.laid_out[end]], name, **kept))
        else:
            inputs = [state.in_plain(value) for value in data]
            state.plain.add(end)
            rest = list(one.inputs[len(data) :])
            state.nodes.append(node(one.op, [*inputs, *rest], [end], name, **kept))
        truth[name] = group
    for value in outputs:
        state.in_plain(value)
    constants = [name for one in old for name in one.inputs if name not in values]
    made = {name for one in state.nodes for name in one.outputs}
    reordered = [name for one in state.nodes for name in one.inputs if name not in made and name != "x"]
    return Optimised(graph(old, outputs, ("x",), *constants), graph(state.nodes, outputs, ("x",), *reordered), truth)


@given(optimised(hints=True))
def test_every_node_of_a_random_graph_is_traced_to_just_what_went_into_it(case: Optimised) -> None:
    found = find_sources(case.new, case.old, names_of(case.old))
    for one in case.new.nodes:
        outputs = {old.outputs[0] for old in found.of[one]}
        if one.name in case.truth:
            assert outputs == case.truth[one.name], one.name
            assert one not in found.put_in
        else:
            assert one in found.put_in


@given(optimised(hints=False))
def test_without_telling_names_nothing_is_traced_to_what_it_is_not(case: Optimised) -> None:
    found = find_sources(case.new, case.old, names_of(case.old))
    for one in case.new.nodes:
        if one.name in case.truth:
            assert {old.outputs[0] for old in found.of[one]} <= case.truth[one.name], one.name
