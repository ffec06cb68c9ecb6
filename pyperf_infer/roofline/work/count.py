# SPDX-License-Identifier: Apache-2.0
"""The work of a model that was named, built and given its inputs' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyperf_infer.roofline.work.counts import ModelWork, Shape
from pyperf_infer.roofline.work.kernels import bytes_of_model, kernels

if TYPE_CHECKING:
    from pyperf_infer.models.spec import ModelStructure
    from pyperf_infer.roofline.work.counts import Graph


def count(model: ModelStructure, shapes: Mapping[str, Shape]) -> ModelWork:
    """`shapes`: of every input, as models.shapes.resolve_shapes finds them.

    Raises:
        InputError: the model has no graph, control flow in it, or shapes that cannot be inferred.
    """
    graph = _graph(model, shapes)
    return ModelWork(model.name, dict(shapes), model.parameters, bytes_of_model(graph), kernels(graph))


def _graph(model: ModelStructure, shapes: Mapping[str, Shape]) -> Graph:
    if model.onnx_path is not None:
        from pyperf_infer.roofline.work.onnx_program import onnx_graph

        return onnx_graph(model.name, model.onnx_path, shapes)
    import torch

    from pyperf_infer.roofline.work.torch_program import torch_graph

    assert model.module is not None  # noqa: S101  it is the one or the other
    device = next((one.device for one in (*model.module.parameters(), *model.module.buffers())), torch.device("cpu"))
    with device:  # what the model makes on its way goes there too
        inputs = [torch.empty(shapes[spec.name], dtype=getattr(torch, spec.dtype)) for spec in model.inputs]
        return torch_graph(model.name, model.module, inputs)
