# SPDX-License-Identifier: Apache-2.0
"""Work on a GPU for tests in tests/gpu, made by torch. Importing it needs no GPU."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pyperf_infer import _core, timers

MILLISECOND_CLOCKS = 1_500_000  # some 1 ms on GPUs of 1 to 2 GHz


@contextmanager
def on_new_stream() -> Iterator[torch.cuda.Stream]:
    """A stream of torch's on GPU 0, which is current until the block ends, and empty then."""
    stream = torch.cuda.Stream(0)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream), torch.inference_mode():
        yield stream
        stream.synchronize()


def sleep(milliseconds: float) -> None:
    """Keeps the current stream busy for about that long; returns at once."""
    torch.cuda._sleep(round(milliseconds * MILLISECOND_CLOCKS))  # type: ignore[no-untyped-call]


def up_to_speed(seconds: float = 0.5) -> None:
    """An idle GPU clocks down, and takes a while to come back: for tests that compare one time with another."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        sleep(5)
        torch.cuda.current_stream().synchronize()


def capture(work: Callable[[], object], stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
    """`work` as an executable graph, whose memory the graph keeps."""
    for _ in range(3):
        work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    with torch.cuda.graph(graph, stream=stream):
        work()
    graph.instantiate()
    return graph


def graph_target(work: Callable[[], object], stream: torch.cuda.Stream, **plan: object) -> _core.StreamTarget:
    """The product's target of `work`, captured. `plan`: arguments of timers.cuda_graph."""
    graph = capture(work, stream)
    return timers.cuda_graph(graph.raw_cuda_graph_exec(), stream, keep=(graph, work), **plan)  # type: ignore[arg-type]


def take(target: _core.Target, calls: int = 50, mode: str = "latency") -> _core.Samples:
    """So many samples, whatever they scatter."""
    plan = _core.StopPlan(
        min_samples=calls,
        max_samples=calls,
        min_duration_ns=0,
        max_duration_ns=60_000_000_000,
        relative_half_width=1e-9,
    )
    samples = _core.Samples()
    _core.run_batched(target, 5)
    _core.measure(target, plan, samples, mode=mode)
    return samples


def median(samples: _core.Samples, quantity: str) -> float:
    """Of one quantity, in nanoseconds."""
    values = sorted(samples.column(quantity).tolist())
    return float(values[len(values) // 2])


def in_another_process(program: str, timeout_s: float = 120.0) -> str:
    """What a program prints, for what leaves the GPU of its process unusable. Its end is in the error when it fails."""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return done.stdout
