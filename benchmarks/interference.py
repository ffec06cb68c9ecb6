# SPDX-License-Identifier: Apache-2.0
"""Whether two runtimes that are compared in one process disturb each other: ResNet-18 on PyTorch and ONNX Runtime, two
threads each.

Alone is each in a process of its own, which sleeps while others run. Together is one process with both, in the blocks
in which the product compares them, and, for contrast, call by call. All of it in turn, round by round, in two orders,
so that a machine whose speed drifts does not decide; the ratio of each alone stands against itself.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from common import Claim, Ratios, Report, alternate, child, parser, too_noisy

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.backends.base import PreparedBackend

MODEL = "resnet18"
THREADS = 2
APART = 0.03
BACKENDS = ("torch", "onnxruntime")
ROUNDS = 12
SETTLE_CALLS = 5
LEAST_CALLS = 15
ALONE_S = 1.5  # of calls that count, in each round
BLOCKS_S = 6.0
CALL_BY_CALL_S = 2.0
REST_S = 0.3  # before each side: for the threads of the one before to fall asleep


def prepare(name: str) -> PreparedBackend:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.backends.registry import make_backend
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.inputs import make_inputs, resolve_shapes

    loaded = resolve(MODEL).load(seed=42)
    shapes = resolve_shapes(loaded.inputs, 1)
    backend = make_backend(name, BackendOptions(threads=THREADS))
    backend.convert(loaded, shapes)
    return backend.prepare(loaded, make_inputs(loaded.inputs, shapes, seed=42))


def block_ns(target: _core.Target, seconds: float) -> float:
    """The median of calls one after the other, the first few left out."""
    from pyperf_infer import _core

    _core.run_batch(target, _core.Samples(), SETTLE_CALLS)
    samples = _core.Samples()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(samples.ns) < LEAST_CALLS:
        _core.run_batch(target, samples, 1)
    return float(statistics.median(samples.ns.tolist()))


def child_alone(name: str) -> None:
    """A block for every line on standard input."""
    prepared = prepare(name)
    with prepared.measuring():
        for _ in sys.stdin:
            print(block_ns(prepared.target, ALONE_S), flush=True)


@contextmanager
def alone(name: str) -> Iterator[Callable[[], float]]:
    """A process with one backend; calling gives the median of a block there, in nanoseconds."""
    with subprocess.Popen(
        child("interference.py", name), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as at:
        assert at.stdin is not None
        assert at.stdout is not None
        requests, answers = at.stdin, at.stdout

        def block() -> float:
            time.sleep(REST_S)
            print("block", file=requests, flush=True)
            answer = answers.readline()
            if not answer:
                raise SystemExit(f"the process of {name} has ended")
            return float(answer)

        try:
            yield block
        finally:
            requests.close()


def in_blocks(prepared: tuple[PreparedBackend, ...], seed: int) -> float:
    """The ratio of the first to the second, as the product interleaves them."""
    from pyperf_infer.timing.comparison import interleave

    time.sleep(REST_S)
    rounds = interleave(prepared, max_duration=BLOCKS_S, ci=1e-6, seed=seed)  # for all of that time
    first, second = rounds.medians_ns
    if not first:
        raise SystemExit(f"no round of blocks was complete in {BLOCKS_S:g} s: this machine is too busy")
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def call_by_call(prepared: tuple[PreparedBackend, ...]) -> float:
    """The ratio of the first to the second, alternated at every call."""
    from pyperf_infer import _core

    time.sleep(REST_S)
    targets = [one.target for one in prepared]
    until = time.perf_counter() + CALL_BY_CALL_S
    kept = [_core.Samples() for _ in targets]
    while time.perf_counter() < until or len(kept[0].ns) < LEAST_CALLS:
        for target, samples in zip(targets, kept, strict=True):
            _core.run_batch(target, samples, 1)
    first, second = (statistics.median(samples.ns.tolist()[SETTLE_CALLS:]) for samples in kept)
    return float(first / second)


def main() -> int:
    arguments = parser(__doc__).parse_args()
    if arguments.child:
        child_alone(arguments.child[0])
        return 0
    report = Report("interference")
    seeds = iter(range(42, 42 + 2 * ROUNDS))
    with ExitStack() as held:
        processes = [held.enter_context(alone(name)) for name in BACKENDS]
        for process in processes:
            process()  # loads, and is not counted
        both = tuple(prepare(name) for name in BACKENDS)
        for one in both:
            held.enter_context(one.measuring())
        sides = [*processes, lambda: in_blocks(both, next(seeds)), *processes, lambda: call_by_call(both)]
        alternate(sides[2:3], 1)  # the first comparison meets what is done once
        rounds = alternate(sides, ROUNDS)
    torch_ms, onnx_ms = (statistics.median(column) / 1e6 for column in list(zip(*rounds, strict=True))[:2])
    report.say(f"{MODEL}, batch 1, {THREADS} threads each, {ROUNDS} rounds. p50 of each alone: {BACKENDS[0]}")
    report.say(f"{torch_ms:.2f} ms, {BACKENDS[1]} {onnx_ms:.2f} ms")
    by_themselves = [(one[0] / one[1], one[3] / one[4]) for one in rounds]
    report.say(f"ratio of each alone: {statistics.median(ratio for pair in by_themselves for ratio in pair):.3f}")
    report.say(f"ratio in interleaved blocks: {statistics.median(one[2] for one in rounds):.3f}")
    report.say(f"ratio call by call: {statistics.median(one[5] for one in rounds):.3f}")
    itself = Ratios.of([(again, once) for once, again in by_themselves])
    report.say(f"alone / alone: {itself}")
    if (noise := too_noisy(itself, APART)) is not None:
        report.say(noise)
    around = [statistics.geometric_mean(pair) for pair in by_themselves]  # of what ran before and after the blocks
    contrast = Ratios.of([(one[5], ratio) for one, ratio in zip(rounds, around, strict=True)])
    report.say(f"call by call / alone: {contrast}")
    blocks = Ratios.of([(one[2], ratio) for one, ratio in zip(rounds, around, strict=True)])
    report.say(f"interleaved blocks / alone: {blocks}")
    report.claim(
        Claim("interleaved ratio and ratio of each alone apart", abs(blocks.median - 1) * 100, APART * 100, unit="%")
    )
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
