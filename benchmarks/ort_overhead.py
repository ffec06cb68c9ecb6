# SPDX-License-Identifier: Apache-2.0
"""What our loop adds to ONNX Runtime: a model of one node (Relu on 16 floats), through our target, through a C++ loop
written by hand over the same C table, and through ONNX Runtime's Python interface.

Every side is a process of its own, makes its session from the same file with the same options, binds input and output
to memory aligned alike, warms up with the same number of calls and gives the median of the same number of samples.
A process differs from the next by more than its samples differ from one another, so the verdict is the median over
rounds, and the hand-written loop stands against itself beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from common import Claim, Ratios, Report, alternate, child, compiled, parser, run_json, too_noisy

if TYPE_CHECKING:
    import onnxruntime

ELEMENTS = 16
THREADS = 1
WARM_UP = 20_000
CALLS = 100_000
ROUNDS = 15
AT_MOST = 1.03
Floats = npt.NDArray[np.float32]


def library() -> Path:
    """The library in the installed wheel, found without importing the package."""
    import importlib.util

    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("onnxruntime is not installed")
    return next((Path(spec.origin).parent / "capi").glob("libonnxruntime.so*"))


def write_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ELEMENTS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, ELEMENTS])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one-node", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def input_values() -> Floats:
    return (np.arange(ELEMENTS) % 7 - 3).astype(np.float32).reshape(1, ELEMENTS)


def child_ours(model: str) -> None:
    from pyperf_infer import _core

    path = str(library())
    _core.load_ort(path)
    options = _core.OrtSessionOptions()
    options.intra_op_threads, options.inter_op_threads = THREADS, 1
    target = _core.OrtTarget(_core.OrtSession(path, model, options))
    target.bind_input("x", input_values())
    target.bind_outputs()
    _core.run_batched(target, WARM_UP)
    samples = _core.Samples()
    _core.run_batch(target, samples, CALLS)
    print(json.dumps({"p50_ns": float(np.median(samples.ns))}))


def child_python(model: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values = input_values()
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(values))
    binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros_like(values)))
    print(json.dumps({"io_binding_ns": time_io_binding(session, binding), "session_run_ns": time_run(session, values)}))


# Two loops that are alike but for the call: a callable handed in would add the cost of calling it to both.
def time_io_binding(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> float:
    run, clock_ns, samples = session.run_with_iobinding, time.perf_counter_ns, [0] * CALLS
    for _ in range(WARM_UP):
        run(binding)
    for i in range(CALLS):
        begin_ns = clock_ns()
        run(binding)
        samples[i] = clock_ns() - begin_ns
    return statistics.median(samples)


def time_run(session: onnxruntime.InferenceSession, values: Floats) -> float:
    run, clock_ns, samples = session.run, time.perf_counter_ns, [0] * CALLS
    names, feed = ["y"], {"x": values}
    for _ in range(WARM_UP):
        run(names, feed)
    for i in range(CALLS):
        begin_ns = clock_ns()
        run(names, feed)
        samples[i] = clock_ns() - begin_ns
    return statistics.median(samples)


def compare(report: Report, model: Path, program: Path) -> None:
    from pyperf_infer import _core

    path = library()
    version = str(_core.load_ort(str(path)).api_version)
    counts = [str(number) for number in (ELEMENTS, THREADS, WARM_UP, CALLS)]
    by_python: list[dict[str, float]] = []

    def ours() -> float:
        return run_json(child("ort_overhead.py", "ours", str(model)))["p50_ns"]

    def hand() -> float:
        return run_json([str(program), str(path), version, str(model), *counts])["p50_ns"]

    def python() -> float:
        by_python.append(run_json(child("ort_overhead.py", "python", str(model))))
        return by_python[-1]["io_binding_ns"]

    rounds = alternate([ours, hand, hand, python], ROUNDS)
    ours_ns, hand_ns, again_ns, _ = (statistics.median(column) for column in zip(*rounds, strict=True))
    report.say(f"{path.name}, Relu on {ELEMENTS} floats, {THREADS} intra-op thread, {ROUNDS} rounds of alternating")
    report.say(f"processes, {CALLS} samples each. Medians of p50: ours {ours_ns:.0f} ns, by hand {hand_ns:.0f} ns and")
    report.say(f"again by hand {again_ns:.0f} ns")
    itself = Ratios.of([(again, hand) for _, hand, again, _ in rounds])
    report.say(f"by hand / by hand: {itself}")
    if warning := too_noisy(itself, AT_MOST - 1):
        report.say(warning)
    versus_hand = Ratios.of([(ours, hand) for ours, hand, _, _ in rounds])
    report.claim(Claim("ours / C++ by hand, p50", versus_hand.median, AT_MOST, spread=versus_hand.quartiles))
    for name, key, bound in (("run_with_iobinding", "io_binding_ns", 2.0), ("session.run", "session_run_ns", 4.0)):
        versus = Ratios.of([(values[key], row[0]) for values, row in zip(by_python, rounds, strict=True)])
        name = f"Python's {name} / ours, p50"
        report.claim(Claim(name, versus.median, bound, at_most=False, spread=versus.quartiles))


def main() -> int:
    arguments = parser(__doc__).parse_args()
    if arguments.child:
        side, model = arguments.child
        {"ours": child_ours, "python": child_python}[side](model)
        return 0
    report = Report("ort_overhead")
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder, compiled("ort_hand_loop.cpp") as program:
        model = Path(folder) / "one_node.onnx"
        write_model(model)
        compare(report, model, program)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
