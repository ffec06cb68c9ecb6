# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer run`: the main job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.output import Output, output_options, save_rescue
from pyperf_infer.cli.run_options import gpu_options, measuring_options, model_options, runtime_options
from pyperf_infer.cli.run_plan import plan_of, refuse_contradictions, refuse_overwriting, set_affinity
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.measure.run import Run

INTERRUPTED = 130


@click.command()
@model_options
@measuring_options
@gpu_options
@runtime_options
@output_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def run(quiet: bool, results_file: Path | None, results_format: Any, export_samples: Path | None, **asked: Any) -> int:
    """Time MODELs on PyTorch and ONNX Runtime, in a native loop.

    A MODEL is built in (pyperf-infer models list), timm:NAME, the path of an .onnx or .yaml file, or
    package.module:factory. Outputs are compared before anything is timed.

    Exit codes: 0 done; 1 outputs differ or are no numbers, or a time is impossible; 2 usage; 3 input that cannot be
    used; 4 backend not there; 5 the measurement failed; 130 interrupted, with what was measured so far saved.

    Example: pyperf-infer run resnet50 -b 1 -b 8 --results-file resnet50.json
    """
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    phases.add("start the process", _seconds_since_start())
    output = Output(results_file, results_format, export_samples)
    with phases.timed("import and check"):
        refuse_contradictions(asked)
        refuse_overwriting(asked, results_file, export_samples)
        output.check()
        from pyperf_infer.cli.progress import ProgressBar
        from pyperf_infer.measure.run import Run

        if asked["cpu_affinity"]:
            set_affinity(asked["cpu_affinity"])
        plan = plan_of(asked)
    bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
    job = Run(plan, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
    # From here on there may be something to lose: Ctrl-C stops the job, and nothing that comes after it.
    with INTERRUPTS.held():
        try:
            with INTERRUPTS.let_through(), bar:
                INTERRUPTS.check()
                job.execute()
            status = "failed" if any(row.error for row in job.results) else "complete"
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception:
            if not INTERRUPTS.pressed:
                if job.results:
                    _finish(job, output, "failed")
                raise
            status = "interrupted"
        INTERRUPTS.answer()
        _finish(job, output, status)
    return INTERRUPTED if status == "interrupted" else job.exit_code


def _finish(job: Run, output: Output, status: str) -> None:
    document = job.document(status)
    written: list[Path] = []
    failure: InputError | None = None
    try:
        written = output.save(document, job.samples)
    except InputError as error:  # the disk has become full while measuring
        failure = error
    if job.results and (failure or (status == "interrupted" and output.file is None)):
        try:
            written.append(save_rescue(document, job.samples))
        except InputError as error:
            failure = failure or error
    try:
        output.show(document, job.samples)
        sys.stdout.flush()
    finally:
        _tell(job, status, written, shown=output.shows_table and sys.stdout.isatty())
    if failure is not None:
        raise failure


def _tell(job: Run, status: str, written: list[Path], *, shown: bool) -> None:
    """What stands on standard error: failures where nobody sees the table, and where the files are."""
    from pyperf_infer.reports.escape import printable

    if not shown:
        for message in dict.fromkeys(row.error.message for row in job.results if row.error is not None):
            click.echo(f"Error: {printable(message)}", err=True)
    if status == "interrupted":
        click.echo("Interrupted." if job.results else "Interrupted before anything was measured.", err=True)
    for path in written:
        click.echo(f"Written to {printable(str(path))}", err=True)


def _seconds_since_start() -> float:
    """From the start of this process until now: the interpreter and the command line."""
    import time

    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())
