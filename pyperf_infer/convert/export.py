# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module as an ONNX file, through torch.onnx's torch.export based exporter."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pyperf_infer.convert.failure import explain, last_lines
from pyperf_infer.convert.flat import flattened, is_flat, takes_varargs
from pyperf_infer.convert.naming import name_graph
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import InputError, OutOfMemoryError

if TYPE_CHECKING:
    import onnx_ir
    import torch

    from pyperf_infer.models.spec import InputSpec, LoadedModel

BATCH = "batch"
# torch.export treats sizes 0 and 1 as constants, so that an example batch of 1 would fix the batch at 1.
EXAMPLE_BATCH = 2


@dataclass(frozen=True)
class ExportInfo:
    """An exported file. `inputs` and `outputs` are its names in order; outputs are in flatten_outputs' order."""

    path: Path
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float


def export_to_onnx(
    model: LoadedModel,
    path: Path | str,
    *,
    opset: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> ExportInfo:
    """Writes `model` to `path`, its weights beside it in ``<name>.data``, checked with onnx.checker.

    The first dimension of every input that leaves it open becomes the dynamic dimension "batch"; every other one is
    fixed, an open one at its size in `shapes` (full shapes by input name). Where the batches in `shapes` differ from
    input to input they cannot be one dimension, and all are fixed. The module is called with its inputs by position.

    Raises InputError where the model cannot be expressed in ONNX or `path` cannot be written, with the operator and
    the line of the model that stand in the way; OutOfMemoryError where tracing does not fit in memory.
    """
    if model.module is None:
        raise InputError(f"{model.name} is an ONNX file already; there is no PyTorch module to export.")
    path = Path(path)
    examples = example_shapes(model.inputs, shapes or {})
    start = time.perf_counter()
    with captured_chatter() as chatter:
        try:
            inputs, outputs, actual = _export(model.module, model.inputs, examples, path, opset)
        except InputError as error:
            raise InputError(f"{model.name} cannot be exported to ONNX: {error}") from error
        except Exception as error:
            _raise_explained(model.name, path, error, chatter.getvalue())
    return ExportInfo(path, actual, inputs, outputs, time.perf_counter() - start)


@dataclass(frozen=True)
class _Example:
    shape: tuple[int, ...]
    dynamic_batch: bool


def example_shapes(specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> list[_Example]:
    """The shape of each example input, and whether its first dimension is the dynamic batch."""
    open_batches = {shapes[spec.name][0] for spec in specs if spec.name in shapes and _leaves_batch_open(spec)}
    one_batch = len(open_batches) <= 1
    examples = []
    for spec in specs:
        asked = shapes.get(spec.name)
        dynamic = one_batch and _leaves_batch_open(spec)
        sizes: list[int] = []
        for axis, size in enumerate(spec.shape):
            if axis == 0 and dynamic:
                sizes.append(EXAMPLE_BATCH)
            elif isinstance(size, int):
                sizes.append(size)
            elif asked is not None:
                sizes.append(asked[axis])
            else:
                label = f"dimension {axis}" + (f" ({size!r})" if size else "")
                raise InputError(
                    f"Input {spec.name!r} leaves {label} open, and ONNX export needs its size. "
                    f"Give the whole shape: --shape {spec.name}:AxBx..."
                )
        examples.append(_Example(tuple(sizes), dynamic))
    return examples


def _leaves_batch_open(spec: InputSpec) -> bool:
    return bool(spec.shape) and not isinstance(spec.shape[0], int)


def _export(
    module: torch.nn.Module,
    specs: Sequence[InputSpec],
    examples: Sequence[_Example],
    path: Path,
    opset: int | None,
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    import onnx
    import torch

    tensors = tuple(_example_tensor(spec, example.shape) for spec, example in zip(specs, examples, strict=True))
    dynamic: Any = tuple({0: BATCH} if example.dynamic_batch else {} for example in examples)
    with torch.no_grad():
        value = module(*tensors)
        wanted = [name for name, _ in named_outputs(value)]
        if not is_flat(value) or takes_varargs(module.forward):
            # Only where needed, as it puts "module." before every weight's name in the file.
            module, dynamic = flattened(module), (dynamic,)
        program = torch.onnx.export(
            module, tensors, dynamo=True, dynamic_shapes=dynamic, opset_version=opset, verbose=False
        )
    if program is None:
        raise InputError("torch.onnx.export returned no program; its version of torch is too old for this exporter.")
    graph: onnx_ir.Graph = program.model.graph
    if len(graph.outputs) != len(wanted) or len(graph.inputs) != len(specs):
        raise InputError(
            f"the exported graph has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, where the model has "
            f"{len(specs)} and {len(wanted)}; an output that is not computed from the inputs cannot be exported."
        )
    outputs = name_graph(program.model, [spec.name for spec in specs], wanted)
    actual = int(graph.opset_imports[""])
    if opset is not None and actual != opset:
        raise InputError(f"opset {opset} was asked for and the exporter wrote opset {actual}; ask for that one.")
    program.save(path, external_data=True)
    onnx.checker.check_model(str(path))
    return tuple(str(value.name) for value in graph.inputs), outputs, actual


def _example_tensor(spec: InputSpec, shape: tuple[int, ...]) -> torch.Tensor:
    """Random normal floats; ones for integers and bools, an index that every vocabulary has."""
    import torch

    dtype = getattr(torch, spec.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"Input {spec.name!r} has element type {spec.dtype}, which PyTorch does not have.")
    if dtype.is_floating_point:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.ones(shape, dtype=dtype)


def _raise_explained(name: str, path: Path, error: Exception, chatter: str) -> NoReturn:
    """The error as this package's own; what the exporter printed follows, cut to its last lines."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            raise InputError(f"No space left in {path.parent} for the ONNX file of {name}.") from error
        raise InputError(f"The ONNX file of {name} cannot be written to {path}: {error.strerror or error}.") from error
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        raise OutOfMemoryError(f"{name} does not fit in memory while it is exported to ONNX.") from error
    raise InputError(
        f"{name} cannot be exported to ONNX: {explain(error)}\n"
        "Change the model there, give an .onnx file of it, or measure PyTorch alone (--backend torch)."
        + last_lines(chatter, "The exporter")
    ) from error
