# SPDX-License-Identifier: Apache-2.0
"""The work of a model that was named, built and given its inputs' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.roofline.work.counts import ModelWork, Shape
from pyperf_infer.roofline.work.kernels import activation_bytes_peak, bytes_of_model, kernels

if TYPE_CHECKING:
    from pyperf_infer.models.spec import ModelStructure
    from pyperf_infer.roofline.work.counts import Graph


def count(model: ModelStructure, shapes: Mapping[str, Shape], *, float_bytes: int | None = None) -> ModelWork:
    """`shapes`: of every input, as models.shapes.resolve_shapes finds them.

    `float_bytes`: the most that an element of a floating-point tensor takes, where the model is to run in another
    precision than it is in; None for its own.

    Raises:
        InputError: the model has no graph, control flow in it, or shapes that cannot be inferred.
    """
    return work_of(model, shapes, graph_of(model, shapes, float_bytes=float_bytes))


def work_of(model: ModelStructure, shapes: Mapping[str, Shape], graph: Graph) -> ModelWork:
    """The same of a graph that `graph_of` has made."""
    return ModelWork(
        model.name,
        dict(shapes),
        model.parameters,
        weight_bytes=sum(one.size_bytes for one in graph.weights),
        input_bytes=sum(one.size_bytes for one in graph.inputs),
        output_bytes=sum(one.size_bytes for one in graph.outputs),
        activation_bytes_peak=activation_bytes_peak(graph),
        bytes_min_model=bytes_of_model(graph),
        kernels=kernels(graph),
    )


def graph_of(model: ModelStructure, shapes: Mapping[str, Shape], *, float_bytes: int | None = None) -> Graph:
    """The model's graph at `shapes`; arguments and errors as of `count`."""
    graph = _graph(model, shapes)
    return graph if float_bytes is None else graph.in_precision(float_bytes)


def _graph(model: ModelStructure, shapes: Mapping[str, Shape]) -> Graph:
    if model.onnx_path is not None:
        from pyperf_infer.roofline.work.onnx_program import onnx_graph

        return onnx_graph(model.name, model.onnx_path, shapes)
    import torch

    from pyperf_infer.roofline.work.torch_program import torch_graph

    assert model.module is not None  # noqa: S101  it is the one or the other
    device = next((one.device for one in (*model.module.parameters(), *model.module.buffers())), torch.device("cpu"))
    with device:  # what the model makes on its way goes there too
        try:
            inputs = [torch.empty(shapes[spec.name], dtype=getattr(torch, spec.dtype)) for spec in model.inputs]
        except RuntimeError as error:  # memory that is only reserved, but even so
            raise InputError(f"{model.name}: inputs of these shapes do not fit in this machine's memory.") from error
        return torch_graph(model.name, model.module, inputs)
