# SPDX-License-Identifier: Apache-2.0
"""A whole run in several fresh processes, one after the other. What they found stays at hand when it is stopped."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from pyperf_infer import __version__
from pyperf_infer.backends.registry import names_for
from pyperf_infer.errors import InputError
from pyperf_infer.measure.entry import failed_result, unloaded_subject
from pyperf_infer.measure.merge_comparisons import merged_comparisons
from pyperf_infer.measure.merge_rows import MergedRow, Ran, merged_rows
from pyperf_infer.measure.merge_warnings import merged_warnings
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.one_process import MODULE, Outcome, Stopped, run_process
from pyperf_infer.measure.phases import Phases
from pyperf_infer.measure.process_messages import PLAN_FILE, document_name
from pyperf_infer.measure.rows import MakesRows
from pyperf_infer.models.catalog import resolve
from pyperf_infer.results.schema import Comparison, Document, Result, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.environment import collect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import ModelSource

    Columns = Mapping[str, NDArray[np.int64]]

FEWEST = 5  # a side, for `compare` to know how far processes lie apart
_GIVE_UP_AFTER = 3  # processes that measured nothing: the next would neither
_DONE, _BAD_VERDICT = 0, 1


class _Found(NamedTuple):
    rows: list[MergedRow]
    comparisons: list[Comparison]
    warnings: list[Notice]


class ProcessesRun(MakesRows):
    """As measure.run.Run, in `processes` fresh processes: `document` works at any moment, also after Ctrl-C.

    The first process converts and compiles; the others find that in the cache. `module` is the program of a process.
    """

    def __init__(
        self,
        plan: RunPlan,
        processes: int,
        *,
        command: list[str],
        observer: Observer | None = None,
        phases: Phases | None = None,
        module: str = MODULE,
    ) -> None:
        self.plan = plan
        self.phases = phases or Phases()
        self._asked = processes
        self._command = command
        self._observer = observer or Observer()
        self._module = module
        self._created_utc = utc_now()
        self._sources: list[ModelSource] = []
        self._outcomes: list[Outcome] = []
        self._found: _Found | None = None  # of the outcomes, until there is one more

    @property
    def results(self) -> list[Result]:
        return [one.row for one in self._merged.rows]

    @property
    def samples(self) -> list[Columns | None]:
        return [one.samples for one in self._merged.rows]

    @property
    def failures(self) -> list[str]:
        """Of the rows, and of processes and rows of processes that others made up for."""
        of_rows = [one.message for row in self.results for one in row.warnings if one.code == "process_failed"]
        lost = [f"{one.error}" for one in self._outcomes if one.error is not None and not _ends_all(one)]
        return [*super().failures, *lost, *of_rows]

    def execute(self) -> None:
        """Runs everything. A process that fails or dies is told of in the results, and the others count.

        Raises:
            InputError, UsageError, BackendError: what `run` would refuse before it measures anything; a temporary
            folder that cannot be written, with what was found until then kept.
            KeyboardInterrupt: Ctrl-C. The process at work has ended then, and what it had found is kept.
        """
        self._sources = [resolve(name) for name in self.plan.models]
        with _folder(self.plan) as folder:
            for number in range(1, self._asked + 1):
                self._observer.stage(f"process {number} of {self._asked}")
                try:
                    outcome = self._timed(folder, number)
                except Stopped as stopped:
                    if stopped.outcome.document is not None:
                        self._keep(stopped.outcome)
                    raise
                self._keep(outcome)
                for file in folder.glob(f"{Path(document_name(number)).stem}.*"):
                    file.unlink(missing_ok=True)
                if outcome.error is not None:
                    self._observer.failed(outcome.error)
                    if _ends_all(outcome):
                        raise outcome.error
                if number >= _GIVE_UP_AFTER and not self._measured_any:
                    break

    def document(self, status: str) -> Document:
        """Everything found so far; "complete" becomes "failed" where a process failed."""
        documents = [one.document for one in self._outcomes if one.document is not None]
        failed = len(documents) < len(self._outcomes) or any(one.status == "failed" for one in documents)
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status="failed" if status == "complete" and failed else status,  # type: ignore[arg-type]
            environment=documents[0].environment if documents else collect(),
            results=self.results,
            comparisons=self._merged.comparisons,
            warnings=self._merged.warnings,
            phases=self.phases.listed(),
        )

    @property
    def exit_code(self) -> int:
        """That of the first process that failed; else 1 where any has a bad verdict, as measure.run has it."""
        codes = [one.exit_code for one in self._outcomes]
        failed = next((one for one in codes if one not in (_DONE, _BAD_VERDICT)), None)
        return failed if failed is not None else max(codes, default=_DONE)

    def _timed(self, folder: Path, number: int) -> Outcome:
        """Adds what the process's own phases took, and what is left for its start and end."""
        begin = perf_counter()
        outcome: Outcome | None = None
        try:
            outcome = run_process(folder, number, self._asked, self._observer, module=self._module)
        except Stopped as stopped:
            outcome = stopped.outcome
            raise
        finally:
            left_s = perf_counter() - begin
            for phase in outcome.document.phases if outcome and outcome.document else ():
                self.phases.add(phase.name, phase.seconds)
                left_s -= phase.seconds
            self.phases.add("start and end processes", max(0.0, left_s))
        return outcome

    def _keep(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._found = None

    @property
    def _measured_any(self) -> bool:
        documents = [one.document for one in self._outcomes if one.document is not None]
        return any(row.summary.timing is not None for one in documents for row in one.results)

    @property
    def _merged(self) -> _Found:
        if self._found is None:
            self._found = self._merge()
        return self._found

    def _merge(self) -> _Found:
        ran = [
            [
                Ran(process=outcome.number, index=index, row=row, samples=samples)
                for index, (row, samples) in enumerate(zip(outcome.document.results, outcome.samples, strict=True))
            ]
            for outcome in self._outcomes
            if outcome.document is not None
        ]
        rows = merged_rows(ran, self._asked, self.plan)
        lost = [one for one in self._outcomes if one.document is None]
        if not rows and lost:
            rows = list(self._never_measured(lost[0]))
        numbers = {place: number for number, one in enumerate(rows) for place in one.of}
        compared = [
            [
                replace(
                    comparison,
                    baseline_row=numbers.get((outcome.number, _index(comparison.baseline_row))),
                    contender_row=numbers.get((outcome.number, _index(comparison.contender_row))),
                )
                for comparison in outcome.document.comparisons
            ]
            for outcome in self._outcomes
            if outcome.document is not None
        ]
        return _Found(rows, merged_comparisons(compared, self.plan), list(self._warnings(rows)))

    def _warnings(self, rows: list[MergedRow]) -> Iterator[Notice]:
        for outcome in self._outcomes:
            if outcome.error is not None:
                yield Notice(
                    code="process_lost",
                    message=f"{outcome.error}"[:1].upper() + f"{outcome.error}"[1:],
                    remedy="What is shown is from the other processes. Run it again; with --debug the process's own "
                    "words are seen.",
                )
        yield from merged_warnings([one.document.warnings for one in self._outcomes if one.document is not None])
        if _GIVE_UP_AFTER <= len(self._outcomes) < self._asked and not self._measured_any:
            yield Notice(
                code="gave_up",
                message=f"{len(self._outcomes)} processes measured nothing; the other "
                f"{self._asked - len(self._outcomes)} were not started.",
                remedy="See why they failed.",
            )
        if self._asked < FEWEST:
            yield Notice(
                code="few_processes",
                message=f"{self._asked} processes say little of how far processes lie apart; pyperf-infer compare asks "
                f"for {FEWEST} a side.",
                remedy=f"Give --processes {FEWEST} or more.",
            )
        yield from _unlike(rows, len(self._outcomes))

    def _never_measured(self, lost: Outcome) -> Iterator[MergedRow]:
        """Rows that say why there is nothing, of what was asked for."""
        assert lost.error is not None  # noqa: S101  an outcome without a document has one
        names = self.plan.backends or names_for(self.plan.device, everything=False)
        if not self.plan.backends and all(source.source == "onnx" for source in self._sources):
            names = ("onnxruntime",)
        for source in self._sources:
            for batch in self.plan.batch_sizes:
                subject = unloaded_subject(source.name, source.source, self.plan, max(1, batch or 1))
                for name in names:
                    row = failed_result(subject, name, self.plan, lost.error, lost.exit_code)
                    yield MergedRow(row=row, samples=None, of=())


def _ends_all(outcome: Outcome) -> bool:
    """Whether the next process would fail likewise, so that its error is the run's."""
    return outcome.unsaved or outcome.kind in ("InputError", "UsageError", "BackendError")


def _index(row: int | None) -> int:
    return -1 if row is None else row


def _unlike(rows: list[MergedRow], processes: int) -> Iterator[Notice]:
    """Where one name stands for as many things as there are processes, nothing was repeated."""
    times: dict[tuple[str, int, str, str], list[MergedRow]] = {}
    for one in rows:
        if one.row.processes is not None:
            subject = one.row.subject
            key = subject.model, subject.batch_size, subject.precision, one.row.method.backend
            times.setdefault(key, []).append(one)
    for (model, batch, _, backend), listed in times.items():
        once = [one for one in listed if len(one.of) < processes]
        if len(once) > 1:
            yield Notice(
                code="processes_unlike",
                message=f"{model}, batch {batch}, {backend}: the processes did not run the same thing (weights, shapes "
                f"or provider), so that it has {len(once)} rows.",
                remedy="Seed what the model draws itself.",
            )


@contextmanager
def _folder(plan: RunPlan) -> Iterator[Path]:
    """A folder of this user's own with the plan in it.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(f"no temporary folder can be made: {error}. Set TMPDIR to a folder with room.") from error
    with folder as name:
        try:
            (Path(name) / PLAN_FILE).write_bytes(pickle.dumps(plan))
        except OSError as error:
            message = f"'{name}' cannot be written: {error.strerror}. Set TMPDIR to a folder with room."
            raise InputError(message) from error
        yield Path(name)
