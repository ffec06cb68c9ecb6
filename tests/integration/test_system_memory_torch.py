# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_torch_and_onnxruntime_fail_within_the_limit_instead_of_being_killed() -> None:
    script = """
import numpy, onnx, onnxruntime, torch
from onnx import TensorProto, helper
from pyperf_infer.system import memory

def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

grow = helper.make_graph(
    [helper.make_node("Expand", ["x", "shape"], ["y"])], "grow", [tensor("x", [1])], [tensor("y", ["n"])],
    [helper.make_tensor("shape", TensorProto.INT64, [1], [2**28])],
)
model = helper.make_model(grow, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
memory.available_memory_bytes = lambda: 500 * 2**20
with memory.memory_limit():
    torch.ones(50 * 2**20, dtype=torch.uint8)
    for work in (lambda: torch.empty(2**30, dtype=torch.uint8),
                 lambda: session.run(None, {"x": numpy.ones(1, numpy.float32)})):
        try:
            work()
        except Exception as error:
            assert memory.is_out_of_memory(error), error
        else:
            raise SystemExit("the limit did not hold")
torch.ones(2**29, dtype=torch.uint8)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
