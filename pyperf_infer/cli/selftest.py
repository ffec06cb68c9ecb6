# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer selftest`: how often this tool is wrong, on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pyperf_infer.cli.carry_out import carry_out
from pyperf_infer.cli.output import Output, Report, results_options
from pyperf_infer.cli.parameters import Parsed, seconds
from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.cli.output import Arrays
    from pyperf_infer.results.schema import Document
    from pyperf_infer.selftest.job import SelfTestJob
    from pyperf_infer.selftest.plan import SelfTestPlan

_REPORT = Report(
    csv="pyperf_infer.reports.selftest_text:selftest_csv",
    markdown="pyperf_infer.reports.selftest_text:selftest_markdown",
    terminal="pyperf_infer.reports.selftest:render_selftest",
)
_TRIALS = click.IntRange(0, 100_000)
_PLANNED = ("aa", "power", "coverage", "precision", "processes", "trial_s", "process_s")


@click.command()
@click.option("--quick", is_flag=True, help="About a minute, with few trials: whether it works, and not how well.")
@click.option("--fresh", is_flag=True, help="Forget what earlier calls measured, which is kept for a day.")
@click.option("--aa", type=_TRIALS, help="Comparisons of identical work. [default: 300; 20 with --quick]")
@click.option("--power", type=_TRIALS, help="Comparisons at each slow-down. [default: 50; 5 with --quick]")
@click.option("--trial-s", type=Parsed("SECONDS", seconds), help="What each comparison takes. [default: 1]")
@click.option(
    "--processes", type=_TRIALS, help="Fresh processes, for the floor of compare. [default: 10; 5 with --quick]"
)
@click.option("--coverage", type=_TRIALS, hidden=True, help="Samples of each distribution.")
@click.option("--precision", type=_TRIALS, hidden=True, help="Measurements to 1%.")
@click.option("--process-s", type=Parsed("SECONDS", seconds), hidden=True, help="What each fresh process measures.")
@results_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def selftest(
    quick: bool, fresh: bool, quiet: bool, results_file: Path | None, results_format: Any, **asked: Any
) -> int:
    """Measure how often this tool is wrong on this machine, in at most eight minutes or so.

    Identical work is compared with itself, quiet and beside a busy neighbour, and with work that is 1, 2 and 5% slower;
    intervals are tried on made samples whose true value is known; fresh processes are compared. Leave the machine
    alone meanwhile. Ctrl-C keeps what there is, and the same command goes on from there.

    --results-file R.json also writes a page for people to read and publish, R.md.

    Exit codes: 0 done; 1 a figure lies beyond its bound; 2 usage; 3 a file that cannot be used; 5 the measurement
    failed; 130 interrupted, and what there is was kept.

    Example: pyperf-infer selftest --results-file selftest.json
    """
    from pyperf_infer.measure.phases import Phases

    output = PageOutput(results_file, results_format, report=_REPORT)
    phases = Phases()
    with phases.timed("import and check"):
        output.check()
        plan = _plan_of(quick, asked)
        from pyperf_infer.cli.selftest_progress import SelfTestBar
        from pyperf_infer.selftest.job import SelfTestJob

    bar = SelfTestBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
    job = SelfTestJob(plan, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases, fresh=fresh)
    _, code = carry_out(job, output, bar, rescue=False, words=_interrupted)
    return code


def _interrupted(job: SelfTestJob) -> str:
    if not job.has_any:
        return "Interrupted before anything was measured."
    return "Interrupted. " + (
        "The same command goes on from here." if job.can_go_on else "What there is could not be kept."
    )


def _plan_of(quick: bool, asked: dict[str, Any]) -> SelfTestPlan:
    """The usual numbers, or those of --quick, with what was asked for in their place."""
    from pyperf_infer.selftest.plan import QUICK, SelfTestPlan

    given = {name: asked[name] for name in _PLANNED if asked[name] is not None}
    return msgspec.structs.replace(QUICK if quick else SelfTestPlan(), **given)


@dataclass(frozen=True)
class PageOutput(Output):
    """Beside a JSON file, the page for people."""

    def check(self) -> None:
        """Tries both files.

        Raises:
            UsageError: the JSON file has the page's name.
            InputError: as `Output.check`.
        """
        super().check()
        if (page := self._page) is not None:
            from pyperf_infer.results.files import check_writable

            if page == self.file:
                raise UsageError(f"{page} is the name of the page beside the results; give them another, such as .json")
            check_writable(page)

    def save(self, document: Document, samples: Arrays = ()) -> list[Path]:
        written = super().save(document, samples)
        if (page := self._page) is not None:
            from pyperf_infer.results.files import write_text

            write_text(page, self.report.write("markdown", document))
            written.append(page)
        return written

    @property
    def _page(self) -> Path | None:
        return self.file.with_suffix(".md") if self.file is not None and self.format in (None, "json") else None
