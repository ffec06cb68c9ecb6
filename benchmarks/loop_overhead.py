# SPDX-License-Identifier: Apache-2.0
"""What the measuring loop costs: a no-op through it against two bare steady_clock reads in a C++ program.

Then two proofs about the inside of the loop: a preloaded counter sees as many allocations in a batch of 1,000,000
calls as in one of 1,000, and a batch goes on while another thread sits on the GIL. Each has a control in which a
Python callable is run instead, to show that the proof can fail.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import threading
import time

from common import Claim, Ratios, Report, alternate, child, compiled, parser, run_json

from pyperf_infer import _core

CALLS = 500_000
PASSES = 7
ROUNDS = 15
GIL_CALLS = 10_000_000
GIL_HELD_US = 200_000


def samples_with_room(calls: int) -> _core.Samples:
    """Samples that take `calls` more without growing, every page of it written: room doubles when it runs out."""
    samples = _core.Samples()
    noop = _core.NoopTarget()
    _core.run_batch(noop, samples, calls + 1)
    _core.run_batch(noop, samples, 1)
    return samples


def child_cost() -> None:
    target = _core.NoopTarget()
    samples = samples_with_room(PASSES * CALLS)
    costs = []
    for _ in range(PASSES):
        begin_ns = time.perf_counter_ns()
        _core.run_batch(target, samples, CALLS)
        costs.append((time.perf_counter_ns() - begin_ns) / CALLS)
    print(json.dumps({"per_call_ns": statistics.median(costs)}))


def child_allocations() -> None:
    """Run under LD_PRELOAD of the counter."""
    count = ctypes.CDLL(None).allocation_count
    count.restype = ctypes.c_longlong

    def allocations(target: _core.Target, calls: int) -> int:
        samples = samples_with_room(calls)
        before = count()
        _core.run_batch(target, samples, calls)
        return int(count() - before)

    noop, allocating = _core.NoopTarget(), _core.CallableTarget(lambda: bytearray(64))
    found = {
        "noop_1000": allocations(noop, 1_000),
        "noop_1000000": allocations(noop, 1_000_000),
        "control_1000": allocations(allocating, 1_000),
    }
    print(json.dumps(found))


def cpu_share_while_gil_is_held(target: _core.Target) -> float:
    """CPU time of a thread that runs a batch, over the time that another thread keeps the GIL to itself."""
    usleep = ctypes.PyDLL(None).usleep  # PyDLL, unlike CDLL, does not let go of the GIL
    samples = samples_with_room(GIL_CALLS)
    batch = threading.Thread(target=_core.run_batch, args=(target, samples, GIL_CALLS))
    batch.start()
    clock = time.pthread_getcpuclockid(batch.ident or 0)
    while time.clock_gettime_ns(clock) < 20_000_000:  # well inside the loop
        time.sleep(0.001)
    before_ns, begin_ns = time.clock_gettime_ns(clock), time.perf_counter_ns()
    usleep(GIL_HELD_US)
    share = (time.clock_gettime_ns(clock) - before_ns) / (time.perf_counter_ns() - begin_ns)
    if not batch.is_alive():
        raise RuntimeError(f"the batch of {GIL_CALLS} calls was over before the GIL was given back; raise GIL_CALLS")
    batch.join()
    return share


def compare_cost(report: Report) -> None:
    with compiled("bare_loop.cpp") as program:
        bare = [str(program), str(CALLS), str(PASSES)]

        def cost(command: list[str]) -> float:
            return run_json(command)["per_call_ns"]

        sides = [lambda: cost(child("loop_overhead.py", "cost")), lambda: cost(bare), lambda: cost(bare)]
        rounds = alternate(sides, ROUNDS)
    ours_ns, bare_ns, _ = (statistics.median(column) for column in zip(*rounds, strict=True))
    ours = Ratios.of([(ours, bare) for ours, bare, _ in rounds])
    itself = Ratios.of([(again, bare) for _, bare, again in rounds])
    report.say(f"{ROUNDS} rounds of alternating processes, {PASSES} passes of {CALLS} calls each")
    report.say(f"a no-op through the loop: {ours_ns:.1f} ns a call; two bare clock reads: {bare_ns:.1f} ns")
    report.say(f"the C++ program against itself: {itself}")
    report.claim(Claim("no-op through the loop / two bare clock reads", ours.median, 1.25, spread=ours.quartiles))


def prove_no_allocation(report: Report) -> None:
    with compiled("allocation_counter.cpp", "-shared", "-fPIC") as library:
        environment = {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}
        found = run_json(child("loop_overhead.py", "allocations"), environment)
    report.say(
        f"allocations in a batch of the no-op: {found['noop_1000']} in 1,000 calls, {found['noop_1000000']} in "
        f"1,000,000; control, 1,000 calls of a callable that makes an object: {found['control_1000']}"
    )
    extra = found["noop_1000000"] - found["noop_1000"]
    report.claim(Claim("allocations that 999,000 more calls add", extra, 0, unit="allocations"))
    control = found["control_1000"]
    report.claim(Claim("allocations counted in the control", control, 1000, at_most=False, unit="allocations"))


def prove_no_python(report: Report) -> None:
    sys.setswitchinterval(0.0005)  # so that little of the control's time before and after the sleep is counted
    share = cpu_share_while_gil_is_held(_core.NoopTarget())
    control = cpu_share_while_gil_is_held(_core.CallableTarget(lambda: None))
    held_ms = GIL_HELD_US // 1000
    report.say(f"another thread keeps the GIL for {held_ms} ms while a batch runs: CPU share of the batch meanwhile")
    report.claim(Claim("share, no-op", share, 0.3, at_most=False, unit="of a CPU"))
    report.claim(Claim("share, control (a Python callable)", control, 0.1, unit="of a CPU"))


def main() -> int:
    arguments = parser(__doc__).parse_args()
    if arguments.child:
        {"cost": child_cost, "allocations": child_allocations}[arguments.child[0]]()
        return 0
    report = Report("loop_overhead")
    compare_cost(report)
    prove_no_allocation(report)
    prove_no_python(report)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
