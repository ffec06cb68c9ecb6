# SPDX-License-Identifier: Apache-2.0
"""The main job, `pyperf-infer run resnet50`: where its wall time goes, and whether its p50 is that of a plain loop.

The command runs twice as a user would run it, with results in a file; the first run fills the export cache and the
page cache, the second counts. What its phases leave of the whole process, interpreter start and exit included, is
unaccounted for. Then, in one process and for each backend, blocks of the native loop and blocks of the plain loop that
one would write in Python run in turn on the same prepared model; the plain loop against itself stands beside.
Neighbouring blocks are compared, so that a machine whose speed drifts does not decide.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from common import Claim, Ratios, Report, alternate, parser, too_noisy

Array = npt.NDArray[Any]

UNACCOUNTED_S = 0.5
APART = 0.02
BACKENDS = ("torch", "onnxruntime")
SETTLE_CALLS = 20
BLOCK_CALLS = 10
ROUNDS = 15


def account_for_time(report: Report, model: str) -> None:
    from pyperf_infer.results.files import read_document

    with tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder:
        results = Path(folder) / "results.json"
        command = [str(Path(sys.executable).with_name("pyperf-infer")), "run", model, "--results-file", str(results)]
        run(command)
        results.unlink()
        whole_s = run(command)
        document = read_document(results)
    named_s = sum(phase.seconds for phase in document.phases)
    report.say(f"pyperf-infer run {model}, warm cache: {whole_s:.2f} s from start to exit")
    for phase in document.phases:
        report.say(f"{phase.seconds:9.3f} s  {phase.name}")
    report.say(f"{whole_s - named_s:9.3f} s  unaccounted for")
    # A phase counted twice would hide as much as one left out: the sum may not exceed the whole either.
    report.claim(Claim("whole - sum of phases, either way", abs(whole_s - named_s), UNACCOUNTED_S, unit="s"))


def run(command: list[str]) -> float:
    begin_ns = time.perf_counter_ns()
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wall_s = (time.perf_counter_ns() - begin_ns) / 1e9
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return wall_s


def compare_with_plain_loop(report: Report, model: str, backend_name: str) -> None:
    import torch

    from pyperf_infer import _core
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.backends.registry import make_backend
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.inputs import make_inputs, resolve_shapes

    loaded = resolve(model).load(seed=42)
    shapes = resolve_shapes(loaded.inputs, 1)
    inputs = make_inputs(loaded.inputs, shapes, seed=42)
    backend = make_backend(backend_name, BackendOptions(threads=torch.get_num_threads()))
    backend.convert(loaded, shapes)
    prepared = backend.prepare(loaded, inputs)
    target = prepared.target
    if isinstance(target, _core.OrtTarget):
        call: Callable[[], object] = target.run
    else:
        assert loaded.module is not None
        call = plain_call(loaded.module, inputs)
    by_native, by_plain, by_plain_again = Blocks(), Blocks(), Blocks()

    def native_block() -> float:
        samples = _core.Samples()
        _core.run_batch(target, samples, BLOCK_CALLS)
        return by_native.add([int(ns) for ns in samples.ns])

    with prepared.measuring():
        _core.run_batch(target, _core.Samples(), SETTLE_CALLS)
        sides = [native_block, lambda: by_plain.add(plain_loop(call)), lambda: by_plain_again.add(plain_loop(call))]
        rounds = alternate(sides, ROUNDS)
    report.say(
        f"{backend_name}: p50 native {by_native.p50_ms:.3f} ms, plain loop {by_plain.p50_ms:.3f} ms, plain loop again "
        f"{by_plain_again.p50_ms:.3f} ms ({ROUNDS} blocks of {BLOCK_CALLS} calls each, in turn)"
    )
    itself = Ratios.of([(again, plain) for _, plain, again in rounds])
    native = Ratios.of([(native, plain) for native, plain, _ in rounds])
    report.say(f"{backend_name}: native / plain, p50 of neighbouring blocks {native}; plain / plain {itself}")
    if warning := too_noisy(itself, APART):
        report.say(warning)
    apart = abs(native.median - 1)
    report.claim(Claim(f"{backend_name}, p50 of native and plain loop apart", apart * 100, APART * 100, unit="%"))
    prepared.close()


class Blocks:
    """The samples of one side, all of them and the median of each block."""

    def __init__(self) -> None:
        self._samples_ns: list[int] = []

    def add(self, block_ns: list[int]) -> float:
        """Keeps a block and gives its median."""
        self._samples_ns += block_ns
        return statistics.median(block_ns)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self._samples_ns) / 1e6


def plain_call(module: Callable[..., object], inputs: Mapping[str, Array]) -> Callable[[], object]:
    import torch

    tensors = [torch.from_numpy(array) for array in inputs.values()]
    return lambda: module(*tensors)


def plain_loop(call: Callable[[], object]) -> list[int]:
    """What one would write without this tool."""
    samples_ns = []
    for _ in range(BLOCK_CALLS):
        begin_ns = time.perf_counter_ns()
        call()
        samples_ns.append(time.perf_counter_ns() - begin_ns)
    return samples_ns


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--model", default="resnet50", help="another model, for a quicker look (no record of the claim)")
    made.add_argument("--part", choices=["phases", "loop"], help="one of the two parts only")
    arguments = made.parse_args()
    if arguments.record and (arguments.model != "resnet50" or arguments.part):
        made.error("--record is for the whole job on resnet50")
    report = Report("main_job")
    if arguments.part != "loop":
        account_for_time(report, arguments.model)
    if arguments.part != "phases":
        for backend in BACKENDS:
            compare_with_plain_loop(report, arguments.model, backend)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
