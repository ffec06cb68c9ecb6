# SPDX-License-Identifier: Apache-2.0
"""A row of a stored document, with all that comparing it needs; and several of them, taken as one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from pyperf_infer.stored.unlike import binding_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyperf_infer.results.schema import Environment, QuantityBlock, Result, StoredFile, Subject
    from pyperf_infer.stored.unlike import Fields

Quantity = Literal["latency", "period", "gpu"]
Placement = tuple[str, str | None, str]
SubjectKey = tuple[str, str | None, str, int, tuple[tuple[str, tuple[int, ...]], ...]]

# What makes two subjects the same, in the order in which a difference is told.
SUBJECT_FIELDS = ("model", "weights", "precision", "batch_size", "shapes")


# A femtosecond and thirty years: what lies beyond was not measured, and its ratios are no numbers.
_SHORTEST_MS, _LONGEST_MS = 1e-12, 1e12


@dataclass(frozen=True, eq=False)
class Row:
    """One result and where it stands. Its samples are gone."""

    result: Result
    file: StoredFile
    environment: Environment

    @property
    def block(self) -> QuantityBlock:
        """What the mode judges. Only for rows that are `usable`."""
        block = self.result.summary.timing
        if block is None:
            raise ValueError("a row without a time cannot be compared")
        return block


@dataclass(frozen=True, eq=False)
class Pool:
    """One row, or the newest of several of one subject and method, which count as so many processes."""

    rows: tuple[Row, ...]  # the newest first

    @property
    def result(self) -> Result:
        return self.rows[0].result

    @property
    def subject(self) -> SubjectKey:
        return subject_key(self.result.subject)

    @property
    def placement(self) -> Placement:
        return placement(self.result)

    @property
    def binding(self) -> Fields:
        return binding_fields(self.result)

    @property
    def medians_ms(self) -> list[float]:
        """One of each process."""
        return [one for row in self.rows for one in _medians_of(row.result, row.block)]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def usable(result: Result) -> bool:
    """Whether it has a time that a ratio can be made of."""
    return why_unusable(result) is None


def why_unusable(result: Result) -> str | None:
    """Why no ratio can be made of it; None where one can."""
    timing, integrity = result.summary.timing, result.integrity
    if result.error is not None:
        return f"failed: {result.error.message}"
    if timing is None or timing.p50_ms <= 0:
        return "it holds no time above 0"
    for one in _medians_of(result, timing):
        if not _SHORTEST_MS <= one <= _LONGEST_MS:
            return f"a median of {one:.3g} ms is no time"
    if integrity is not None and integrity.status == "impossible":
        return f"its time is impossible: {integrity.reason}"
    return None


def quantity_of(result: Result) -> Quantity:
    """Which quantity its p50 is of."""
    summary = result.summary
    return "latency" if summary.latency is not None else "period" if summary.period is not None else "gpu"


def subject_key(subject: Subject) -> SubjectKey:
    """Equal where the same was timed."""
    shapes = tuple(sorted((name, tuple(shape)) for name, shape in subject.shapes.items()))
    weights = subject.weights.sha256 if subject.weights else None
    return model_key(subject), weights, subject.precision, subject.batch_size, shapes


def model_key(subject: Subject) -> str:
    """The model's name; that of an .onnx file without its folder, as the hash beside it is that of all its bytes.

    That of another model is of its tensors, and two .yaml files of unlike layers may have the same ones.
    """
    return PurePath(subject.model).name if subject.source == "onnx" else subject.model


def placement(result: Result) -> Placement:
    """Backend, provider, and the kind of device: which of several GPUs ran it does not make a row another."""
    method = result.method
    return method.backend, method.provider, method.device.split(":")[0]


def _medians_of(result: Result, block: QuantityBlock) -> list[float]:
    processes = result.processes
    return [one.p50_ms for one in processes.runs] if processes and processes.runs else [block.p50_ms]
