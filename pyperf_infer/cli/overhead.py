# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer overhead`: what of a request is Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.output import Output, Report, results_options, save_rescue
from pyperf_infer.cli.overhead_options import overhead_options, plan_of
from pyperf_infer.cli.run_options import runtime_options
from pyperf_infer.cli.run_plan import refuse_overwriting, set_affinity
from pyperf_infer.errors import InputError

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
    # From here on there may be something to lose: Ctrl-C stops the job, and nothing that comes after it.
    with INTERRUPTS.held():
        try:
            with INTERRUPTS.let_through(), bar:
                INTERRUPTS.check()
                job.execute()
            status = "failed" if job.failures else "complete"
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception:
            if not INTERRUPTS.pressed:
                if job.overheads:
                    _finish(job, output, "failed")
                raise
            status = "interrupted"
        INTERRUPTS.answer()
        _finish(job, output, status)
    return INTERRUPTED if status == "interrupted" else job.exit_code


def _finish(job: OverheadJob, output: Output, status: Any) -> None:
    """Writes and prints what there is, and says on standard error where it is."""
    document = job.document(status)
    written: list[Path] = []
    failure: InputError | None = None
    try:
        written = output.save(document)
    except InputError as error:  # the disk has become full while measuring
        failure = error
    if job.overheads and (failure or (status == "interrupted" and output.file is None)):
        try:
            written.append(save_rescue(document))
        except InputError as error:
            failure = failure or error
    try:
        output.show(document)
        sys.stdout.flush()
    finally:
        _tell(job, status, written, shown=output.shows_table and sys.stdout.isatty())
    if failure is not None:
        raise failure


def _tell(job: OverheadJob, status: str, written: list[Path], *, shown: bool) -> None:
    from pyperf_infer.reports.escape import printable

    for message in () if shown else job.failures:
        click.echo(f"Error: {printable(message)}", err=True)
    if status == "interrupted":
        click.echo("Interrupted." if job.overheads else "Interrupted before a batch size was done.", err=True)
    for path in written:
        click.echo(f"Written to {printable(str(path))}", err=True)
