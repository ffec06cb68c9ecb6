# SPDX-License-Identifier: Apache-2.0
"""Mode cold and the gate: a read of memory that fits in the L2 cache, warm and cold, against what its bytes need at the
memory's bandwidth; and what the product finds out about who waits inside of submit.

A cold span below bytes / bandwidth is impossible: those bytes were flushed. A warm one may well be below.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import torch

from gpu.common import Row, median_of, quartiles, run_row
from gpu.device import Gpu, column_us, take
from gpu.figures import Figure, at_least, at_most, equals, not_yet, shown
from gpu.work import Reads, products
from pyperf_infer import _core

SAMPLES = 200
LIBRARY_VARIABLE = "PYPERF_INFER_TEST_ORT_CUDA"  # ONNX Runtime's library, with its CUDA provider beside it
PROVED = "proved"
SYNCHRONISES = "sync_inside_submit"


def judge(
    what: str,
    warm_us: Sequence[float],
    cold_us: Sequence[float],
    bytes_read: int,
    bandwidth_bytes_per_s: float,
    *,
    fits: bool,
) -> list[Figure]:
    """The figures of one read of memory. What fits in the L2 cache is faster when it is warm."""
    bound_us = bytes_read / bandwidth_bytes_per_s * 1e6
    megabytes = bytes_read / 1e6
    cold, warm = median_of(cold_us), median_of(warm_us)
    spread = {"spread_of": "quartiles"}
    return [
        at_least(
            f"{what}: cold span of {megabytes:.4g} MB", cold, bound_us, "us", spread=quartiles(cold_us), **spread,
            reason=f"{bound_us / cold:.0%} of {bandwidth_bytes_per_s / 1e9:.4g} GB/s",
        ),
        shown(f"{what}: warm span", warm, "us", spread=quartiles(warm_us), **spread),
        *([at_least(f"{what}: cold span - warm span", cold - warm, 0.0, "us")] if fits else []),
    ]  # fmt: skip


def gate_figures(what: str, target: _core.StreamTarget) -> list[Figure]:
    """Of a target that has taken cold samples."""
    return [
        equals(f"{what}: held back in mode cold", "yes" if target.gated else f"no: {target.gate_reason}", "yes"),
        at_most(f"{what}: launches let go by the watchdog", target.gate_timeouts, 0, ""),
        shown(f"{what}: flushed before each", target.flush_bytes / 1e6, "MB"),
    ]


def asynchrony(what: str, target: _core.StreamTarget, wanted: str) -> Figure:
    """What the product finds out about a target that has run before."""
    found = target.probe_asynchrony()
    return equals(f"{what}: who waits", found, wanted, reason=target.asynchrony_evidence)


def run(row: Row, options: argparse.Namespace) -> None:
    with Gpu(options.device) as gpu:
        facts = gpu.facts
        row.say(f"bandwidth by the memory's clock and bus: {facts.memory_bandwidth_bytes_per_s / 1e9:,.5g} GB/s")
        row.say(f"L2: {facts.l2_bytes:,} bytes")
        small, large = Reads(gpu, facts.l2_bytes // 4), Reads(gpu, 8 * facts.l2_bytes)
        _warm_and_cold(row, gpu, "graph", gpu.graph_target(gpu.capture(small), keep=small), small)
        _warm_and_cold(row, gpu, "eager", gpu.eager_target(small), small)
        _warm_and_cold(row, gpu, "graph beyond L2", gpu.graph_target(gpu.capture(large), keep=large), large)
        synchronising = gpu.eager_target(_synchronising(products(gpu)))
        take(synchronising, SAMPLES)
        row.add(asynchrony("a callable that calls torch.cuda.synchronize", synchronising, SYNCHRONISES))
    row.add(*_onnx_runtime(options.device))


def _warm_and_cold(row: Row, gpu: Gpu, what: str, target: _core.StreamTarget, reads: Reads) -> None:
    warm_us = column_us(take(target, SAMPLES), "gpu")
    row.add(asynchrony(what, target, PROVED))
    cold_us = column_us(take(target, SAMPLES, "cold"), "gpu")
    fits, bandwidth = reads.bytes_read < gpu.facts.l2_bytes, gpu.facts.memory_bandwidth_bytes_per_s
    row.add(*judge(what, warm_us, cold_us, reads.bytes_read, bandwidth, fits=fits), *gate_figures(what, target))


def _synchronising(work: Callable[[], object]) -> Callable[[], object]:
    def call() -> None:
        work()
        torch.cuda.synchronize()

    return call


def _onnx_runtime(device: int) -> list[Figure]:
    """ONNX Runtime, plain and in its graph mode, where a library with the CUDA provider is named."""
    name = "ONNX Runtime on its stream: who waits"
    library = os.environ.get(LIBRARY_VARIABLE)
    if not library:
        return [not_yet(name, f"no ONNX Runtime with the CUDA provider is given (--ort-capi, or {LIBRARY_VARIABLE})")]
    from gpu.onnx_work import bound_session

    figures = []
    for graph in (False, True):
        session = bound_session(library, device=device, cuda_graph=graph)
        target = session.target
        assert isinstance(target, _core.StreamTarget)
        take(target, SAMPLES)
        if graph:  # older versions wait inside of a replay; the product then says so and withholds what it must
            found = target.probe_asynchrony()
            figures.append(shown("ONNX Runtime, its graph: who waits", found, reason=target.asynchrony_evidence))
        else:
            figures.append(asynchrony("ONNX Runtime", target, PROVED))
    return figures


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
