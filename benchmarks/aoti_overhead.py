# SPDX-License-Identifier: Apache-2.0
"""What our loop adds to a model that AOTInductor has compiled, and what Python adds: 4 x (Linear 32x32 + ReLU), batch
1, one thread, through our target, through a C++ loop written by hand over the same entry points, through torch's loader
in Python, and eager.

Every side is a process of its own, loads and runs the same library in inference mode, gives it the same values in
memory that is aligned alike, warms up with the same number of calls and gives the median of the same number of samples
(the two in Python of fewer). A process differs from the next by more than its samples differ from one another, so the
verdict is the median over rounds, and the hand-written loop stands against itself beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import Claim, Ratios, Report, alternate, child, compiled, parser, run_json, too_noisy

if TYPE_CHECKING:
    import torch

LAYERS, WIDTH = 4, 32
WARM_UP = 20_000
CALLS = 100_000
CALLS_IN_PYTHON = 20_000
ROUNDS = 15
AT_MOST = 1.03
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PACKAGE, LIBRARY, INPUT, OUTPUT = "model.pt2", "model.so", "input.bin", "output.bin"


def torch_folder() -> Path:
    """Of the installed torch, found without importing it."""
    import importlib.util

    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed")
    return Path(spec.origin).parent


def inference_mode_flags() -> list[str]:
    """What compiles a program that uses torch's guard of inference mode."""
    library = torch_folder() / "lib"
    return ["-isystem", str(torch_folder() / "include"), "-Wl,--no-as-needed", f"-Wl,-rpath,{library}",
            str(library / "libc10.so")]  # fmt: skip


def model_and_input() -> tuple[torch.nn.Module, torch.Tensor]:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(42)
    layers = [layer for _ in range(LAYERS) for layer in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers).eval(), torch.randn(1, WIDTH)


def child_build(folder: str) -> None:
    import torch

    model, x = model_and_input()
    package = Path(folder) / PACKAGE
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(torch.export.export(model, (x,)), package_path=str(package))
        (Path(folder) / OUTPUT).write_bytes(model(x).numpy().tobytes())
    (Path(folder) / INPUT).write_bytes(x.numpy().tobytes())
    with zipfile.ZipFile(package) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        (Path(folder) / LIBRARY).write_bytes(archive.read(name))
    print("{}")


def child_ours(folder: str) -> None:
    import torch

    _, x = model_and_input()
    with torch.inference_mode():
        print(json.dumps({"p50_ns": p50_of_ours(folder, x)}))


def p50_of_ours(folder: str, x: torch.Tensor) -> float:
    from pyperf_infer import _core

    model = _core.AotiModel(str(Path(folder) / LIBRARY), str(torch_folder() / "lib" / "libtorch_cpu.so"))
    target = _core.AotiTarget(model)
    target.bind(
        [
            _core.AotiTensor(
                data=x.data_ptr(), shape=list(x.shape), strides=list(x.stride()), dtype="float32", device_index=None,
                keep=x,
            )
        ]
    )  # fmt: skip
    _core.run_batched(target, WARM_UP)
    samples = _core.Samples()
    _core.run_batch(target, samples, CALLS)
    wanted = np.frombuffer((Path(folder) / OUTPUT).read_bytes(), np.float32)
    np.testing.assert_allclose(np.frombuffer(target.outputs()[0][4], np.float32), wanted, atol=1e-5)
    return float(np.median(samples.ns))


def child_python(folder: str) -> None:
    import torch

    model, x = model_and_input()
    with torch.inference_mode():
        loaded = torch._inductor.aoti_load_package(str(Path(folder) / PACKAGE))
        print(json.dumps({"loader_ns": timed(loaded, x), "eager_ns": timed(model, x)}))


def timed(function: Callable[[torch.Tensor], object], x: torch.Tensor) -> float:
    """Median ns. The result is freed outside of the window, as ours is."""
    clock_ns, samples = time.perf_counter_ns, [0] * CALLS_IN_PYTHON
    for _ in range(CALLS_IN_PYTHON // 5):
        function(x)
    for i in range(CALLS_IN_PYTHON):
        begin_ns = clock_ns()
        result = function(x)
        samples[i] = clock_ns() - begin_ns
        del result
    return statistics.median(samples)


def compare(report: Report, folder: Path, program: Path) -> None:
    in_python: list[dict[str, float]] = []
    files = [str(folder / name) for name in (LIBRARY, INPUT, OUTPUT)]
    by_hand = [str(program), str(torch_folder() / "lib" / "libtorch.so"), *files, *map(str, (WIDTH, WARM_UP, CALLS))]

    def ours() -> float:
        return run_json(child("aoti_overhead.py", "ours", str(folder)), ONE_THREAD)["p50_ns"]

    def hand() -> float:
        return run_json(by_hand, ONE_THREAD)["p50_ns"]

    def python() -> float:
        in_python.append(run_json(child("aoti_overhead.py", "python", str(folder)), ONE_THREAD))
        return in_python[-1]["loader_ns"]

    rounds = alternate([ours, hand, hand, python], ROUNDS)
    ours_ns, hand_ns, again_ns, loader_ns = (statistics.median(column) for column in zip(*rounds, strict=True))
    eager_ns = statistics.median(values["eager_ns"] for values in in_python)
    report.say(f"{LAYERS} x (Linear {WIDTH}x{WIDTH} + ReLU), batch 1, one thread, {ROUNDS} rounds of alternating")
    report.say(f"processes, {CALLS} samples each. Medians of p50: ours {ours_ns:.0f} ns, by hand {hand_ns:.0f} ns and")
    report.say(f"again by hand {again_ns:.0f} ns, torch's loader in Python {loader_ns:.0f} ns, eager {eager_ns:.0f} ns")
    itself = Ratios.of([(again, hand) for _, hand, again, _ in rounds])
    report.say(f"by hand / by hand: {itself}")
    if warning := too_noisy(itself, AT_MOST - 1):
        report.say(warning)
    versus_hand = Ratios.of([(ours, hand) for ours, hand, _, _ in rounds])
    report.claim(Claim("ours / C++ by hand, p50", versus_hand.median, AT_MOST, spread=versus_hand.quartiles))
    for name, key, bound in (("torch's loader in Python", "loader_ns", 2.5), ("eager", "eager_ns", 5.0)):
        versus = Ratios.of([(values[key], row[0]) for values, row in zip(in_python, rounds, strict=True)])
        report.claim(Claim(f"{name} / ours, p50", versus.median, bound, at_most=False, spread=versus.quartiles))


def main() -> int:
    arguments = parser(__doc__).parse_args()
    if arguments.child:
        side, folder = arguments.child
        {"build": child_build, "ours": child_ours, "python": child_python}[side](folder)
        return 0
    report = Report("aoti_overhead")
    with (
        tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder,
        compiled("aoti_hand_loop.cpp", *inference_mode_flags()) as program,
    ):
        run_json(child("aoti_overhead.py", "build", folder), ONE_THREAD)
        compare(report, Path(folder), program)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
