# SPDX-License-Identifier: Apache-2.0
"""How far fresh processes that do the same work lie apart.

The work is a small ONNX model in ONNX Runtime's native library, because what makes processes differ is what a process
gets at its start and keeps: where its weights and buffers lie in memory and cache, and where its threads run. Work in
registers alone would show none of that. The model is made here and needs no download; a process takes half a second to
start.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import msgspec

from pyperf_infer.errors import MeasurementError
from pyperf_infer.selftest.records import ProcessLine
from pyperf_infer.system.child import end, start_module

_MODULE = "pyperf_infer.selftest.floor_child"
_WIDTH, _LAYERS, _BATCH = 512, 4, 8  # 4 MiB of weights: more than an L2 cache, so that their places matter
_BETWEEN_LOOKS_S = 0.1
_START_S = 60.0  # a process that has not answered this long after its time is given up


class _Answer(msgspec.Struct):
    median_ns: float
    interval_ns: tuple[float, float] | None
    samples: int


@contextmanager
def small_model() -> Iterator[Path]:
    """An ONNX file for the time of the block: matrix products with random weights, each followed by Relu."""
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-selftest-") as folder:
        path = Path(folder) / "layers.onnx"
        path.write_bytes(_model_bytes())
        yield path


def measure_in_a_process(
    model: Path, number: int, *, seconds: float, confidence: float, between: Callable[[float], object]
) -> ProcessLine:
    """Measures `model` for `seconds` in a process of its own. `between` is called meanwhile, with the seconds so far.

    Raises:
        MeasurementError: the process could not be started, failed, or did not end. It is gone in any case.
    """
    begin = perf_counter()
    with tempfile.TemporaryFile() as messages:
        try:
            process = start_module(
                _MODULE,
                str(model),
                repr(seconds),
                repr(confidence),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
        except OSError as error:
            raise MeasurementError(f"A fresh process cannot be started: {error}. {_REMEDY}") from error
        try:
            while not end_of(process):
                between(perf_counter() - begin)
                if perf_counter() - begin > 10 * seconds + _START_S:
                    raise MeasurementError(f"A fresh process did not answer in {_START_S:g} s. {_REMEDY}")
            assert process.stdout is not None  # noqa: S101  asked for above
            with process.stdout:
                answer = process.stdout.read()
        finally:
            process.kill()
            end(process, 1.0)
        if process.returncode != 0:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
            raise MeasurementError(f"A fresh process failed ({said or f'exit code {process.returncode}'}). {_REMEDY}")
    try:
        found = msgspec.json.decode(answer, type=_Answer)
    except msgspec.MsgspecError as error:
        raise MeasurementError(f"A fresh process answered nonsense ({error}). {_REMEDY}") from error
    return ProcessLine(number=number, median_ns=found.median_ns, interval_ns=found.interval_ns, samples=found.samples)


_REMEDY = "Run this again, what was measured so far is kept; --processes 0 leaves this part out."


def end_of(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends within a moment."""
    try:
        process.wait(_BETWEEN_LOOKS_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _model_bytes() -> bytes:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(42)
    nodes, weights, last = [], [], "input"
    for layer in range(_LAYERS):
        weight = generator.standard_normal((_WIDTH, _WIDTH), dtype=np.float32) / np.float32(_WIDTH**0.5)
        weights.append(numpy_helper.from_array(weight, f"weight{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"weight{layer}"], [f"product{layer}"]))
        last = "output" if layer == _LAYERS - 1 else f"active{layer}"
        nodes.append(helper.make_node("Relu", [f"product{layer}"], [last]))
    shape = [_BATCH, _WIDTH]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
