# SPDX-License-Identifier: Apache-2.0
"""Other timers on the work that resnet50.py times: the same module, eager and as a CUDA graph, on the same stream of
one process, after the product's own loop. WHY says in a sentence each why they differ.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gpu.common import Row, first_line, median_of, parser, run_row
from gpu.device import Gpu, take
from gpu.figures import Figure, failed, not_yet, shown

if TYPE_CHECKING:
    from pyperf_infer import _core

SAMPLES = 200
SECONDS = 0.5
OURS = "pyperf-infer"
WHY = {
    OURS: "one call at a time: the span between two events, and the host's time from the call until its end",
    "triton.testing.do_bench": (
        "events around each call too, but the L2 cache is cleared before each and calls are queued ahead, so that the "
        "host's launches hide behind the clearing: nearer to our mode cold than to latency"
    ),
    "torch.utils.benchmark": (
        "the host's clock around many calls with one synchronisation at the end: the period of calls that overlap the "
        "host's work with the GPU's, so nearer to our mode throughput"
    ),
    "cuda.bench": (
        "NVIDIA's nvbench: events around each call with the L2 cache flushed and the launch held back by a kernel that "
        "spins until all is queued, mean and not median: our mode cold"
    ),
}
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float16": torch.float16}


def by_product(target: _core.StreamTarget) -> list[tuple[str, float]]:
    """Medians in milliseconds, by what they are of."""
    warm, cold, period = (take(target, SAMPLES, mode) for mode in ("latency", "cold", "throughput"))
    return [
        ("gpu span", median_of(warm.column("gpu").tolist()) / 1e6),
        ("latency", median_of(warm.ns.tolist()) / 1e6),
        ("cold gpu span", median_of(cold.ns.tolist()) / 1e6),
        ("period", median_of(period.ns.tolist()) / 1e6),
    ]


def by_triton(call: Callable[[], object]) -> list[tuple[str, float]]:
    testing = importlib.import_module("triton.testing")
    ms = testing.do_bench(call, warmup=100, rep=1000 * SECONDS, return_mode="median")
    return [("median", float(ms))]


def by_torch(call: Callable[[], object]) -> list[tuple[str, float]]:
    from torch.utils import benchmark

    timer = benchmark.Timer(stmt="call()", globals={"call": call})
    return [("median", 1e3 * timer.blocked_autorange(min_run_time=SECONDS).median)]


def by_nvbench(works: Mapping[str, Callable[[], object]], device: int) -> dict[str, list[tuple[str, float]]]:
    """Of all works at once, since nvbench runs whatever was registered in the process.

    Raises:
        ImportError: the package (cuda-bench) is not there.
    """
    bench = importlib.import_module("cuda.bench")
    for name, call in works.items():
        bench.register(_benchmark(name, call, device))
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-gpu-") as folder:
        file = Path(folder) / "nvbench.json"
        limits = ["--devices", str(device), "--timeout", str(20 * SECONDS), "--json", str(file)]
        bench.run_all_benchmarks(["beside", *limits])
        return nvbench_means(json.loads(file.read_text()))


def _benchmark(name: str, call: Callable[[], object], device: int) -> Callable[[Any], None]:
    def timed(state: Any) -> None:
        def launch(one: Any) -> None:
            address = one.get_stream().addressof()
            stream = torch.cuda.ExternalStream(address, torch.device("cuda", device))  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                call()

        state.exec(launch)

    timed.__name__ = name  # which nvbench takes
    return timed


def nvbench_means(document: Any) -> dict[str, list[tuple[str, float]]]:
    """Mean times in milliseconds by benchmark, from nvbench's own document.

    Raises:
        RuntimeError: a benchmark has no GPU time.
    """
    wanted = {"nv/cold/time/gpu/mean": "mean, cold", "nv/batch/time/gpu/mean": "mean, in batches"}
    found: dict[str, list[tuple[str, float]]] = {}
    for benchmark in document["benchmarks"]:
        (state,) = benchmark["states"]
        found[benchmark["name"]] = [
            (wanted[summary["tag"]], 1e3 * float(datum["value"]))
            for summary in state["summaries"] or []
            if summary["tag"] in wanted
            for datum in summary["data"]
            if datum["name"] == "value"
        ]
        if not found[benchmark["name"]]:
            raise RuntimeError(f"nvbench gives no GPU time: {state.get('skip_reason') or 'no reason given'}")
    return found


def figures(timer: str, work: str, measure: Callable[[], list[tuple[str, float]]]) -> list[Figure]:
    """What a timer says, or why it says nothing."""
    try:
        return [shown(f"{work}, {timer}: {what}", ms, "ms", reason=WHY[timer]) for what, ms in measure()]
    except ImportError as error:
        return [not_yet(f"{work}, {timer}", f"not installed: {error}")]
    except Exception as error:  # another's fault must not hide what the rest says
        return [failed(f"{work}, {timer}", f"{type(error).__name__}: {first_line(str(error))}")]


def resnet50(gpu: Gpu, batch: int, precision: str) -> Callable[[], object]:
    """One forward call on an input that stays, with the switches that the product sets for that precision."""
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.inputs import make_inputs, resolve_shapes

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    loaded = resolve("resnet50").load(seed=42)
    assert loaded.module is not None
    inputs = make_inputs(loaded.inputs, resolve_shapes(loaded.inputs, batch), seed=42)
    module = copy.deepcopy(loaded.module).to(gpu.device, DTYPES[precision])
    tensors = [torch.from_numpy(array).to(gpu.device, DTYPES[precision]) for array in inputs.values()]
    return lambda: module(*tensors)


def run(row: Row, options: argparse.Namespace) -> None:
    size = f"batch {options.batch}, {options.precision}"
    with Gpu(options.device) as gpu:
        call = resnet50(gpu, options.batch, options.precision)
        graph = gpu.capture(call)
        works = {"eager": call, "graph": graph.replay}
        targets = {"eager": gpu.eager_target(call), "graph": gpu.graph_target(graph, keep=call)}
        for kind, function in works.items():
            work = f"beside: {kind}, {size}"
            row.add(*figures(OURS, work, functools.partial(by_product, targets[kind])))
            row.add(*figures("triton.testing.do_bench", work, functools.partial(by_triton, function)))
            row.add(*figures("torch.utils.benchmark", work, functools.partial(by_torch, function)))
        # Last, since it has a process to itself as a rule.
        row.add(*figures("cuda.bench", f"beside: {size}", functools.partial(_nvbench_in_a_row, works, options.device)))


def _nvbench_in_a_row(works: Mapping[str, Callable[[], object]], device: int) -> list[tuple[str, float]]:
    return [(f"{kind}, {what}", ms) for kind, times in by_nvbench(works, device).items() for what, ms in times]


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--batch", type=int, default=1)
    made.add_argument("--precision", choices=sorted(DTYPES), default="float16")
    return made


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run, made=_parser()))
