# SPDX-License-Identifier: Apache-2.0
"""Fresh processes of one model: ResNet-50 as a CUDA graph, batch 32, float16, each by `pyperf-infer run` as a user runs
it. The p50 of the GPU's span may differ by 2% from the fastest process to the slowest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gpu.common import Row, median_of, run_row
from gpu.figures import Figure, at_most, shown
from gpu.product import pyperf_infer

BOUND_PERCENT = 2.0
PROCESSES, PROCESSES_CORE = 10, 5
TIMEOUT_S = 90.0
# fmt: off
COMMAND = (
    "run", "resnet50", "--device", "cuda:{device}", "--backend", "torch-cudagraph", "-b", "32",
    "--precision", "float16", "--duration", "1", "--max-duration", "3",
)
# fmt: on


def p50_ms(document: dict[str, Any], quantity: str) -> float:
    """Of the one row of a document.

    Raises:
        RuntimeError: the row failed; with its message.
    """
    (result,) = document["results"]
    if result["error"] is not None:
        raise RuntimeError(f"the run failed: {result['error']['message']}")
    return float(result["summary"][quantity]["p50_ms"])


def judge(gpu_ms: Sequence[float], latency_ms: Sequence[float]) -> list[Figure]:
    """(max - min) / median over the processes."""
    name = f"p50 of {len(gpu_ms)} processes: (max - min) / median"
    return [
        at_most(
            f"gpu span, {name}", _spread_percent(gpu_ms), BOUND_PERCENT, "%",
            reason=f"{min(gpu_ms):.4f} to {max(gpu_ms):.4f} ms",
        ),
        shown(f"latency, {name}", _spread_percent(latency_ms), "%"),
        shown("gpu span, median of p50", median_of(gpu_ms), "ms"),
    ]  # fmt: skip


def _spread_percent(values: Sequence[float]) -> float:
    return 100 * (max(values) - min(values)) / median_of(values)


def run(row: Row, options: argparse.Namespace) -> None:
    command = [part.format(device=options.device) for part in COMMAND]
    gpu_ms, latency_ms = [], []
    for number in range(PROCESSES_CORE if options.core else PROCESSES):
        document = pyperf_infer(command, timeout_s=TIMEOUT_S)
        gpu_ms.append(p50_ms(document, "gpu"))
        latency_ms.append(p50_ms(document, "latency"))
        row.say(f"process {number + 1}: gpu p50 {gpu_ms[-1]:.4f} ms, latency p50 {latency_ms[-1]:.4f} ms")
    row.add(*judge(gpu_ms, latency_ms))


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run))
