# SPDX-License-Identifier: Apache-2.0
"""Identical work compared with itself: how often it is called different, and how often nothing is said. Half of the
comparisons are of a graph, half of eager calls; both targets of a comparison launch the same graph, or call the same
function.

In 0.5 s timers.compare has room for short blocks alone, and may leave more undecided; so it also runs with the time
that it takes. The bound holds for both.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence

from gpu.common import Row, run_row
from gpu.device import Gpu
from gpu.figures import Figure, at_most, shown
from gpu.work import products
from pyperf_infer import _core, timers

BOUND_PERCENT = 5.0
SHORT_S, SHORT, SHORT_CORE = 0.5, 200, 60
LONG_S, LONG, LONG_CORE = 4.0, 25, 8
DIFFERENT = ("faster", "slower")

Pair = tuple[_core.Target, _core.Target]
Compare = Callable[[Pair, int], str]


def by_compare(seconds: float) -> Compare:
    """As a user compares."""
    return lambda pair, seed: str(timers.compare(*pair, max_duration=seconds, seed=seed).verdict)


def verdicts_of(pairs: Sequence[Callable[[], Pair]], count: int, compare: Compare) -> list[str]:
    """`count` comparisons, the kinds of pairs in turn, each with a seed of its own."""
    return [compare(pairs[number % len(pairs)](), number) for number in range(count)]


def judge(verdicts: Sequence[str], how: str) -> list[Figure]:
    """The share called different against its bound, and the share undecided."""
    counts = Counter(verdicts)
    different = sum(counts[verdict] for verdict in DIFFERENT)
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    name = f"{len(verdicts)} comparisons {how}"
    return [
        at_most(f"{name}: called different", 100 * different / len(verdicts), BOUND_PERCENT, "%", reason=text),
        shown(f"{name}: undecided", 100 * counts["undecided"] / len(verdicts), "%"),
    ]


def run(row: Row, options: argparse.Namespace) -> None:
    groups: list[tuple[int, str, Compare]] = [
        (SHORT_CORE if options.core else SHORT, f"of {SHORT_S:g} s", by_compare(SHORT_S)),
        (LONG_CORE if options.core else LONG, f"of {LONG_S:g} s", by_compare(LONG_S)),
    ]
    with Gpu(options.device) as gpu:
        work = products(gpu)
        graph = gpu.capture(work)

        def graphs() -> Pair:
            return gpu.graph_target(graph, keep=work), gpu.graph_target(graph, keep=work)

        def calls() -> Pair:
            return gpu.eager_target(work), gpu.eager_target(work)

        for count, how, compare in groups:
            row.add(*judge(verdicts_of([graphs, calls], count, compare), how))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
