# SPDX-License-Identifier: Apache-2.0
"""What a sample costs the host beyond the launch: a graph of one kernel that does nothing, through the product's loop
and by a C++ program written by hand (native/graph_launch_loop.cpp), on the same stream of the same process, in turn.

The launch itself is the C++ program launching the graph in a row, so that nothing but the launch is between its two
clock reads. The same sample by hand records the same two events and waits in the same way; what those records cost
stands beside, since they are the loop's own extra.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from common import alternate, compiled

from gpu.common import Row, median_of, quartiles, run_row
from gpu.figures import Figure, at_most, shown
from gpu.spin import Spinner
from pyperf_infer import _core

LIBRARY = "libcuda.so.1"
BOUND_US = 0.5
LAUNCHES = 20  # in a row: few, so that the queue never fills
SAMPLES = 1000
ROUNDS = 15
_NS = ctypes.c_int64


class HandLoop:
    """The C++ program, on one graph and one stream."""

    def __init__(self, library: ctypes.CDLL, driver: str, ordinal: int, graph: int, stream: int) -> None:
        self._library, self._ordinal = library, ordinal
        self._graph, self._stream = ctypes.c_void_p(graph), ctypes.c_void_p(stream)
        _check(library.open_driver(driver.encode()), "open_driver")

    @classmethod
    @contextmanager
    def compiled(cls, driver: str, ordinal: int, graph: int, stream: int) -> Iterator[HandLoop]:
        with compiled("graph_launch_loop.cpp", "-shared", "-fPIC") as path:
            yield cls(ctypes.CDLL(str(path)), driver, ordinal, graph, stream)

    def launch_ns(self) -> float:
        """Of one launch among LAUNCHES in a row, the median of as many repeats as take SAMPLES launches."""
        return median_of([self._launches_ns() / LAUNCHES for _ in range(SAMPLES // LAUNCHES)])

    def record_ns(self) -> float:
        """Of one event record among LAUNCHES in a row."""
        return median_of([self._records_ns() / LAUNCHES for _ in range(SAMPLES // LAUNCHES)])

    def samples(self) -> Sample:
        """The product's sample, by hand, SAMPLES times."""
        submit, latency, elapsed = (_NS * SAMPLES)(), (_NS * SAMPLES)(), _NS()
        result = self._library.samples(
            self._ordinal, self._graph, self._stream, _NS(SAMPLES), submit, latency, ctypes.byref(elapsed)
        )
        _check(result, "samples")
        return Sample(median_of(list(submit)), median_of(list(latency)), elapsed.value / SAMPLES)

    def _launches_ns(self) -> int:
        elapsed = _NS()
        result = self._library.launches(self._ordinal, self._graph, self._stream, _NS(LAUNCHES), ctypes.byref(elapsed))
        _check(result, "launches")
        return elapsed.value

    def _records_ns(self) -> int:
        elapsed = _NS()
        result = self._library.event_records(self._ordinal, self._stream, _NS(LAUNCHES), ctypes.byref(elapsed))
        _check(result, "event_records")
        return elapsed.value


class Sample(NamedTuple):
    """Medians of submit and latency, and the wall time of a sample from one to the next, in nanoseconds."""

    submit_ns: float
    latency_ns: float
    wall_ns: float


class Round(NamedTuple):
    """One turn of every side."""

    ours: Sample
    hand: Sample
    launch_ns: float
    record_ns: float


def our_samples(target: _core.Target) -> Sample:
    """SAMPLES samples through the product's loop, with what Python takes to call it once."""
    samples = _core.Samples()
    begin_ns = time.perf_counter_ns()
    _core.run_batch(target, samples, SAMPLES)
    wall_ns = (time.perf_counter_ns() - begin_ns) / SAMPLES
    return Sample(median_of(samples.column("submit").tolist()), median_of(samples.column("latency").tolist()), wall_ns)


def take_rounds(target: _core.Target, hand: HandLoop, rounds: int) -> list[Round]:
    """Every side once a round, after a turn of each that does not count."""
    sides = [lambda: our_samples(target), hand.samples, hand.launch_ns, hand.record_ns]
    turns: list[Any] = cast("Any", alternate)(sides, rounds + 1)  # sides that give floats are its rule
    return [Round(*turn) for turn in turns[1:]]


def judge(rounds: list[Round]) -> list[Figure]:
    """The differences of neighbours, in microseconds."""
    beyond = [(one.ours.submit_ns - one.launch_ns) / 1e3 for one in rounds]
    extra = [(one.ours.wall_ns - one.hand.wall_ns) / 1e3 for one in rounds]

    def us(name: str, values_ns: list[float], reason: str = "") -> Figure:
        values = [ns / 1e3 for ns in values_ns]
        return shown(name, median_of(values), "us", spread=quartiles(values), spread_of="quartiles", reason=reason)

    quarters = "quartiles"
    return [
        at_most(
            "submit p50 - the launch itself", median_of(beyond), BOUND_US, "us",
            spread=quartiles(beyond), spread_of=quarters,
        ),
        at_most(
            "wall time of a sample - of the same sample by hand", median_of(extra), BOUND_US, "us",
            spread=quartiles(extra), spread_of=quarters,
        ),
        us("the launch itself, in a row", [one.launch_ns for one in rounds]),
        us("submit p50, ours", [one.ours.submit_ns for one in rounds], "one launch, on an empty stream"),
        us("submit p50, by hand", [one.hand.submit_ns for one in rounds]),
        us("latency p50, ours", [one.ours.latency_ns for one in rounds]),
        us("latency p50, by hand", [one.hand.latency_ns for one in rounds]),
        us("wall time of a sample, ours", [one.ours.wall_ns for one in rounds]),
        us("wall time of a sample, by hand", [one.hand.wall_ns for one in rounds]),
        us("one event record, the loop's own extra", [one.record_ns for one in rounds], "two of them a sample"),
    ]  # fmt: skip


def _check(result: int, what: str) -> None:
    if result != 0:
        raise RuntimeError(f"{what} of the hand-written loop gives CUresult {result}")


def run(row: Row, options: argparse.Namespace) -> None:
    from gpu.device import Gpu, take

    with Gpu(options.device) as gpu:
        spinner = Spinner(gpu)
        graph = spinner.graph(0)
        target = gpu.graph_target(graph, keep=spinner)
        take(target, SAMPLES)
        handles = graph.raw_cuda_graph_exec(), gpu.stream.cuda_stream
        with HandLoop.compiled(LIBRARY, options.device, *handles) as hand:
            rounds = take_rounds(target, hand, ROUNDS)
    row.say(f"{ROUNDS} rounds; each side takes {SAMPLES} samples or launches a round, in an order that turns around")
    row.add(*judge(rounds))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
