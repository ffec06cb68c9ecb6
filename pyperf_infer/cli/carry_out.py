# SPDX-License-Identifier: Apache-2.0
"""Carries out the job of a command that measures: Ctrl-C, the files, the table, what is said of it, the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import click

from pyperf_infer.cli.gate import reader_may_go
from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.output import Arrays, Output, save_rescue
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyperf_infer.results.schema import Document

INTERRUPTED = 130


class Job(Protocol):
    """What a command does. Everything but `execute` works at any moment, also after an error or Ctrl-C."""

    def execute(self) -> None: ...

    def document(self, status: Any) -> Document:
        """All that was found so far; `status` is "complete", "interrupted" or "failed"."""
        ...

    @property
    def has_any(self) -> bool:
        """Whether there is something to lose."""
        ...

    @property
    def samples(self) -> Arrays:
        """Of each result; empty where the document holds them, or there are none."""
        ...

    @property
    def failures(self) -> Sequence[str]:
        """A message for each part that failed while others went on."""
        ...

    @property
    def exit_code(self) -> int: ...


Words = Callable[[Any], str]  # of a job that was interrupted: what is said on standard error


def interrupted_words(job: Job) -> str:
    return "Interrupted." if job.has_any else "Interrupted before anything was measured."


def carry_out(
    job: Job, output: Output, bar: AbstractContextManager[Any], *, rescue: bool = True, words: Words = interrupted_words
) -> tuple[str, int]:
    """Executes the job, then writes and shows what it found; the document's status and the exit code.

    From here on there may be something to lose: Ctrl-C stops the job, and nothing that comes after it. Results of an
    interrupted job without a results file, or that a full disk refused, are saved elsewhere unless `rescue` is False.

    Raises:
        What the job raises, after what it had found was written and shown. InputError: a file could not be written.
    """
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
                if job.has_any:
                    _finish(job, output, "failed", rescue, words)
                raise
            status = "interrupted"
        INTERRUPTS.answer()
        _finish(job, output, status, rescue, words)
    return status, INTERRUPTED if status == "interrupted" else job.exit_code


def _finish(job: Job, output: Output, status: str, rescue: bool, words: Words) -> None:
    document = job.document(status)
    written: list[Path] = []
    failure: InputError | None = None
    try:
        written = output.save(document, job.samples)
    except InputError as error:  # the disk has become full while measuring
        failure = error
    if rescue and job.has_any and (failure or (status == "interrupted" and output.file is None)):
        try:
            written.append(save_rescue(document, job.samples))
        except InputError as error:
            failure = failure or error
    try:
        with reader_may_go(sys.stdout):
            output.show(document, job.samples)
    finally:
        with reader_may_go(sys.stderr):
            _tell(job, status, written, words, shown=output.shows_table and sys.stdout.isatty())
    if failure is not None:
        raise failure


def _tell(job: Job, status: str, written: list[Path], words: Words, *, shown: bool) -> None:
    """What stands on standard error: failures where nobody sees the table, and where the files are."""
    from pyperf_infer.reports.escape import printable

    for message in () if shown else dict.fromkeys(job.failures):
        click.echo(f"Error: {printable(message)}", err=True)
    if status == "interrupted":
        click.echo(words(job), err=True)
    for path in written:
        click.echo(f"Written to {printable(str(path))}", err=True)
