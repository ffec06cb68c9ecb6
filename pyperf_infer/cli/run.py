# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer run`: the main job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.carry_out import carry_out
from pyperf_infer.cli.gate import gated, refuse_ungateable
from pyperf_infer.cli.output import Output, output_options
from pyperf_infer.cli.run_options import (
    comparing_options,
    gpu_options,
    measuring_options,
    model_options,
    runtime_options,
)
from pyperf_infer.cli.run_plan import plan_of, refuse_contradictions, refuse_overwriting, set_affinity

if TYPE_CHECKING:
    from pyperf_infer.measure.processes import ProcessesRun
    from pyperf_infer.measure.run import Run
    from pyperf_infer.measure.versus import Versus

    Job = Run | ProcessesRun | Versus


@click.command()
@model_options
@comparing_options
@measuring_options
@gpu_options
@runtime_options
@output_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def run(quiet: bool, results_file: Path | None, results_format: Any, export_samples: Path | None, **asked: Any) -> int:
    """Time MODELs on PyTorch and ONNX Runtime, in a native loop.

    A MODEL is built in (pyperf-infer models list), timm:NAME, hf:NAME, the path of an .onnx or .yaml file,
    or package.module:factory. Outputs are compared before anything is timed. With --vs, each is compared in this
    process with another model, backend or other options: --vs resnet18, --vs "--opt-level basic".

    Exit codes: 0 done; 1 outputs differ or are no numbers, a time is impossible, or --fail-if-slower fired; 2 usage;
    3 input that cannot be used; 4 backend not there; 5 the measurement failed; 130 interrupted, with what was measured
    so far saved.

    Example: pyperf-infer run resnet50 -b 1 -b 8 --results-file resnet50.json
    """
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    phases.add("start the process", _seconds_since_start())
    output = Output(results_file, results_format, export_samples)
    with phases.timed("import and check"):
        refuse_contradictions(asked)
        refuse_ungateable(asked)
        refuse_overwriting(asked, results_file, export_samples)
        output.check()
        from pyperf_infer.cli.progress import ProgressBar

        if asked["cpu_affinity"]:
            set_affinity(asked["cpu_affinity"])
        make_job = _job_of(asked, results_file, export_samples)
    bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
    job = make_job(command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
    status, code = carry_out(job, output, bar)
    if status == "interrupted":
        return code
    return gated(job.document(status), asked["fail_if_slower"], code)


def _job_of(asked: dict[str, Any], *targets: Path | None) -> Callable[..., Job]:
    """The job that the flags ask for, to be made once there is somebody to watch it. Raises as `plan_of`."""
    if not asked["vs"] and asked["processes"] > 1:
        from pyperf_infer.measure.processes import ProcessesRun

        return partial(ProcessesRun, plan_of(asked), asked["processes"])
    if not asked["vs"]:
        from pyperf_infer.measure.run import Run

        return partial(Run, plan_of(asked))
    from pyperf_infer.cli.vs_options import asked_sides
    from pyperf_infer.measure.versus import Versus

    sides = asked_sides(asked, asked["vs"])
    for side in sides:
        refuse_overwriting({"models": side.plan.models, "weights": side.plan.weights}, *targets)
    return partial(Versus, sides)


def _seconds_since_start() -> float:
    """From the start of this process until now: the interpreter and the command line."""
    import time

    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())
