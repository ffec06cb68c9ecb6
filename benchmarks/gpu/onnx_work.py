# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model on the CUDA provider, through the product's session."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np

from pyperf_infer import timers

PROVIDER = "CUDAExecutionProvider"
SIZE = 1024
PRODUCTS = 8


def write_model(path: Path, *, size: int = SIZE, count: int = PRODUCTS) -> None:
    """y = x · w · w · ... with random weights, as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(42).standard_normal((size, size), np.float32) / size**0.5
    names = ["x", *(f"y{number}" for number in range(1, count)), "y"]
    nodes = [helper.make_node("MatMul", [before, "w"], [after]) for before, after in itertools.pairwise(names)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "products", tensors[:1], tensors[1:], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def bound_session(library: str, *, device: int, cuda_graph: bool) -> timers.OnnxSession:
    """The model on that GPU, its input bound.

    Raises:
        BackendError: the library or its CUDA provider does not load; the message names what is missing.
    """
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-gpu-") as folder:
        path = Path(folder) / "products.onnx"
        write_model(path)
        session = timers.OnnxSession(path, provider=PROVIDER, library=library, device=device, cuda_graph=cuda_graph)
    values = np.random.default_rng(7).standard_normal((SIZE, SIZE), np.float32)
    session.bind({"x": values})
    return session
