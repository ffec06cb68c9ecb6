# SPDX-License-Identifier: Apache-2.0
"""How often `pyperf-infer compare` calls two stored results of the same model different: 30 pairs of `pyperf-infer run
--processes 5`, each result used once, all through the command line.

The model is a small one that this script writes, about 1 ms on a CPU. The floor that a self-test may have left on the
machine plays no part: the five processes a side alone have to tell how far processes lie apart. Beside the verdicts
stands what the same files would say without the processes: the first process of each side alone, by the interval that
its iterations give.

Pairs are kept in --folder as they are done: broken off (--minutes, Ctrl-C), the run goes on when it is started again.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import Claim, Report, parser
from resumable import Trials, here_and_now

PAIRS, PROCESSES = 30, 5
MOST_DIFFERENT = 2
MARGIN = 0.01  # the product's default, for the contrast
DIFFERENT = ("faster", "slower")
ROWS, WIDTH, LAYERS = 96, 512, 6  # of the model: about 1 ms of matrix products
RUN = ["--backend", "onnxruntime", "--max-duration", "2", "--warmup-ms", "1000"]


def write_model(path: Path) -> None:
    """Layers of Gemm and Relu with random weights, the same bytes every time."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(42)
    names = [f"x{number}" for number in range(2 * LAYERS + 1)]
    steps = list(pairwise(names))
    nodes, weights = [], []
    for number, (product, relu) in enumerate(zip(steps[::2], steps[1::2], strict=True)):
        weight = random.normal(0, (2 / WIDTH) ** 0.5, (WIDTH, WIDTH)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("Gemm", [product[0], f"w{number}"], [product[1]]))
        nodes.append(helper.make_node("Relu", [relu[0]], [relu[1]]))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, WIDTH]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "layers", sides[:1], sides[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def command(*arguments: str, state: Path, allowed: Sequence[int] = (0,)) -> float:
    """Runs `pyperf-infer`; gives its wall time in seconds. `state` is where it looks for a floor: an empty folder."""
    whole = [str(Path(sys.executable).with_name("pyperf-infer")), *arguments]
    environment = {**os.environ, "PYPERF_INFER_STATE_DIR": str(state)}
    begin_ns = time.perf_counter_ns()
    done = subprocess.run(
        whole, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    wall_s = (time.perf_counter_ns() - begin_ns) / 1e9
    if done.returncode not in allowed:
        raise SystemExit(f"{' '.join(whole)} ended with {done.returncode}:\n{done.stdout}")
    return wall_s


def run_pair(number: int, options: Sequence[str], folder: Path, state: Path) -> dict[str, Any]:
    """Two results, one after the other, and what `compare` says of them."""
    from pyperf_infer.results.files import read_document

    sides = [folder / f"pair-{number:02}-{side}.json" for side in "ab"]
    walls_s, medians_ms, intervals_ms = [], [], []
    for side in sides:
        side.unlink(missing_ok=True)
        walls_s.append(command("run", str(folder / "model.onnx"), *options, "--results-file", str(side), state=state))
        (result,) = read_document(side).results
        if result.processes is None:
            raise SystemExit(f"{side} has nothing of its processes")
        medians_ms.append([run.p50_ms for run in result.processes.runs])
        intervals_ms.append(result.processes.runs[0].p50_interval_ms)
    compared = folder / "compared.json"
    compared.unlink(missing_ok=True)
    command("compare", *map(str, sides), "--results-file", str(compared), state=state)
    ((row,),) = [one.rows for one in read_document(compared).stored]
    return {
        "pair": number,
        "verdict": row.verdict,
        "ratio": row.ratio,
        "interval": row.interval,
        "reason": row.reason,
        "medians_ms": medians_ms,
        "first_intervals_ms": intervals_ms,
        "walls_s": walls_s,
    }


def by_iterations(intervals_ms: Sequence[tuple[float, float] | None], margin: float) -> bool:
    """Whether two single processes would be called different by the intervals of their iterations alone."""
    first, second = intervals_ms
    if first is None or second is None:
        return False
    return first[0] / second[1] > 1 + margin or first[1] / second[0] < 1 / (1 + margin)


def show(report: Report, options: Sequence[str], pairs: Sequence[dict[str, Any]]) -> None:
    walls_s = [wall for pair in pairs for wall in pair["walls_s"]]
    report.say(
        f"{len(pairs)} pairs: pyperf-infer run model.onnx {' '.join(options)}; "
        f"{statistics.median(walls_s):.1f} s a result, {statistics.median(walls_s) / PROCESSES:.1f} s a process"
    )
    sides = [side for pair in pairs for side in pair["medians_ms"]]
    spreads = [statistics.stdev(map(math.log, side)) for side in sides]
    low, middle, high = statistics.quantiles(spreads, n=4, method="inclusive")
    report.say(f"p50 of all processes: median {statistics.median(one for side in sides for one in side):.4f} ms")
    report.say(
        f"standard deviation between the processes of a result: median {middle:.2%} (quartiles {low:.2%} to {high:.2%})"
    )
    ratios = [pair["ratio"] for pair in pairs]
    report.say(f"ratios: median {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}")
    halves = [math.sqrt(pair["interval"][1] / pair["interval"][0]) - 1 for pair in pairs if pair["interval"]]
    if halves:
        report.say(f"half-width of the ratio's interval: median {statistics.median(halves):.2%}")
    counts = Counter(pair["verdict"] for pair in pairs)
    report.say("verdicts: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    for margin, words in ((0.0, "do not overlap"), (MARGIN, f"lie apart by more than {MARGIN:.0%}")):
        different = sum(by_iterations(pair["first_intervals_ms"], margin) for pair in pairs)
        report.say(f"one process a side, intervals of its iterations: {different} of {len(pairs)} {words}")
    different = sum(counts[verdict] for verdict in DIFFERENT)
    report.claim(Claim("identical pairs called different", different, MOST_DIFFERENT, unit=f"of {len(pairs)}"))


def run_pairs(trials: Trials, options: Sequence[str], folder: Path, pairs: int, minutes: float | None) -> bool:
    """Runs what is not done yet; whether all is done then."""
    until = None if minutes is None else time.monotonic() + 60 * minutes
    done = {pair["pair"] for pair in trials.done}
    write_model(folder / "model.onnx")
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-no-floor-") as state:
        for number in range(pairs):
            if number in done:
                continue
            if until is not None and time.monotonic() > until:
                return False
            trials.add(run_pair(number, options, folder, Path(state)))
            print(f"\r{number + 1}/{pairs} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return True


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=PAIRS, help=f"another number, for a quicker look ({PAIRS})")
    made.add_argument("--threads", type=int, help="of ONNX Runtime; as many as there are cores unless given")
    made.add_argument("--minutes", type=float, help="break off after so long; the next call goes on")
    made.add_argument("--fresh", action="store_true", help="forget the pairs that are done")
    made.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pyperf-infer-stored-aa")
    arguments = made.parse_args()
    if arguments.pairs < 1 or (arguments.record and arguments.pairs != PAIRS):
        made.error(f"--record is for {PAIRS} pairs; --pairs is at least 1")
    options = [*RUN, "--processes", str(PROCESSES)]
    if arguments.threads is not None:
        options += ["--threads", str(arguments.threads)]
    settings = {"run": options, **here_and_now()}
    trials = Trials(arguments.folder / "pairs.jsonl", settings, fresh=arguments.fresh)
    try:
        whole = run_pairs(trials, options, arguments.folder, arguments.pairs, arguments.minutes)
    except KeyboardInterrupt:
        whole = False
    report = Report("stored_aa")
    if not whole:
        print(f"broken off after {len(trials.done)} pairs; the same command goes on from {arguments.folder}")
        return 3
    show(report, options, sorted(trials.done, key=lambda pair: int(pair["pair"]))[: arguments.pairs])
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
