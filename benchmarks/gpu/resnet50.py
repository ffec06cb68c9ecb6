# SPDX-License-Identifier: Apache-2.0
"""ResNet-50, batch 1 and 32, by `pyperf-infer run` as a user runs it: eager, as a CUDA graph, ONNX Runtime, its graph.
Of each the p50 with its interval, whether the launch bounds it, and its share of the bounds that the memory's bandwidth
and the peak of the arithmetic set; beside them what other timers say of the same eager work and graph (beside.py).

A row passes when it ran, its outputs agree, its p50 has an interval, and it is not faster than the device can be. What
could not be checked or had is `not yet`, and counted beside the row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from gpu.bounds import Bound, Bounds, bounds_of
from gpu.common import Row, child_figures, parser, run_row
from gpu.figures import Figure, equals, failed, not_yet, shown
from gpu.product import provider_of_onnxruntime, pyperf_infer
from pyperf_infer.models.catalog import resolve
from pyperf_infer.timing.cuda import open_gpu

PRECISIONS = ("float32", "tf32", "float16")
BATCHES = (1, 32)
TORCH = ("torch", "torch-cudagraph")
ONNXRUNTIME = ("onnxruntime", "onnxruntime-cudagraph")
AOTI = "this version has no AOTInductor backend"
BESIDE_TIMEOUT_S = 75.0


def name_of(backend: str, batch: int, precision: str) -> str:
    return f"{backend}, batch {batch}, {precision}"


def figures_of(result: Mapping[str, Any], bounds: Bounds) -> list[Figure]:
    """What one row of the product's document says."""
    subject, summary = result["subject"], result["summary"]
    name = name_of(result["method"]["backend"], subject["batch_size"], subject["precision"])
    if result["error"] is not None:
        return [failed(name, result["error"]["message"])]
    block = summary["gpu"] or summary["latency"]
    what = f"{name}: p50 of the {'gpu span' if summary['gpu'] else 'latency'}"
    interval = block["p50_interval_ms"]
    if interval is None:
        return [failed(what, f"{block['count']} samples give no interval")]
    stop = result["method"]["stop"]
    wide = "" if stop["converged"] else f"the interval is wider than the {stop['ci']:.1%} asked for"
    return [
        shown(what, block["p50_ms"], "ms", spread=tuple(interval), spread_of="95% interval", reason=wide),
        shown(f"{name}: launch-bound", _launch_bound(summary), reason=summary["launch_bound_evidence"] or ""),
        _share(f"{name}: share of the bandwidth bound", bounds.memory, block["p50_ms"]),
        _share(f"{name}: share of the compute bound", bounds.compute, block["p50_ms"]),
        _possible(name, result["integrity"]),
        *_parity(name, result["parity"]),
    ]


def _launch_bound(summary: Mapping[str, Any]) -> str:
    return {True: "yes", False: "no", None: "withheld"}[summary["launch_bound"]]


def _share(name: str, bound: Bound, p50_ms: float) -> Figure:
    if bound.ms is None:
        return not_yet(name, bound.reason)
    return shown(name, 100 * bound.ms / p50_ms, "%", reason=f"{bound.ms:.4g} ms: {bound.reason}")


def _possible(name: str, integrity: Mapping[str, Any] | None) -> Figure:
    """What the product says of its own number."""
    name = f"{name}: possible on this device"
    if integrity is None or integrity["status"] == "not checked":
        return not_yet(
            name, "not checked: " + (integrity["reason"] if integrity else "the document says nothing of it")
        )
    return equals(name, integrity["status"], "ok", reason=integrity["reason"] or "")


def _parity(name: str, parity: Mapping[str, Any] | None) -> list[Figure]:
    if parity is None:  # the reference itself, whose outputs are numbers
        return []
    name = f"{name}: outputs against {parity['reference']}"
    if parity["status"] == "not checked":
        return [not_yet(name, f"not checked: {parity['reason'] or 'the document says not why'}")]
    return [equals(name, parity["status"], "equal", reason=parity["reason"] or "")]


def backends_here() -> tuple[tuple[str, ...], str | None]:
    """The backends that can run, and why ONNX Runtime cannot."""
    missing = provider_of_onnxruntime()
    return (TORCH if missing else TORCH + ONNXRUNTIME), missing


def command(precision: str, backends: tuple[str, ...], *, device: int, core: bool) -> list[str]:
    """The product's arguments."""
    made = ["run", "resnet50", "--device", f"cuda:{device}", "--precision", precision]
    for batch in BATCHES:
        made += ["-b", str(batch)]
    for backend in backends:
        made += ["--backend", backend]
    return [*made, *(["--duration", "0.5", "--max-duration", "3"] if core else ["--max-duration", "10"])]


def run(row: Row, options: argparse.Namespace) -> None:
    backends, missing = backends_here()
    arguments = command(options.precision, backends, device=options.device, core=options.core)
    facts = open_gpu(options.device).facts
    model = resolve("resnet50").load(seed=42)
    bounds = {
        batch: bounds_of(model, batch, options.precision, facts.name, facts.memory_bandwidth_bytes_per_s)
        for batch in BATCHES
    }
    row.say(f"pyperf-infer {' '.join(arguments)}")
    document = pyperf_infer(arguments, timeout_s=options.timeout)
    for result in document["results"]:
        row.add(*figures_of(result, bounds[result["subject"]["batch_size"]]))
    for batch in BATCHES:
        if missing is not None:
            row.add(*(not_yet(name_of(backend, batch, options.precision), missing) for backend in ONNXRUNTIME))
        row.add(not_yet(name_of("aoti", batch, options.precision), AOTI))
        beside = ["--batch", str(batch), "--precision", options.precision, "--device", str(options.device)]
        row.add(*child_figures("gpu.beside", *beside, timeout_s=BESIDE_TIMEOUT_S))


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--precision", choices=PRECISIONS, default="float16")
    made.add_argument(
        "--timeout", type=float, default=300.0, help="seconds that the product's run may take [default: 300]"
    )
    return made


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run, made=_parser()))
