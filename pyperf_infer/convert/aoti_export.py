# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module as an exported program that AOTInductor compiles, or the reason why it is none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.convert.failure import explain, last_lines, source_of
from pyperf_infer.convert.flat import flattened
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import InputError, OutOfMemoryError
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

REMEDY = "Change the model there, or measure it without compiling (--backend torch)."
# Arguments of operators whose randomness, or training, can be switched off, and the value at which it is.
_SWITCHES = {"train": False, "training": False, "dropout_p": 0.0, "p": 0.0}


@dataclass(frozen=True)
class Exported:
    """A program with static shapes. `outputs`: the names of its outputs in convert.outputs.named_outputs' order."""

    program: ExportedProgram
    outputs: tuple[str, ...]
    seconds: float


def export_for_aoti(name: str, module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> Exported:
    """Exports `module`, which is called with `inputs` by position; it is traced and not run.

    Outputs in dicts, tuples, dataclasses and anything nested of them become a flat tuple.

    Raises:
        InputError: the module is in training mode, cannot be traced, draws random numbers, or changes its inputs or
            buffers as it runs; with the operator and the line of the model.
        OutOfMemoryError: tracing does not fit in memory.
    """
    import torch

    if module.training:
        raise InputError(
            f"{name} is in training mode, in which it computes something else than in inference; call .eval() on it."
        )
    start = time.perf_counter()
    names: list[str] = []
    with captured_chatter() as chatter:
        try:
            with torch.no_grad():
                program = torch.export.export(flattened(module, names), tuple(inputs.values()), strict=False)
                _refuse_sparse(program, names)
                refusal = _refusal(program, list(inputs))
        except InputError as error:
            raise InputError(f"{name} cannot be exported for AOTInductor: {error}") from error
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"{name} does not fit in memory while it is exported for AOTInductor."
                ) from error
            failure = explain(error)
            # What torch.export prints is the graph until there: pages, and of use only where no line is known.
            printed = last_lines(chatter.getvalue(), "torch.export") if failure.source is None else ""
            raise InputError(f"{name} cannot be exported for AOTInductor: {failure}\n{REMEDY}{printed}") from error
    if refusal:
        raise InputError(f"{name} {refusal}\n{REMEDY}")
    return Exported(program, tuple(names), time.perf_counter() - start)


def _refuse_sparse(program: ExportedProgram, outputs: Sequence[str]) -> None:
    """No backend can hand over what is no block of memory, so that the remedy is another than REMEDY."""
    import torch

    for name, node in zip(outputs, program.graph_module.graph.output_node().args[0], strict=True):
        layout = getattr(getattr(node, "meta", {}).get("val"), "layout", torch.strided)
        if layout is not torch.strided:
            kind = str(layout).removeprefix("torch.")
            raise InputError(
                f"its {name} is sparse ({kind}), and only dense outputs can be compared; return .to_dense()."
                + _place(node)
            )


def _refusal(program: ExportedProgram, inputs: Sequence[str]) -> str | None:
    """Why no run of the compiled model could equal one of the model's own; None where it can."""
    nodes = list(_operators(program.graph_module))
    for node in nodes:
        if _draws(node):
            return (
                f"draws random numbers ({_name(node)}), so that no two runs of it agree and its outputs cannot be "
                f"checked.{_place(node)}"
            )
    if not any(_may_change_state(node) for node in nodes):
        return None
    # What is changed stands in the signature of a program without operators that work in place.
    signature = program.run_decompositions({}).graph_signature
    changed = [
        *(f"input {_input(target, inputs)}" for target in signature.user_inputs_to_mutate.values()),
        *(f"buffer {target.removeprefix('module.')}" for target in signature.buffers_to_mutate.values()),
    ]
    if not changed:
        return None
    culprit = next(node for node in nodes if _may_change_state(node))
    return (
        f"changes its {', its '.join(changed)} as it runs, so that each run computes something else than the one "
        f"before.{_place(culprit)}"
    )


def _operators(graph_module: Any) -> Iterator[torch.fx.Node]:
    """Every operator of the program, those under torch.cond and torch.autocast too."""
    import torch

    for part in graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield from (
                node
                for node in part.graph.nodes
                if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)
            )


def _draws(node: Any) -> bool:
    import torch

    return torch.Tag.nondeterministic_seeded in node.target.tags and not _switched_off(node)


def _switched_off(node: Any) -> bool:
    values = _arguments(node)
    return any(name in values and values[name] == off for name, off in _SWITCHES.items())


def _arguments(node: Any) -> dict[str, Any]:
    """By name, defaults included."""
    parameters = node.target._schema.arguments
    values = {parameter.name: parameter.default_value for parameter in parameters if parameter.has_default_value()}
    positional = zip((parameter.name for parameter in parameters), node.args, strict=False)
    return {**values, **dict(positional), **node.kwargs}


def _may_change_state(node: Any) -> bool:
    """Whether it writes to what may be an input or a buffer of the model, or is a layer in training mode."""
    values = _arguments(node)
    if any(values.get(name) is True for name in ("train", "training")):
        return True
    written = [
        values.get(parameter.name)
        for parameter in node.target._schema.arguments
        if parameter.alias_info is not None and parameter.alias_info.is_write
    ]
    tensors = [each for value in written for each in (value if isinstance(value, list | tuple) else [value])]
    return any(_root(tensor).op == "placeholder" for tensor in tensors if hasattr(tensor, "op"))


def _root(node: Any) -> Any:
    """What `node` may be a view of."""
    import torch

    while node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
        schema, values = node.target._schema, _arguments(node)
        if not any(result.alias_info is not None for result in schema.returns):
            return node
        viewed = [values.get(parameter.name) for parameter in schema.arguments if parameter.alias_info is not None]
        if not viewed or not hasattr(viewed[0], "op"):
            return node
        node = viewed[0]
    return node


def _name(node: Any) -> str:
    return str(node.target).removesuffix(".default")


def _input(placeholder: str, inputs: Sequence[str]) -> str:
    """The wrapper's placeholder "inputs_0" is the first input."""
    found = re.fullmatch(r"inputs_(\d+)", placeholder)
    return inputs[int(found[1])] if found else placeholder


def _place(node: Any) -> str:
    source = source_of(node.meta.get("stack_trace"))
    return f"\n  at {source}" if source else ""
