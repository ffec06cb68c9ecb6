# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer compare`: whether stored results differ. Needs neither a model nor what runs one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.gate import reader_may_go
from pyperf_infer.cli.output import Output, Report, results_options
from pyperf_infer.cli.parameters import Parsed
from pyperf_infer.errors import UsageError
from pyperf_infer.units import format_asked_percent, parse_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.results.schema import Document, StoredComparison

_MOST_POOLED = 1000


def _path(text: str) -> Path:
    """Raises UsageError for no text at all, which is what a shell makes of a variable that is not set."""
    if not text.strip():
        raise UsageError("an empty path names no result; is a variable of the shell not set?")
    return Path(text)


_PERCENT = Parsed("PERCENT", parse_percent)
_PATH = Parsed("PATH", _path)
_REPORT = Report(
    csv="pyperf_infer.reports.stored_text:stored_csv",
    markdown="pyperf_infer.reports.stored_text:stored_markdown",
    terminal="pyperf_infer.reports.stored:render_stored",
)


@click.command()
@click.argument("paths", nargs=-1, type=_PATH, metavar="BASELINE CONTENDER...")
@click.option("--margin", type=_PERCENT, default="1%", show_default=True, help="Differences up to this are the same.")
@click.option(
    "--fail-if-slower",
    type=_PERCENT,
    help="Exit with 1 where a contender is slower by more than this, with its whole interval.",
)
@click.option(
    "--last",
    type=click.IntRange(1, _MOST_POOLED),
    default=1,
    show_default=True,
    metavar="K",
    help="Of a folder, pool the K newest results of a subject and method as so many processes.",
)
@click.option("--force", is_flag=True, help="Compare also what was measured by unlike methods; the output says so.")
@results_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def compare(
    paths: tuple[Path, ...],
    margin: float,
    fail_if_slower: float | None,
    last: int,
    force: bool,
    results_file: Path | None,
    results_format: Any,
    quiet: bool,
) -> int:
    """Say whether stored results differ: every CONTENDER against the BASELINE.

    Each is a file that `run --results-file` wrote, or a folder of such files, of which the newest of every subject and
    method count. Verdicts need --processes 5 on both sides, or the floor that `selftest` finds on a machine.

    Exit codes: 0 done; 1 --fail-if-slower fired; 2 usage; 3 a file that is no result, nothing in common, or methods
    that do not match; 130 interrupted.

    Example: pyperf-infer compare main.json pr.json --fail-if-slower 3%
    """
    _refuse(paths, margin, results_file)
    output = Output(results_file, results_format, report=_REPORT)
    output.check()
    from pyperf_infer.cli.file_progress import FileProgress
    from pyperf_infer.stored.job import CompareJob, ComparePlan

    plan = ComparePlan(paths=paths, margin=margin, fail_if_slower=fail_if_slower, last=last, force=force)
    job = CompareJob(plan, command=["pyperf-infer", *sys.argv[1:]])
    with FileProgress(quiet=quiet) as progress:
        job.execute(progress)
    document = job.document()
    written = output.save(document)
    with reader_may_go(sys.stdout):
        output.show(document)
    with reader_may_go(sys.stderr):
        _tell(document, fail_if_slower, written)
    return job.exit_code


def _refuse(paths: Sequence[Path], margin: float, results_file: Path | None) -> None:
    if len(paths) < 2:
        raise UsageError("compare takes two results or more: the baseline first, then what is compared with it")
    if not margin:
        raise UsageError(
            "--margin 0% would call no two results the same; give a difference that does not matter to you"
        )
    if results_file is None:
        return
    target = Path(os.path.realpath(results_file))
    given = [os.path.realpath(one) for one in paths]
    # Of a folder all of its files: what an earlier comparison left there can be written elsewhere, a baseline cannot.
    if str(target) in given or (target.exists() and str(target.parent) in given):
        raise UsageError(f"{results_file} is part of what is to be compared; the results would overwrite it")


def _tell(document: Document, threshold: float | None, written: Sequence[Path]) -> None:
    """What stands on standard error: rows at which the gate fired or that it could not judge, and where files are."""
    if threshold is not None:
        for comparison in document.stored:
            _tell_gate(comparison, f"--fail-if-slower {format_asked_percent(threshold)}")
    for path in written:
        _say(f"Written to {path}")


def _tell_gate(comparison: StoredComparison, asked: str) -> None:
    from pyperf_infer.reports.stored_view import interval_text, row_name
    from pyperf_infer.stored.gate import not_compared
    from pyperf_infer.units import format_ratio

    for row in comparison.rows:
        name = f"{row_name(comparison, row)} of {comparison.contender.name}"
        if row.gate == "fired":
            ratio = format_ratio(row.ratio or 0.0)
            within = f", though within the --margin of {format_asked_percent(comparison.margin)}"
            _say(
                f"{asked}: {name}: slower, {ratio}x {interval_text(row.interval)}, all of it beyond the limit"
                f"{within if row.verdict == 'same' else ''}"
            )
        elif row.gate == "undecided":
            _say(f"{asked} could not judge {name}: its interval {interval_text(row.interval)} reaches across the limit")
        elif row.gate == "not judged":
            refused = "it was not measured by the same method" if row.refused else None
            _say(f"{asked} could not judge {name}: {refused or row.reason or 'there is no interval'}")
    for one in not_compared(comparison.left_over, folder=comparison.baseline.folder):
        _say(f"{asked} could not judge {one.model} batch {one.batch_size} {one.backend}: {one.reason}")


def _say(text: str) -> None:
    from pyperf_infer.reports.escape import printable

    click.echo(printable(text), err=True)
