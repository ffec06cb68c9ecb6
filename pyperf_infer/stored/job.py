# SPDX-License-Identifier: Apache-2.0
"""A whole `compare`: read the sides, pair their rows, judge them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer import __version__
from pyperf_infer.errors import InputError
from pyperf_infer.results import schema
from pyperf_infer.results.schema import Document, StoredComparison, StoredSide, utc_now
from pyperf_infer.stored.align import align
from pyperf_infer.stored.gate import gate_of, gate_row, not_compared
from pyperf_infer.stored.judge import judge
from pyperf_infer.stored.sources import read_sides
from pyperf_infer.stored.unlike import listed
from pyperf_infer.system.environment import collect
from pyperf_infer.units import format_asked_percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pyperf_infer.results.schema import Gate, StoredFile, StoredRow
    from pyperf_infer.stored.align import Alignment
    from pyperf_infer.stored.rows import Pool
    from pyperf_infer.stored.sources import Progress, Side

GATE_FIRED = 1


@dataclass(frozen=True)
class ComparePlan:
    """What is compared, and how it is judged."""

    paths: Sequence[Path]  # the baseline first; a file or a folder each
    margin: float = 0.01  # the relative difference that counts as none
    fail_if_slower: float | None = None  # 0.03 for 3%
    last: int = 1  # how many of a folder's newest rows of one subject and method are pooled
    force: bool = False  # compare what was measured by unlike methods


class CompareJob:
    """Carries the plan out. Nothing is measured, and nothing imported that measures."""

    def __init__(self, plan: ComparePlan, *, command: list[str]) -> None:
        self._plan = plan
        self._command = command
        self.comparisons: list[StoredComparison] = []
        self.gate: Gate | None = None

    def execute(self, progress: Progress) -> None:
        """Reads and judges. `progress` is called while a folder's files are looked at: how many, of how many.

        Raises:
            InputError: a path that is no result, nothing that is about the same, or nothing whose method matches.
            UsageError, KeyboardInterrupt: as they come.
        """
        plan = self._plan
        baseline, *contenders = read_sides(plan.paths, last=plan.last, progress=progress)
        alignments = [align(baseline, one) for one in contenders]
        shown = [_Shown(baseline, contender, found) for contender, found in zip(contenders, alignments, strict=True)]
        rows = judge(
            [
                (pair, one.baseline_files, one.contender_files)
                for one in shown
                for pair in one.alignment.pairs
            ],
            margin=plan.margin,
            force=plan.force,
        )  # fmt: skip
        if plan.fail_if_slower is not None:
            rows = [gate_row(one, plan.fail_if_slower) for one in rows]
            missing = [one for found in alignments for one in not_compared(found.left_over, folder=baseline.folder)]
            self.gate = gate_of(rows, len(missing), plan.fail_if_slower)
        if all(one.refused for one in rows):
            raise InputError(_all_refused(rows))
        left = iter(rows)
        for one in shown:
            self.comparisons.append(one.comparison([next(left) for _ in one.alignment.pairs], plan.margin))

    @property
    def refused(self) -> list[StoredRow]:
        """Rows whose methods do not match."""
        return [row for one in self.comparisons for row in one.rows if row.refused]

    @property
    def exit_code(self) -> int:
        """1 where the gate fired, 3 where rows were refused, else 0."""
        if self.gate is not None and self.gate.fired:
            return GATE_FIRED
        return InputError.exit_code if self.refused else 0

    def document(self) -> Document:
        """The comparison as a result document, without results of its own."""
        return Document(
            tool_version=__version__,
            command=self._command,
            created_utc=utc_now(),
            status="failed" if self.refused else "complete",
            environment=collect(),
            results=[],
            stored=list(self.comparisons),
            gate=self.gate,
            warnings=_once(
                warning for one in self.comparisons for warning in (*_warnings(one), *_two_limits(one, self.gate))
            ),
        )


class _Shown:
    """A baseline and one contender, with the files that their rows come from, numbered."""

    def __init__(self, baseline: Side, contender: Side, alignment: Alignment) -> None:
        self._sides = baseline, contender
        self.alignment = alignment
        self._files: tuple[dict[str, StoredFile], dict[str, StoredFile]] = ({}, {})

    def baseline_files(self, pool: Pool) -> list[int]:
        return _numbers(self._files[0], pool)

    def contender_files(self, pool: Pool) -> list[int]:
        return _numbers(self._files[1], pool)

    def comparison(self, rows: list[StoredRow], margin: float) -> StoredComparison:
        """After all of its rows were judged, which is when the files are known."""
        baseline, contender = (
            _stored_side(side, files.values()) for side, files in zip(self._sides, self._files, strict=True)
        )
        return StoredComparison(
            baseline=baseline, contender=contender, rows=rows, left_over=self.alignment.left_over, margin=margin
        )


def _numbers(files: dict[str, StoredFile], pool: Pool) -> list[int]:
    for row in pool:
        files.setdefault(row.file.path, row.file)
    order = list(files)
    return [order.index(row.file.path) for row in pool]


def _stored_side(side: Side, files: Iterable[StoredFile]) -> StoredSide:
    return StoredSide(
        name=side.name,
        folder=side.folder,
        files=list(files),
        looked_at=side.looked_at,
        skipped=side.skipped,
        skipped_because=side.skipped_because,
    )


def _all_refused(rows: Sequence[StoredRow]) -> str:
    reasons = dict.fromkeys(f"{row.model} on {row.contender.backend}: {listed(row.refused)}" for row in rows)
    return (
        f"These results were measured by unlike methods, so that their times are not comparable. {'. '.join(reasons)}. "
        "Measure again by the same method, or give --force to compare all the same."
    )


def _once(warnings: Iterable[schema.Warning]) -> list[schema.Warning]:
    """The baseline's stand in every comparison with it."""
    return list({one.message: one for one in warnings}.values())


def _two_limits(comparison: StoredComparison, gate: Gate | None) -> Iterator[schema.Warning]:
    if gate is not None and any(row.gate == "fired" and row.verdict == "same" for row in comparison.rows):
        limit, margin = format_asked_percent(gate.threshold), format_asked_percent(comparison.margin)
        yield schema.Warning(
            code="margin_beyond_gate",
            message=f"The gate fired at rows that count as the same: its limit is {limit}, and the margin {margin}.",
            remedy=f"Give a --margin of at most {limit} for both to say one thing.",
        )


def _warnings(comparison: StoredComparison) -> Iterator[schema.Warning]:
    for name, side in (("baseline", comparison.baseline), ("contender", comparison.contender)):
        if side.skipped:
            among = "" if side.skipped <= len(side.skipped_because) else " Among them:"
            yield schema.Warning(
                code="files_skipped",
                message=f"{side.skipped} of {side.looked_at} .json files of the {name} {side.name!r} were skipped."
                f"{among} {'; '.join(side.skipped_because)}.",
                remedy="Nothing is to be done where they are meant to lie there.",
            )
        for file in side.files:
            if file.status == "interrupted":
                yield schema.Warning(
                    code="interrupted",
                    message=f"{file.path!r} was interrupted: it holds the rows that were done by then.",
                    remedy="Measure again for the others.",
                )
    if {one.sha256 for one in comparison.baseline.files} & {one.sha256 for one in comparison.contender.files}:
        yield schema.Warning(
            code="same_content",
            message="A file of the baseline and one of the contender hold the same bytes: a measurement was compared "
            "with itself.",
            remedy="Name the results of two measurements.",
        )
