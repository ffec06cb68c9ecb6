# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer roofline` of ResNet-50, ViT-B/16 and GPT-2 on the CPU: how much of the time it explains.

    python benchmarks/roofline.py [--record]

Both backends, batch 1. The layers' times are set against the whole inference that they are parts of. A layer above its
roof is printed with what can be behind it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from common import Claim, Report

from pyperf_infer.attribution.job import Attributing, Job
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure.observer import Observer
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.reports.roofline_plot import write_plot
from pyperf_infer.reports.roofline_text import roofline_markdown
from pyperf_infer.roofline.roofs import ABOVE
from pyperf_infer.system.cpu import usable_cores

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Roofline

MODELS = ("resnet50", "timm:vit_base_patch16_224", "hf:gpt2")
LEAST_KNOWN, LEAST_TRACED, MOST_OFF = 99.0, 95.0, 3.0  # percent


def judge(report: Report, found: Roofline) -> None:
    name = f"{found.model} on {found.backend}"
    whole, layers = found.profiled_ms, found.layers_ms
    cost = "" if found.perturbation is None else f", with the profiler {found.perturbation.ratio:.3f} times as long"
    report.say(
        f"  {name}: {whole:.2f} ms, layers {layers:.2f} ms{cost}; roof {found.roof_ms:.2f} ms"
        + (f" ({found.share_of_roof:.0%})" if found.share_of_roof is not None else "")
    )
    for layer in sorted(found.layers, key=lambda one: -(one.gap_ms or 0.0))[:5]:
        share = "no roof" if layer.share_of_roof is None else f"{layer.share_of_roof:.0%} of roof"
        report.say(f"    {layer.name or '(the model)':40} {layer.time_ms:8.3f} ms  {share}  {layer.bound}")
    above = [one for one in found.layers if (one.share_of_roof or 0.0) > ABOVE]
    for layer in above:
        report.say(f"    above its roof: {layer.name} {layer.share_of_roof:.0%}: {layer.reason}")
    known = 100 * (found.formula_share or 0.0)
    report.claim(Claim(f"{name}: time in operators with a formula", known, LEAST_KNOWN, at_most=False, unit="%"))
    report.claim(Claim(f"{name}: the layers' sum from the whole", 100 * abs(layers / whole - 1), MOST_OFF, unit="%"))
    report.claim(Claim(f"{name}: layers above {ABOVE:.0%} of their roof", len(above), 0, unit="layers"))
    if found.backend == "onnxruntime":
        traced = 100 * (found.mapped_share or 0.0)
        report.claim(Claim(f"{name}: time traced to the given graph", traced, LEAST_TRACED, at_most=False, unit="%"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/DATE-roofline.{json,md}")
    parser.add_argument("--keep", type=Path, help="also write the plot and the page with every layer to this folder")
    asked = parser.parse_args()
    report = Report("roofline")
    options = BackendOptions(threads=usable_cores(), provider="cpu")
    job = Job(models=MODELS, options=options, plan=ProfilePlan(duration_s=5.0, max_duration_s=40.0))
    work = Attributing(job, command=sys.argv, observer=Observer())
    work.execute()
    for failure in work.failures:
        report.say(f"  FAILED {failure}")
    for found in work.rooflines:
        judge(report, found)
    missing = 2 * len(MODELS) - len(work.rooflines)
    report.claim(Claim("rows that could not be measured", missing, 0, unit="rows"))
    document = work.document("complete")
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="pyperf-infer-roofline-"))
    write_plot(document, folder / "roofline.png")
    (folder / "roofline.md").write_text(roofline_markdown(document), encoding="utf-8")
    print(f"every layer and the plots: {folder}")
    return report.finish(asked.record)


if __name__ == "__main__":
    sys.exit(main())
