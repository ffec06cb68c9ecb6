# SPDX-License-Identifier: Apache-2.0
"""Where results go: a table on standard output, files, or both. Flags that every command with results has."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document

Format = Literal["json", "csv", "markdown"]
Arrays = Sequence[NDArray[np.int64] | None]


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command."""
    for option in reversed(
        (
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
            click.option(
                "--export-samples",
                type=click.Path(path_type=Path),
                help="Write every sample, in nanoseconds, to this CSV file.",
            ),
        )
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Output:
    """What those flags ask for."""

    file: Path | None
    format: Format | None
    samples_file: Path | None

    def check(self) -> None:
        """Tries to write now what will be written later.

        Raises:
            InputError: a folder that is not there or read-only, a full disk.
        """
        from pyperf_infer.results.files import check_writable

        for path in (self.file, self.samples_file):
            if path is not None:
                check_writable(path)

    def save(self, document: Document, samples: Arrays) -> list[Path]:
        """Writes the files that were asked for. Ctrl-C waits until they are whole.

        Raises:
            InputError: the disk has become full, or the folder has gone.
        """
        from pyperf_infer.reports.csv import run_csv
        from pyperf_infer.reports.markdown import run_markdown
        from pyperf_infer.results.export import export_samples
        from pyperf_infer.results.files import write_document, write_text

        written = []
        with interrupts_held():
            if self.file is not None:
                if self.format == "csv":
                    write_text(self.file, run_csv(document))
                elif self.format == "markdown":
                    write_text(self.file, run_markdown(document))
                else:
                    write_document(document, self.file, samples)
                written.append(self.file)
            if self.samples_file is not None:
                export_samples(document, samples, self.samples_file)
                written.append(self.samples_file)
        return written

    def show(self, document: Document, samples: Arrays) -> None:
        """Prints the table, or the format that was asked for where there is no file to hold it."""
        if self.file is not None or self.format is None:
            from rich.console import Console

            from pyperf_infer.reports.terminal import render_run

            render_run(document, Console())
        elif self.format == "csv":
            from pyperf_infer.reports.csv import run_csv

            sys.stdout.write(run_csv(document))
        elif self.format == "markdown":
            from pyperf_infer.reports.markdown import run_markdown

            sys.stdout.write(run_markdown(document))
        else:
            from pyperf_infer.results.files import document_text

            sys.stdout.write(document_text(document, samples))


def rescue_file() -> Path:
    """Where an interrupted run is saved that was not given a results file."""
    from datetime import UTC, datetime

    import platformdirs

    folder = platformdirs.user_state_path("pyperf-infer") / "interrupted"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C has no effect inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
