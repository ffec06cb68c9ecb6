# SPDX-License-Identifier: Apache-2.0
"""The rows of the GPU proof, in the order in which they run: what is worth most stands first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["core", "full"]


@dataclass(frozen=True)
class PlannedRow:
    """A row is a module of this folder. It starts where `budget_s` is left, and is killed after `timeout_s`."""

    name: str
    what: str
    module: str
    budget_s: float
    timeout_s: float
    arguments: tuple[str, ...] = ()


def rows(mode: Mode) -> tuple[PlannedRow, ...]:
    """Core: a first look within nine minutes, the build included. Full: everything, in parts."""
    core = ("--core",) if mode == "core" else ()

    def row(name: str, what: str, budget_s: float, timeout_s: float, *arguments: str) -> PlannedRow:
        return PlannedRow(name, what, f"gpu.{name}", budget_s, timeout_s, (*core, *arguments))

    def resnet50(precision: str, budget_s: float, timeout_s: float) -> PlannedRow:
        what = f"ResNet-50, batch 1 and 32, {precision}: eager, graph, ONNX Runtime, its graph, and other timers beside"
        arguments = (*core, "--precision", precision, "--timeout", str(timeout_s / 2))
        return PlannedRow(f"resnet50-{precision}", what, "gpu.resnet50", budget_s, timeout_s, arguments)

    first = (
        row("run_tests", "tests/gpu", 60, 180),
        row("spin_kernel", "a kernel that spins a known time: our span, the device's clock, the profiler", 25, 90),
        row("host_cost", "host cost of a sample beyond the launch", 20, 60),
        row("replay_period", "replays back to back: period against the graph's own time", 15, 60),
        row("cold", "mode cold against the memory's bandwidth; the gate; who waits inside of submit", 25, 90),
    )
    if mode == "core":
        return (
            *first,
            row("aa", "identical work compared with itself", 90, 150),
            resnet50("float16", 90, 260),
            row("polling", "polling NVML while measuring, on and off", 20, 60),
            row("stability", "fresh processes of one model", 60, 150),
        )
    return (
        *first,
        row("polling", "polling NVML while measuring, on and off", 45, 120),
        row("aa", "identical work compared with itself", 320, 400),
        *(resnet50(precision, 200, 400) for precision in ("float32", "tf32", "float16")),
        row("roofline", "ceilings against the datasheet, ResNet-50 at batch 1 and 64 against the ceilings", 150, 400),
        row("stability", "fresh processes of one model", 150, 400),
    )
