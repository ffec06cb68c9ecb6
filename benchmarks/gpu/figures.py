# SPDX-License-Identifier: Apache-2.0
"""What a row of the GPU proof found: figures with their bounds, and what becomes of them. Standard library alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

# pass, fail: a bound was held against it. shown: there is no bound. not yet: it could not be had, with the reason.
FigureStatus = Literal["pass", "fail", "shown", "not yet"]
# left: its turn has not come; the next call with --resume runs it. not run: a dry run, which runs nothing.
RowStatus = Literal["pass", "fail", "not yet", "left", "not run"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number, or one word, with the bound it is held against. `value` is None where it could not be had."""

    name: str
    value: float | str | None
    unit: str = ""
    bound: str = ""  # as it is printed; empty where there is none
    status: FigureStatus
    spread: tuple[float, float] | None = None
    spread_of: str = ""  # what `spread` is: "quartiles", "95% interval"
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None or self.status == "not yet") and not self.reason:
            raise ValueError(f"the figure {self.name!r} is not there and says no reason")
        if self.status in ("pass", "fail") and not self.bound:
            raise ValueError(f"the figure {self.name!r} is judged and says no bound")

    @property
    def text(self) -> str:
        """The value with its unit and spread."""
        if self.value is None:
            return "none"
        if isinstance(self.value, str):
            return self.value
        unit = f" {self.unit}" if self.unit else ""
        if self.spread is None:
            return f"{self.value:,.4g}{unit}"
        low, high = self.spread
        return f"{self.value:,.4g}{unit} ({self.spread_of} {low:,.4g} to {high:,.4g})"

    def __str__(self) -> str:
        word = {"pass": "pass", "fail": "FAIL", "shown": "    ", "not yet": "none"}[self.status]
        parts = [f"{word}  {self.name}: {self.text}", self.bound, self.reason]
        return "; ".join(part for part in parts if part)


def at_most(name: str, value: float, bound: float, unit: str, **more: Any) -> Figure:
    """A figure that passes up to its bound. A value that is no number fails."""
    return _judged(name, value, unit, f"at most {bound:.4g} {unit}".rstrip(), value <= bound, more)


def at_least(name: str, value: float, bound: float, unit: str, **more: Any) -> Figure:
    """A figure that passes from its bound on. A value that is no number fails."""
    return _judged(name, value, unit, f"at least {bound:.4g} {unit}".rstrip(), value >= bound, more)


def equals(name: str, value: str, wanted: str, **more: Any) -> Figure:
    """A word that passes where it is the one that is wanted."""
    return Figure(name=name, value=value, bound=wanted, status="pass" if value == wanted else "fail", **more)


def shown(name: str, value: float | str, unit: str = "", **more: Any) -> Figure:
    """A figure without a bound."""
    return Figure(name=name, value=value, unit=unit, status="shown", **more)


def not_yet(name: str, reason: str) -> Figure:
    """A figure that could not be had, since a part has not landed or a package is missing."""
    return Figure(name=name, value=None, status="not yet", reason=reason)


def failed(name: str, reason: str, bound: str = "runs to its end") -> Figure:
    """A figure that should have been there."""
    return Figure(name=name, value=None, bound=bound, status="fail", reason=reason)


def status_of(figures: Sequence[Figure]) -> RowStatus:
    """Of a row: fail where one figure fails; pass where one passed, or one without a bound is there; else not yet.

    A row without any figure has failed: it was run and shows nothing.
    """
    statuses = {figure.status for figure in figures}
    if not statuses or "fail" in statuses:
        return "fail"
    return "pass" if statuses & {"pass", "shown"} else "not yet"


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """A row of the page."""

    name: str
    what: str
    status: RowStatus
    figures: tuple[Figure, ...] = ()
    lines: tuple[str, ...] = field(default=(), repr=False)  # what it printed for people
    reason: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.status in ("fail", "not yet") and not (self.reason or self.figures):
            raise ValueError(f"the row {self.name!r} is {self.status!r} and says no reason")

    @property
    def missing(self) -> int:
        """Figures that could not be had. They leave the status as it is, and are to be told beside it."""
        return sum(figure.status == "not yet" for figure in self.figures)

    @property
    def missing_text(self) -> str:
        """To stand behind the status: " (4 figures not yet)", or nothing."""
        return f" ({_count(self.missing, 'figure')} not yet)" if self.missing and self.status != "not yet" else ""


def _judged(name: str, value: float, unit: str, bound: str, holds: bool, more: Mapping[str, Any]) -> Figure:
    if not math.isfinite(value):  # JSON knows no such number
        return failed(name, f"the value is {value}", bound)
    return Figure(name=name, value=value, unit=unit, bound=bound, status="pass" if holds else "fail", **more)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_Struct = TypeVar("_Struct", Figure, RowResult)


def to_json(row: RowResult) -> dict[str, object]:
    """Plain values; `row_from_json` takes them back."""
    return asdict(row)


def row_from_json(values: Mapping[str, object]) -> RowResult:
    """A row as `to_json` wrote it. Raises ValueError where it is another thing."""
    return _made(RowResult, {**values, "figures": tuple(map(figure_from_json, _list(values, "figures")))})


def figure_from_json(values: object) -> Figure:
    """A figure as `to_json` wrote it. Raises ValueError where it is another thing."""
    if not isinstance(values, Mapping):
        raise ValueError(f"a figure is an object, and {values!r} is none")
    return _made(Figure, values)


def _made(kind: type[_Struct], values: Mapping[str, object]) -> _Struct:
    known = {one.name for one in fields(kind)}
    arguments = {name: _tuples(value) for name, value in values.items() if name in known}
    try:
        made: _Struct = cast("Any", kind)(**arguments)
    except TypeError as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error
    return made


def _tuples(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _list(values: Mapping[str, object], name: str) -> list[object]:
    found = values.get(name, [])
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"{name} is a list, and {found!r} is none")
    return list(found)
