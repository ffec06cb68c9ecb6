# SPDX-License-Identifier: Apache-2.0
"""What every job that measures rows in this process keeps, and the document of it at any moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer import __version__
from pyperf_infer.measure.case import Surroundings
from pyperf_infer.measure.gpu import GpuSide
from pyperf_infer.measure.notices import first_line
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.phases import Phases
from pyperf_infer.measure.rows import MakesRows
from pyperf_infer.results.schema import Comparison, Document, Result, utc_now
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.environment import collect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.measure.case import Contestant
    from pyperf_infer.measure.plan import RunPlan

    Columns = Mapping[str, NDArray[np.int64]]  # by quantity, the judged one first


class MeasuresRows(MakesRows):
    """One that measures them in this process. `document` works at any moment, also after an error or Ctrl-C."""

    def __init__(self, plan: RunPlan, *, command: list[str], observer: Observer | None, phases: Phases | None) -> None:
        self.plan = plan
        self.phases = phases or Phases()
        # A row and its samples are kept in one step: Ctrl-C cannot come between the two.
        self._rows: list[tuple[Result, Columns | None]] = []
        self._interleaving_failed = False
        self._comparisons: list[Comparison] = []
        self._warnings: list[Notice] = []
        self._command = command
        self._created_utc = utc_now()
        with self.phases.timed("look at the machine"):
            environment = collect()
        self._around = Surroundings(
            plan=plan, environment=environment, phases=self.phases, observer=observer or Observer()
        )

    @property
    def results(self) -> list[Result]:
        return [result for result, _ in self._rows]

    @property
    def samples(self) -> list[Columns | None]:
        return [samples for _, samples in self._rows]

    def document(self, status: str) -> Document:
        """Everything found so far; `status` is "complete", "interrupted" or "failed"."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=self._created_utc,
            status=status,  # type: ignore[arg-type]
            environment=self._around.environment,
            results=self.results,
            comparisons=self._comparisons,
            warnings=self._warnings,
            phases=self.phases.listed(),
        )

    @contextmanager
    def _gpu_watched(self) -> Iterator[None]:
        """Looks at the GPU that the plan asks for, and watches it meanwhile; does nothing where that is the CPU."""
        index = self.plan.options.gpu_index
        if index is None:
            yield
            return
        with self.phases.timed("look at the GPU"):
            side = GpuSide(index, poll=self.plan.poll_gpu)
        self._around = replace(self._around, gpu=side)
        self._around.environment.gpus = [side.described]
        with side.watched():
            yield

    def _close(self, one: Contestant) -> None:
        try:
            one.prepared.close()
        except Exception as error:  # after a lost device nothing can be freed; the rows matter more
            self._around.observer.failed(error)

    def _comparison_failed(self, error: Exception, title: str, names: str) -> None:
        """The rows stay as they are; the document says what failed."""
        self._around.observer.failed(error)
        self._interleaving_failed = True
        self._warnings.append(
            Notice(
                code="interleaving_failed",
                message=f"{title}: timing {names} in turn failed: {type(error).__name__}: {first_line(error)}",
                remedy="The rows of each running alone stand; run it again for the comparison.",
            )
        )
