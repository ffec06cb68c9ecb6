# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime libraries older than the installed one, through the same table of functions.

PYPERF_INFER_TEST_ORT_LIBRARIES names them, separated by colons (.ci/run fetches some). Each is loaded in a process of
its own: two libraries in one process share what they should not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx_graphs import save_scale_model

VARIABLE = "PYPERF_INFER_TEST_ORT_LIBRARIES"
LIBRARIES = [Path(name) for name in os.environ.get(VARIABLE, "").split(":") if name]

pytestmark = pytest.mark.skipif(not LIBRARIES, reason=f"{VARIABLE} is not set: it names libonnxruntime.so files")

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from pyperf_infer import timers
from pyperf_infer.backends.assignment import assignment_of
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import PyperfInferError

library, model = sys.argv[1:3]
x = np.arange(8, dtype=np.float32).reshape(2, 4)

def failure(action):
    try:
        action()
    except PyperfInferError as error:
        return type(error).__name__, str(error)

def session(path=model, **options):
    return timers.OnnxSession(path, threads=1, library=library, **options)

one = session(session_options={"session.intra_op.allow_spinning": "0"}, opt_level="basic", execution_mode="parallel")
outputs = one.run({"x": x})
samples = timers.measure(one, duration=0.05, max_duration=0.5)
assignment = assignment_of(one, Path(model), BackendOptions(threads=1), "CPUExecutionProvider", {"x": x})
Path("text.onnx").write_text("no model at all")
print(json.dumps({
    "version": one.version,
    "inputs": [[info.name, info.dtype, list(info.shape)] for info in one.inputs],
    "right": bool((outputs["y"] == x * 3).all()),
    "samples": len(samples.ns),
    "first_run_ns": one.first_run_ns,
    "stage": assignment.stage,
    "nodes": [[node.provider, node.op_type] for node in assignment.nodes],
    "truncated": failure(lambda: session("text.onnx")),
    "provider": failure(lambda: session(provider="NoSuchExecutionProvider")),
    "layout": failure(lambda: session(opt_level="layout")),
}))
"""


@pytest.fixture(scope="module", params=LIBRARIES, ids=lambda path: path.name)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("old")
    model = save_scale_model(folder / "scale.onnx")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(request.param), str(model)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["version"] in request.param.name
    return found


def release(seen: dict[str, Any]) -> int:
    return int(seen["version"].split(".")[1])


def test_it_computes_and_is_measured(seen: dict[str, Any]) -> None:
    assert seen["inputs"] == [["x", "float32", ["batch", 4]]]
    assert seen["right"]
    assert seen["samples"] >= 30
    assert seen["first_run_ns"] > 0


def test_the_nodes_of_the_provider_are_read_back(seen: dict[str, Any]) -> None:
    assert seen["stage"] == ("before fusion" if release(seen) >= 24 else "after fusion")
    assert seen["nodes"] == [["CPUExecutionProvider", "Mul"]]


def test_what_it_refuses_is_told_apart(seen: dict[str, Any]) -> None:
    assert seen["truncated"][0] == "InputError"
    assert seen["provider"][0] == "BackendError"
    assert (seen["layout"] is None) == (release(seen) >= 22), seen["layout"]
