# SPDX-License-Identifier: Apache-2.0
"""A GPU as the rows use it: torch makes the work and captures it, the product launches and times it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from pyperf_infer import _core, timers
from pyperf_infer.timing.cuda import open_gpu

WARM_CALLS = 20
HEAT_S, HEAT_SIZE = 0.5, 2048
MOST_NS = 30_000_000_000


class Gpu:
    """One GPU with a stream of torch's on it; both are current in a ``with`` block.

    Raises:
        BackendError: there is no driver or no such GPU.
        RuntimeError: this torch cannot use it.
    """

    def __init__(self, index: int = 0) -> None:
        self.context = open_gpu(index)
        self.facts = self.context.facts
        self.index = index
        if not torch.cuda.is_available():
            built_for = torch.version.cuda or "no CUDA at all"
            raise RuntimeError(f"torch {torch.__version__}, built for {built_for}, cannot use {self.facts.name}")
        self.device = torch.device("cuda", index)
        self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._entered: list[Any] = []

    def __enter__(self) -> Gpu:
        for scope in (torch.cuda.device(self.device), torch.cuda.stream(self.stream), torch.inference_mode()):
            scope.__enter__()
            self._entered.append(scope)
        self._heat()
        return self

    def __exit__(self, *why: Any) -> None:
        while self._entered:
            self._entered.pop().__exit__(*why)

    def _heat(self) -> None:
        """An idle GPU clocks down, and takes a while to come back: what is timed first would be slower."""
        draw = torch.randn(HEAT_SIZE, HEAT_SIZE, device=self.device, dtype=torch.float16)
        result = torch.empty_like(draw)
        end_s = time.monotonic() + HEAT_S
        while time.monotonic() < end_s:
            for _ in range(20):
                torch.matmul(draw, draw, out=result)
            self.stream.synchronize()

    def capture(self, work: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """`work` as an executable graph, run before so that nothing is loaded or allocated while it is captured."""
        for _ in range(3):
            work()
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        graph.instantiate()
        return graph

    def graph_target(self, graph: torch.cuda.CUDAGraph, keep: object = None) -> _core.StreamTarget:
        """The product's target of a captured graph, which it launches itself."""
        return timers.cuda_graph(graph.raw_cuda_graph_exec(), self.stream, device=self.index, keep=(graph, keep))

    def eager_target(self, work: Callable[[], object]) -> _core.StreamTarget:
        """The product's target of a callable that queues on the stream that is current in the ``with`` block."""
        return timers.on_stream(work, self.stream, device=self.index)


def take(target: _core.Target, calls: int, mode: str = "latency") -> _core.Samples:
    """So many samples, or what half a minute gave, after a few calls that are thrown away."""
    _core.run_batched(target, WARM_CALLS)
    plan = _core.StopPlan(
        min_samples=calls, max_samples=calls, min_duration_ns=0, max_duration_ns=MOST_NS, relative_half_width=1e-9
    )
    samples = _core.Samples()
    _core.measure(target, plan, samples, mode=mode)
    return samples


def column_us(samples: _core.Samples, quantity: str) -> list[float]:
    """A quantity of every sample, in microseconds."""
    return [ns / 1e3 for ns in samples.column(quantity).tolist()]
