# SPDX-License-Identifier: Apache-2.0
"""Replays of a graph back to back: the period that the product measures in mode throughput, against the graph's own
time on the device: two events of torch's around 1000 replays, divided by 1000.

The graph is a chain of kernels that spin, 120 us in all, so that neither power nor temperature moves it. Both sides
hold what the device takes from one replay to the next; ours also records an event between two replays. The kernels
write out the device's clock, which gives the period a third time.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING, NamedTuple

import torch

from gpu.common import Row, median_of, quartiles, run_row
from gpu.device import Gpu, take
from gpu.figures import Figure, at_least, at_most, shown
from gpu.spin import Record, Spinner

if TYPE_CHECKING:
    from pyperf_infer import _core

BOUND_US = 1.0
LEAST_GRAPH_US = 100.0
KERNELS = 10
KERNEL_US = 12
REPLAYS = 1000
ROUNDS = 7


class Turn(NamedTuple):
    """One round, in microseconds."""

    period: float  # ours, p50
    events: float  # a replay between torch's events
    own_period: float  # from the begin of one replay to the begin of the next, by the device's clock, in our run


def own_periods_us(records: list[Record], kernels: int) -> list[float]:
    """From the first kernel of a replay to the first of the next."""
    begins = [record.begin_ns for record in records[::kernels]]
    return [(after - before) / 1e3 for before, after in itertools.pairwise(begins)]


def own_span_us(records: list[Record], kernels: int) -> list[float]:
    """From the begin of the first kernel of a replay to the end of its last."""
    replays = range(0, len(records) - kernels + 1, kernels)
    return [(records[first + kernels - 1].end_ns - records[first].begin_ns) / 1e3 for first in replays]


def judge(turns: list[Turn], spans_us: list[float]) -> list[Figure]:
    """The figures, from the rounds and the graph's own spans."""
    apart = [abs(turn.period - turn.events) for turn in turns]
    return [
        at_least("the graph's own time by the device's clock", median_of(spans_us), LEAST_GRAPH_US, "us"),
        at_most(
            "period of replays and torch's events around 1000 replays apart", median_of(apart), BOUND_US, "us",
            spread=quartiles(apart), spread_of="quartiles",
        ),
        shown("period, ours, p50", median_of([turn.period for turn in turns]), "us"),
        shown("a replay between torch's events", median_of([turn.events for turn in turns]), "us"),
        shown("period by the device's clock, in our runs", median_of([turn.own_period for turn in turns]), "us"),
    ]  # fmt: skip


def run(row: Row, options: argparse.Namespace) -> None:
    with Gpu(options.device) as gpu:
        spinner = Spinner(gpu)
        clocks = round(1000 * KERNEL_US * spinner.clocks_per_ns())
        graph = spinner.graph(*[clocks] * KERNELS)
        target = gpu.graph_target(graph, keep=spinner)
        turns = [_turn(gpu, spinner, graph, target) for _ in range(ROUNDS + 1)][1:]
        spans_us = own_span_us(spinner.records(), KERNELS)
    row.say(f"{KERNELS} kernels of {KERNEL_US} us a graph, {ROUNDS} rounds of {REPLAYS} replays a side")
    row.add(*judge(turns, spans_us))


def _turn(gpu: Gpu, spinner: Spinner, graph: torch.cuda.CUDAGraph, target: _core.StreamTarget) -> Turn:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record(gpu.stream)
    for _ in range(REPLAYS):
        graph.replay()
    end.record(gpu.stream)
    end.synchronize()
    spinner.forget()
    samples = take(target, REPLAYS, "throughput")
    own = own_periods_us(spinner.records(), KERNELS)
    return Turn(median_of(samples.ns.tolist()) / 1e3, 1e3 * begin.elapsed_time(end) / REPLAYS, median_of(own))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
