# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer profile`: where an inference goes, layer by layer and node by node."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.output import Output, Report, results_options, save_rescue
from pyperf_infer.cli.profile_folder import DOCUMENT, PAGE, ProfileFolder, default_folder
from pyperf_infer.cli.profile_options import job_of, profile_options
from pyperf_infer.cli.run_plan import refuse_overwriting
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.profile.job import Profiling
    from pyperf_infer.results.schema import Document

INTERRUPTED = 130
_REPORT = Report(
    csv="pyperf_infer.reports.profile_text:profile_csv",
    markdown="pyperf_infer.reports.profile_text:profile_markdown",
    terminal="pyperf_infer.reports.profile:render_profile",
)


@click.command()
@profile_options
@results_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def profile(
    quiet: bool, results_file: Path | None, results_format: Any, output_dir: Path | None, top: int, **asked: Any
) -> int:
    """Show where an inference of MODEL goes, layer by layer and node by node.

    Writes a folder: profile.json with everything, profile.md with the tables, PyTorch's trace, table of layers and
    cProfile, ONNX Runtime's profile and table of nodes. Under each table stands what its instrument costs.

    Exit codes: 0 done; 2 usage; 3 input that cannot be used or a place that cannot be written; 4 backend not there;
    5 the measurement failed; 130 interrupted, with what was profiled so far saved.

    Example: pyperf-infer profile resnet50 --output-dir resnet50-profile
    """
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    with phases.timed("import and check"):
        refuse_overwriting({"models": (asked["model"],), "weights": asked["weights"]}, results_file)
        from pyperf_infer.cli.progress import ProgressBar

        bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
        job = job_of(asked, bar.progress, output_dir or default_folder(asked["model"], datetime.now()))  # noqa: DTZ005
        from pyperf_infer.profile.job import Profiling
        from pyperf_infer.results.files import check_writable

        folder = ProfileFolder(job.folder)
    try:
        folder.refuse(results_file)
        output = Output(results_file, results_format, report=_REPORT)
        output.check()
        check_writable(folder.path / DOCUMENT)
        work = Profiling(job, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
        return _run(work, bar, output, folder, top)
    finally:
        folder.remove_if_empty()


def _run(work: Profiling, bar: Any, output: Output, folder: ProfileFolder, top: int) -> int:
    # From here on there may be something to lose: Ctrl-C stops the work, and nothing that comes after it.
    with INTERRUPTS.held():
        interrupted = False
        try:
            with INTERRUPTS.let_through(), bar:
                INTERRUPTS.check()
                work.execute()
        except KeyboardInterrupt:
            interrupted = True
        except Exception:
            if not INTERRUPTS.pressed:
                raise
            interrupted = True
        INTERRUPTS.answer()
        status: Any = "interrupted" if interrupted else "failed" if work.failures else "complete"
        if work.profiles:
            _finish(work.document(status), output, folder, top)
        _tell(work, folder, interrupted=interrupted)
    return INTERRUPTED if interrupted else work.exit_code


def _finish(document: Document, output: Output, folder: ProfileFolder, top: int) -> None:
    """Writes the document and its page, and prints the tables, whatever of it fails."""
    from pyperf_infer.results.files import write_document, write_text

    written: list[Path] = []
    failure: InputError | None = None
    try:
        write_document(document, folder.path / DOCUMENT)
        write_text(folder.path / PAGE, _REPORT.write("markdown", document))
        written = output.save(document)
    except InputError as error:  # the disk has become full while profiling
        failure = error
    if failure is not None:
        with suppress(InputError):
            written.append(save_rescue(document))
    if output.shows_table:
        from rich.console import Console

        from pyperf_infer.reports.profile import render_profile

        render_profile(document, Console(), top=top)
    else:
        output.show(document)
    sys.stdout.flush()
    for path in written:
        _say(f"Written to {path}")
    if failure is not None:
        raise failure


def _tell(work: Profiling, folder: ProfileFolder, *, interrupted: bool) -> None:
    """What stands on standard error: failures, and what is in the folder."""
    for backend, error in work.failures:
        _say(f"Error: {backend}: {' '.join(str(error).split())}")
    if interrupted:
        _say("Interrupted." if work.profiles else "Interrupted before a profile was complete.")
    if files := folder.files:
        _say(f"Written to {folder.path}{os.sep}: {', '.join(files)}")


def _say(text: str) -> None:
    from pyperf_infer.reports.escape import printable

    click.echo(printable(text), err=True)
