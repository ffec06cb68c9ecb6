# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer overhead`: what of a request is Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.carry_out import carry_out
from pyperf_infer.cli.output import Output, Report, results_options
from pyperf_infer.cli.overhead_options import overhead_options, plan_of
from pyperf_infer.cli.run_options import runtime_options
from pyperf_infer.cli.run_plan import refuse_overwriting, set_affinity

if TYPE_CHECKING:
    from pyperf_infer.overhead.job import OverheadJob

INTERRUPTED = 130
_REPORT = Report(
    csv="pyperf_infer.reports.overhead_text:overhead_csv",
    markdown="pyperf_infer.reports.overhead_text:overhead_markdown",
    terminal="pyperf_infer.reports.overhead:render_overhead",
)


@click.command()
@overhead_options
@runtime_options
@results_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def overhead(quiet: bool, results_file: Path | None, results_format: Any, **asked: Any) -> int:
    """Show how much of a request to MODEL is Python.

    The same model on the same inputs, called in every way that people call it: ONNX Runtime through session.run,
    run_with_iobinding and the native loop; PyTorch eager, compiled, and compiled ahead of time (AOTInductor) through
    Python and in the native loop. Outputs are compared first; then the paths run in turn, in blocks.

    Exit codes: 0 done; 1 outputs differ; 2 usage; 3 input that cannot be used; 4 backend not there; 5 the measurement
    failed; 130 interrupted, with the batch sizes that were done by then saved.

    Example: pyperf-infer overhead resnet50 -b 1 -b 32
    """
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    output = Output(results_file, results_format, report=_REPORT)
    with phases.timed("import and check"):
        refuse_overwriting({"models": (asked["model"],), "weights": asked["weights"]}, results_file)
        output.check()
        if asked["cpu_affinity"]:
            set_affinity(asked["cpu_affinity"])
        plan = plan_of(asked)
        from pyperf_infer.cli.progress import ProgressBar
        from pyperf_infer.overhead.job import OverheadJob

    bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
    job = OverheadJob(plan, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
    _, code = carry_out(job, output, bar, words=_interrupted)
    return code


def _interrupted(job: OverheadJob) -> str:
    return "Interrupted." if job.has_any else "Interrupted before a batch size was done."
