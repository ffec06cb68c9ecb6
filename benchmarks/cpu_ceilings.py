# SPDX-License-Identifier: Apache-2.0
"""The processor's ceilings against likwid-bench: float32 multiply-adds, and the STREAM triad from memory.

    python benchmarks/cpu_ceilings.py [--record] [--threads N] [--rounds N]

Needs likwid-bench (Debian: likwid). Both sides in turn, on the same processors, with as many threads, over working sets
of the same size, with the same instructions; huge pages on both sides. Of the triad likwid-bench has one with AVX-512
and one with AVX2, and the faster of the two counts. likwid-bench counts as this project does: two
operations a multiply-add, and of the triad what is read and written, 24 bytes an element.

likwid-bench gives the rate over a second. What stands against it is the median of our short runs and not the highest,
which is the ceiling. A pair during which other programs took more than 5% of these cores is measured again, in all as
many as there are rounds at the most; each waits for cores that are free for a second, five minutes in all.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from common import Claim, Report

from pyperf_infer import _core
from pyperf_infer.roofline.ceilings.cpu import Effort
from pyperf_infer.roofline.ceilings.levels import MEMORY, caches_of, plan
from pyperf_infer.roofline.ceilings.microarchitectures import identify, read_identity
from pyperf_infer.roofline.ceilings.quiet import MOST_OTHER_LOAD, Quiet
from pyperf_infer.system.cpu import cores
from pyperf_infer.system.memory import available_memory_bytes

ROUNDS = 10
MOST_COMPUTE, MOST_TRIAD, MOST_SPREAD, LEAST_OF_THEORY = 0.05, 0.10, 0.03, 0.90
PEAK = {"avx512 fma": "peakflops_sp_avx512_fma", "avx2 fma": "peakflops_sp_avx_fma"}
# Which of likwid's own is the faster differs from one processor to the next.
TRIADS = {"avx512": ("stream_mem_avx512", "stream_mem_avx_fma"), "avx2": ("stream_mem_avx_fma",)}
PEAK_BYTES = 16_000  # of a thread, in L1: likwid's kernel loads a vector for every 15 multiply-adds
SECONDS = 1
PATIENCE_S = 300


class Ceiling(NamedTuple):
    highest: float
    median: float
    clock_hz: float = 0.0


class Sides:
    """What is measured in turn. The first two are operations a second, the others bytes a second."""

    def __init__(self, threads: int) -> None:
        self.threads, self.cpus, self.effort = threads, cores()[:threads], Effort()
        self.team = _core.CeilingThreads(self.cpus)
        self.instructions = next(name for kind, name in _core.ceiling_kernels() if kind == "float32")
        chosen = plan(caches_of(self.cpus, None), threads, available_memory_bytes())
        self.bytes_a_thread = next(one.bytes_a_thread for one in chosen.working_sets if one.level == MEMORY)
        self.compute: list[Ceiling] = []
        self.triad: list[Ceiling] = []
        self._patience_s = PATIENCE_S

    def wait(self, quiet: Quiet) -> None:
        """Until nothing else runs on these cores, or patience is at its end."""
        while self._patience_s > 0:
            _, load = quiet.load_of(self.cpus, lambda: time.sleep(1))
            if load is None or load <= MOST_OTHER_LOAD:
                return
            self._patience_s -= 1

    def our_compute(self) -> float:
        runs = self.team.compute("float32", self.instructions, self.effort.window_ns, self.effort.compute_runs)
        rates = [flops_per_s for flops_per_s, _ in runs]
        self.compute.append(Ceiling(max(rates), statistics.median(rates), max(hz for _, hz in runs)))
        return self.compute[-1].median

    def our_triad(self) -> float:
        self.team.allocate(self.bytes_a_thread)
        rates = self.team.stream("triad", self.bytes_a_thread, True, self.effort.window_ns, self.effort.stream_runs)
        self.team.allocate(0)  # likwid's has to fit beside it
        self.triad.append(Ceiling(max(rates), statistics.median(rates)))
        return self.triad[-1].median

    def likwid_compute(self) -> float:
        test = PEAK.get(self.instructions)
        return self._likwid(test, PEAK_BYTES * self.threads, "MFlops/s")

    def likwid_triad(self) -> float:
        tests = TRIADS.get(_core.stream_instructions(), (None,))
        return max(self._likwid(test, self.bytes_a_thread * self.threads, "MByte/s") for test in tests)

    def _likwid(self, test: str | None, size: int, figure: str) -> float:
        if test is None:
            raise SystemExit("likwid-bench has no test by the instructions that were measured here")
        # Threads go to the first hardware thread of each core; -W has each write to its own part of the memory first.
        workgroup = f"S0:{size // 1000}kB:{self.threads}"
        command = ["likwid-bench", "-t", test, "-s", str(SECONDS), "-W", workgroup]
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # madvise, as on our side
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        found = re.search(rf"^{re.escape(figure)}:\s+([0-9.]+)", done.stdout, re.MULTILINE)
        if found is None:
            raise SystemExit(f"{' '.join(command)} gave no {figure}: {done.stderr or done.stdout}")
        return float(found[1]) * 1e6


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def in_turn(
    report: Report, sides: Sides, rounds: int, what: str, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[list[Ceiling], float]:
    """Our ceilings of the rounds that counted, and the ratio of the medians; each round is said."""
    kept = sides.compute if ours == sides.our_compute else sides.triad
    pairs: list[tuple[float, float]] = []
    ceilings: list[Ceiling] = []
    quiet = Quiet()
    for attempt in range(2 * rounds):
        sides.wait(quiet)
        backwards = attempt % 2 == 1  # neither side is always first
        both = [theirs, ours] if backwards else [ours, theirs]
        values, load = quiet.load_of(sides.cpus, lambda both=both: [side() for side in both])  # type: ignore[misc]
        our, their = values[::-1] if backwards else values
        busy = load is not None and load > MOST_OTHER_LOAD
        report.say(
            f"  {what} {len(pairs) + 1:2}: ours {our / 1e9:8.2f} G/s (highest {kept[-1].highest / 1e9:8.2f}), "
            f"likwid-bench {their / 1e9:8.2f} G/s, other load {'unknown' if load is None else f'{load:.1%}'}"
            f"{': does not count' * busy}"
        )
        if not busy:
            pairs.append((our, their))
            ceilings.append(kept[-1])
        if len(pairs) == rounds:
            break
    if len(pairs) < rounds:
        raise SystemExit(f"the machine is too busy: {len(pairs)} of {rounds} rounds of {what.strip()} counted")
    ratio = statistics.median(our for our, _ in pairs) / statistics.median(their for _, their in pairs)
    report.say(f"  {what}: spread of likwid-bench's {spread([their for _, their in pairs]):.1%}")
    return ceilings, ratio


def judge(report: Report, sides: Sides, rounds: int) -> None:
    compute, ratio = in_turn(report, sides, rounds, "float32", sides.our_compute, sides.likwid_compute)
    report.claim(Claim("float32, ratio of medians to likwid-bench's, off by", abs(ratio - 1), MOST_COMPUTE, unit=""))
    report.say(f"the ratio is {ratio:.4f}")
    triad, ratio = in_turn(report, sides, rounds, "triad  ", sides.our_triad, sides.likwid_triad)
    report.claim(Claim("triad, ratio of medians to likwid-bench's, off by", abs(ratio - 1), MOST_TRIAD, unit=""))
    report.say(f"the ratio is {ratio:.4f}")
    highest = [one.highest for one in compute]
    report.claim(Claim(f"spread of our {rounds} float32 ceilings", spread(highest), MOST_SPREAD, unit=""))
    report.say(f"the same over the clock of each: {spread([one.highest / one.clock_hz for one in compute]):.1%}")
    report.say(f"spread of our {rounds} triad ceilings: {spread([one.highest for one in triad]):.1%}")
    kind = identify(read_identity())
    flops_per_cycle = kind.flops_per_cycle("float32", sides.instructions)
    report.say(f"{kind.name or 'unknown'}: {kind.source}")
    if flops_per_cycle is None:
        report.say("no share of theory: what this processor does in a cycle is not known")
        return
    shares = [one.highest / (sides.threads * flops_per_cycle * one.clock_hz) for one in compute]
    report.say("clock under load, GHz: " + " ".join(f"{one.clock_hz / 1e9:.3f}" for one in compute))
    report.claim(Claim("float32 of theory, median", statistics.median(shares), LEAST_OF_THEORY, at_most=False, unit=""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the figures to benchmarks/results/, dated")
    parser.add_argument("--threads", type=int, default=len(cores()), help="of both sides; default: one a core")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    if shutil.which("likwid-bench") is None:
        print("likwid-bench is not there; Debian and Ubuntu have it in the package likwid", file=sys.stderr)
        return 2
    report = Report("cpu_ceilings")
    sides = Sides(arguments.threads)
    report.say(
        f"{sides.threads} threads on processors {sides.cpus}; {sides.instructions}; triad over "
        f"{sides.bytes_a_thread * sides.threads / 1e6:,.0f} MB"
    )
    judge(report, sides, arguments.rounds)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
