# SPDX-License-Identifier: Apache-2.0
"""Counts of `pyperf-infer count` against every figure that timm and torchvision publish, and what counting costs.

    python benchmarks/counts.py [--record]

The published figures are in tests/data/reference. As a control attention is left out: the rows of timm that once lost
it must then land on the wrong column of theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import HERE, Claim, Report

sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from reference_counts import count_timm, count_torchvision, timm_rows, torchvision_rows

NODES = 50_000
MOST_S, MOST_BYTES, RESNET50_S = 60.0, 2e9, 2.0
_LARGE = """
import json, sys, time
from pathlib import Path
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.shapes import resolve_shapes
from pyperf_infer.roofline.work.count import count
begin = time.perf_counter()
model = resolve(sys.argv[1]).structure()
work = count(model, resolve_shapes(model.inputs, 4))
# Not ru_maxrss: that begins with the parent's.
peak, = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": time.perf_counter() - begin, "macs": work.macs, "operations": len(work.operations),
                  "bytes": int(peak) * 1024}))
"""


def torchvision(report: Report) -> None:
    rows, off = torchvision_rows(), 0
    for row in rows:
        work = count_torchvision(row)
        right = row.fits(work) and work.params == row.parameters and not work.unknown_ops
        off += not right
        report.say(
            f"  {row.model:20} {row.crop}  {work.macs / 1e9:8.3f} G  {row.gmacs:8.3f} G  {work.params:>11,} parameters"
            f"{'' if right else '  DIFFERS ' + str(dict(work.unknown_ops) or '')}"
        )
    report.claim(
        Claim(f"torchvision's {len(rows)} rows beyond 0.1% or 0.0005 G, or with other parameters", off, 0, unit="rows")
    )


def timm(report: Report) -> None:
    rows, off, wrong, flagged = timm_rows(), 0, 0, 0
    for row in rows:
        work = count_timm(row)
        right = row.fits(work) and not work.unknown_ops
        off += not right
        attention = sum(one.work.macs for one in work.operations if "attention" in one.op)
        control = ""
        if row.wrong_gmacs is not None:
            flagged += 1
            landed = row.lost_attention(work.fvcore_flops - attention) and not row.fits(work, less_macs=attention)
            wrong += landed
            without = (work.fvcore_flops - attention) / 1e9
            control = f"  without attention {without:.3f} G, the wrong column {row.wrong_gmacs} G"
        report.say(
            f"  {row.model:30} {row.size}  {work.fvcore_flops / 1e9:8.3f} G  {row.gmacs:7.2f} G  "
            f"{work.activations / 1e6:8.3f} M  {row.macts:7.2f} M{control}{'' if right else '  DIFFERS'}"
        )
    report.claim(Claim(f"timm's {len(rows)} rows beyond 0.5% or 0.006, macs or activations", off, 0, unit="rows"))
    report.claim(
        Claim(
            f"control: of {flagged} flagged rows on the wrong column without attention",
            wrong,
            flagged,
            at_most=False,
            unit="rows",
        )
    )


def cost(report: Report) -> None:
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.shapes import resolve_shapes
    from pyperf_infer.roofline.work.count import count

    count_of_small = resolve("resnet18").structure()
    count(count_of_small, resolve_shapes(count_of_small.inputs, 1))  # imports
    model = resolve("resnet50").structure()
    begin = time.perf_counter()
    count(model, resolve_shapes(model.inputs, 1))
    report.claim(Claim("counting ResNet-50, built already", time.perf_counter() - begin, RESNET50_S, unit="s"))
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder:
        path = large_file(Path(folder) / "large.onnx")
        done = subprocess.run([sys.executable, "-c", _LARGE, str(path)], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
    report.say(f"an ONNX graph of {found['operations']:,} nodes, {found['macs']:,} macs")
    report.claim(Claim(f"counting an ONNX graph of {NODES:,} nodes", found["seconds"], MOST_S, unit="s"))
    report.claim(Claim("the memory of that process", found["bytes"] / 1e9, MOST_BYTES / 1e9, unit="GB"))


def large_file(path: Path) -> Path:
    """Products, activations, sums and shapes that are computed, in turn."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[onnx.NodeProto] = []
    last = "x"
    while len(nodes) < NODES:
        number = len(nodes)
        names = [f"v{number}.{part}" for part in range(5)]
        nodes += [
            helper.make_node("MatMul", [last, "w"], [names[0]]),
            helper.make_node("Relu", [names[0]], [names[1]]),
            helper.make_node("Shape", [names[1]], [names[2]]),
            helper.make_node("Reshape", [names[1], names[2]], [names[3]]),
            helper.make_node("Add", [names[3], last], [names[4]]),
        ]
        last = names[4]
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes, "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(np.ones((16, 16), np.float32), "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the figures to benchmarks/results/, dated")
    arguments = parser.parse_args()
    report = Report("counts")
    report.say("torchvision: ours, theirs")
    torchvision(report)
    report.say("timm, in fvcore's convention: ours, theirs; activations: ours, theirs")
    timm(report)
    cost(report)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
