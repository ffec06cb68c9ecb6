# SPDX-License-Identifier: Apache-2.0
"""Where results go: a table on standard output, files, or both. Flags that every command with results has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np
from numpy.typing import NDArray

from pyperf_infer.cli.gate import reader_may_go
from pyperf_infer.cli.parameters import apply_options
from pyperf_infer.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.results.schema import Document

Format = Literal["json", "csv", "markdown"]
Arrays = Sequence[Mapping[str, NDArray[np.int64]] | None]  # of each result, by quantity


def results_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --results-file and --results-format to a command."""
    options = (
        click.option(
            "--results-file",
            type=click.Path(path_type=Path),
            help="Also write the results to this file; whether that works is tried before anything is measured.",
        ),
        click.option(
            "--results-format",
            type=click.Choice(["json", "csv", "markdown"]),
            help="Of --results-file (default json); without a file, print this instead of the table.",
        ),
    )
    decorated: Callable[..., Any] = apply_options(options, command)
    return decorated


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds those and --export-samples."""
    samples = click.option(
        "--export-samples",
        type=click.Path(path_type=Path),
        help="Write every sample, in nanoseconds, to this CSV file.",
    )
    return results_options(samples(command))


@dataclass(frozen=True)
class Report:
    """The functions that write a command's document, as "module:function": reports are imported when they are written.

    `csv` and `markdown` return a text; `terminal` takes a console to print on, and the `options`.
    """

    csv: str
    markdown: str
    terminal: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def write(self, form: Literal["csv", "markdown"], document: Document) -> str:
        text: str = _function(self.csv if form == "csv" else self.markdown)(document)
        return text

    def show(self, document: Document) -> None:
        from rich.console import Console

        _function(self.terminal)(document, Console(), **self.options)


RUN = Report(
    csv="pyperf_infer.reports.csv:run_csv",
    markdown="pyperf_infer.reports.markdown:run_markdown",
    terminal="pyperf_infer.reports.terminal:render_run",
)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


@dataclass(frozen=True)
class Output:
    """What those flags ask for."""

    file: Path | None
    format: Format | None
    samples_file: Path | None = None
    report: Report = RUN

    def check(self) -> None:
        """Tries to write now what will be written later.

        Raises:
            InputError: a folder that is not there or read-only, a full disk.
            UsageError: one file for two things.
        """
        from pyperf_infer.results.files import check_writable

        if self.file and self.samples_file and self.file.resolve() == self.samples_file.resolve():
            raise UsageError(f"--results-file and --export-samples name the same file, {self.file}")
        for path in (self.file, self.samples_file):
            if path is not None:
                check_writable(path)

    def save(self, document: Document, samples: Arrays = ()) -> list[Path]:
        """Writes the files that were asked for. A samples file is left out where there are no samples.

        Raises:
            InputError: the disk has become full, or the folder has gone.
        """
        from pyperf_infer.results.export import export_samples
        from pyperf_infer.results.files import write_document, write_text

        written = []
        if self.file is not None:
            if self.format == "csv" or self.format == "markdown":
                write_text(self.file, self.report.write(self.format, document))
            else:
                write_document(document, self.file, samples)
            written.append(self.file)
        if self.samples_file is not None and any(one is not None for one in samples):
            export_samples(document, samples, self.samples_file)
            written.append(self.samples_file)
        return written

    @property
    def shows_table(self) -> bool:
        return self.file is not None or self.format is None

    def show(self, document: Document, samples: Arrays = ()) -> None:
        """Prints the table, or the format that was asked for where there is no file to hold it."""
        if self.shows_table:
            self.report.show(document)
        elif self.format == "csv" or self.format == "markdown":
            sys.stdout.write(self.report.write(self.format, document))
        else:
            from pyperf_infer.results.files import document_text

            sys.stdout.write(document_text(document, samples))


def deliver(
    path: Path | None, form: Format | None, text: Callable[[Format], str], render: Callable[[Console], None]
) -> None:
    """What is no document: its `text` to the file (JSON unless another form was asked for) and `render` to the
    terminal, or the form that was asked for in its place where there is no file.

    Raises:
        InputError: `path` cannot be written.
    """
    if path is not None:
        from pyperf_infer.results.files import write_text

        write_text(path, text(form or "json"))
        click.echo(f"Written to {path}", err=True)
    with reader_may_go(sys.stdout):
        if path is None and form is not None:
            sys.stdout.write(text(form))
        else:
            from rich.console import Console

            render(Console())


def save_rescue(document: Document, samples: Arrays = ()) -> Path:
    """Saves results that have no other place: of an interrupted run without a results file, or of a disk that filled.

    Raises:
        InputError: that folder cannot be written either.
    """
    from pyperf_infer.results.files import write_document
    from pyperf_infer.system.state_folder import state_folder

    folder = state_folder() / "interrupted"
    path = folder / f"{document.created_utc.replace(':', '').replace('-', '')}-{os.getpid()}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}") from error
    write_document(document, path, samples)
    return path
