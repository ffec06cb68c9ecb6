# SPDX-License-Identifier: Apache-2.0
"""The GPU's ceilings against its datasheet, and ResNet-50 at batch 1 and 64 against the ceilings, by
`pyperf-infer roofline` as a user runs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from gpu.common import Row, parser, run_row
from gpu.figures import Figure, at_least, at_most, failed, not_yet, shown
from gpu.product import provider_of_onnxruntime, pyperf_infer

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
BATCHES = (1, 64)
# Of the datasheet, in percent. The upper ends are also errors of the product's own.
COPY, PRODUCT = (85.0, 100.0), (75.0, 102.0)
JUDGED = ("bfloat16", "float16")
ABOVE = 1.05
LEAST_KNOWN, MOST_OFF = 99.0, 3.0


def ceiling_figures(ceilings: Mapping[str, Any]) -> Iterator[Figure]:
    """Each against the datasheet's dense figure, where that is known."""
    for one in ceilings["memory"]:
        name = f"{one['pattern']}, {one['level']}"
        bounds = one["level"] == "memory" and one["pattern"] == "copy" and COPY
        yield from _against(name, one["bytes_per_s"] / 1e9, "GB/s", one["datasheet_bytes_per_s"], bounds)
    for one in ceilings["compute"]:
        name = f"products of {one['precision']}"
        judged = one["precision"] in JUDGED
        yield from _against(
            name, one["flops_per_s"] / 1e12, "TFLOP/s", one["datasheet_flops_per_s"], judged and PRODUCT
        )
    for said in ceilings["not_measured"]:
        yield not_yet("a ceiling", said)


def _against(
    name: str,
    rate: float,
    unit: str,
    datasheet: float | None,
    bounds: tuple[float, float] | bool,  # False: none
) -> Iterator[Figure]:
    yield shown(name, rate, unit)
    if datasheet is None:
        yield not_yet(f"{name}: share of the datasheet", "the datasheet's figure is not known")
        return
    share = 100 * rate / (datasheet / (1e12 if unit == "TFLOP/s" else 1e9))
    if not isinstance(bounds, tuple):
        yield shown(f"{name}: share of the datasheet", share, "%")
        return
    yield at_least(f"{name}: share of the datasheet", share, bounds[0], "%")
    yield at_most(f"{name}: share of the datasheet, not above", share, bounds[1], "%")


def roofline_figures(found: Mapping[str, Any]) -> Iterator[Figure]:
    """Of one batch on one backend."""
    name = f"{found['backend']}, batch {found['batch_size']}, {found['precision']}"
    if found["measured_ms"] is None:
        yield not_yet(f"{name}: share of the roof", "no round without the profiler was complete")
    else:
        yield shown(f"{name}: measured", found["measured_ms"], "ms")
        yield shown(f"{name}: share of the roof", 100 * found["share_of_roof"], "%")
    known = 100 * (found["formula_share"] or 0.0)
    yield at_least(f"{name}: time in operators with a formula", known, LEAST_KNOWN, "%")
    if found["backend"] == "torch":  # ONNX Runtime's nodes are kernels on the GPU, and the whole is the host's time
        off = 100 * abs(found["rest_ms"]) / found["profiled_ms"] if found["profiled_ms"] else 100.0
        yield at_most(f"{name}: the layers' sum from the whole", off, MOST_OFF, "%")
    above = [one for one in found["layers"] if (one["share_of_roof"] or 0.0) > ABOVE]
    said = "; ".join(f"{one['name']} {one['share_of_roof']:.0%}: {one['reason']}" for one in above[:3])
    yield at_most(f"{name}: layers above {ABOVE:.0%} of their roof", len(above), 0, "layers", reason=said)


def command(precision: str, *, device: int, onnxruntime: bool) -> list[str]:
    """The product's arguments."""
    made = ["roofline", "resnet50", "--device", f"cuda:{device}", "--precision", precision, "--fresh-ceilings"]
    for batch in BATCHES:
        made += ["-b", str(batch)]
    made += ["--backend", "torch", *(["--backend", "onnxruntime"] if onnxruntime else [])]
    return [*made, "--duration", "1", "--max-duration", "15"]


def run(row: Row, options: argparse.Namespace) -> None:
    missing = provider_of_onnxruntime()
    arguments = command(options.precision, device=options.device, onnxruntime=missing is None)
    row.say(f"pyperf-infer {' '.join(arguments)}")
    document = pyperf_infer(arguments, timeout_s=options.timeout)
    for ceilings in document["ceilings"]:
        row.add(*ceiling_figures(ceilings))
    for found in document["rooflines"]:
        row.add(*roofline_figures(found))
    for one in document["warnings"]:
        if one["code"] == "roofline_failed":
            row.add(failed("a roofline", one["message"]))
    if missing is not None:
        row.add(not_yet("onnxruntime", missing))


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--precision", choices=PRECISIONS, default="float16")
    made.add_argument(
        "--timeout", type=float, default=300.0, help="seconds that the product's run may take [default: 300]"
    )
    return made


if __name__ == "__main__":
    sys.exit(run_row(__doc__, run, made=_parser()))
