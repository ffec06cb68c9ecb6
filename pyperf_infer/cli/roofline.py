# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer roofline`: how far a model is from what the machine can do, layer by layer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.carry_out import carry_out
from pyperf_infer.cli.output import Output, Report, results_options
from pyperf_infer.cli.roofline_options import job_of, refuse_beside_from, roofline_options
from pyperf_infer.cli.run_plan import refuse_overwriting
from pyperf_infer.errors import InputError, UsageError

if TYPE_CHECKING:
    from pyperf_infer.attribution.job import Attributing
    from pyperf_infer.results.schema import Document


@click.command()
@roofline_options
@results_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def roofline(
    ctx: click.Context,
    /,
    quiet: bool,
    results_file: Path | None,
    results_format: Any,
    plot: Path | None,
    again: Path | None,
    top: int,
    **asked: Any,
) -> int:
    """Show how far each MODEL is from what this machine can do, layer by layer.

    The machine's ceilings (operations a second by type, bytes a second by level of memory) are measured once and kept;
    then the layers are timed and set against the work that the model's graph has in them. Without a MODEL the ceilings
    alone are shown. docs/roofline.md says what each number is.

    Exit codes: 0 done; 2 usage; 3 input that cannot be used; 4 backend, device or package not there; 5 a measurement
    failed, or the machine is too busy for one; 130 interrupted, with what was measured so far saved.

    Example: pyperf-infer roofline resnet50 -b 1 -b 16 --plot roofline.svg
    """
    output = Output(results_file, results_format, report=_report(top))
    models = asked["models"]
    sources = models if again is None else (*models, again)
    refuse_overwriting({"models": sources, "weights": asked["weights"]}, results_file, plot)
    if plot is not None:
        from pyperf_infer.reports.roofline_plot import check_plot
        from pyperf_infer.results.files import check_writable

        if results_file is not None and plot.resolve() == results_file.resolve():
            raise UsageError(f"--results-file and --plot name the same file, {plot}")
        if not models and again is None:
            raise UsageError("--plot needs a MODEL, or --from a result")
        check_plot(plot)
        check_writable(plot)
    output.check()
    if again is not None:
        refuse_beside_from(ctx)
        _deliver_again(_stored(again), output, plot)
        return 0
    return _measured(asked, output, plot, quiet=quiet)


def _measured(asked: dict[str, Any], output: Output, plot: Path | None, *, quiet: bool) -> int:
    from pyperf_infer.cli.progress import ProgressBar
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    with phases.timed("import and check"):
        bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
        plan = job_of(asked, bar.progress)
        from pyperf_infer.attribution.job import Attributing

    job = Attributing(plan, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
    status, code = carry_out(job, output, bar, words=_interrupted)
    if plot is not None and job.rooflines:
        _plot(job.document(status), plot)  # type: ignore[arg-type]
    return code


def _deliver_again(document: Document, output: Output, plot: Path | None) -> None:
    for path in output.save(document):
        click.echo(f"Written to {path}", err=True)
    if plot is not None:
        _plot(document, plot)
    output.show(document)


def _plot(document: Document, path: Path) -> None:
    from pyperf_infer.reports.escape import printable
    from pyperf_infer.reports.roofline_plot import write_plot

    write_plot(document, path)
    click.echo(f"Written to {printable(str(path))}", err=True)


def _stored(path: Path) -> Document:
    from pyperf_infer.results.files import read_document

    document = read_document(path)
    if not document.rooflines and not document.ceilings:
        raise InputError(f"{path} is no result of `pyperf-infer roofline`: it has neither rooflines nor ceilings.")
    return document


def _report(top: int) -> Report:
    return Report(
        csv="pyperf_infer.reports.roofline_text:roofline_csv",
        markdown="pyperf_infer.reports.roofline_text:roofline_markdown",
        terminal="pyperf_infer.reports.roofline:render_roofline",
        options={"top": top},
    )


def _interrupted(job: Attributing) -> str:
    if job.rooflines:
        return "Interrupted."
    return "Interrupted before a model was done." if job.has_any else "Interrupted before the ceilings were known."
