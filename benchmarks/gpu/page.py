# SPDX-License-Identifier: Apache-2.0
"""The page of a proof: one JSON file, from which a later call goes on, and the same as Markdown. Standard library only.

The files are dated, and a run never replaces another: failures stay in.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu.figures import Figure, RowResult, row_from_json, to_json

if TYPE_CHECKING:
    from gpu.plan import Mode, PlannedRow

KIND = "pyperf-infer gpu proof"
SCHEMA = 1
DONE = ("pass", "fail", "not yet")


class PageError(Exception):
    """A page that cannot be gone on with, and why."""


@dataclass
class Page:
    """What is known so far. `machine` is plain values, for people."""

    mode: Mode
    created_utc: str
    device: str  # name of the GPU; "dry run" where there was none
    source: str  # of what was built: a hash of the sources
    machine: dict[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)  # begin and seconds of each call of run.sh
    rows: list[RowResult] = field(default_factory=list)

    @classmethod
    def of_plan(cls, mode: Mode, plan: Sequence[PlannedRow], *, device: str, source: str) -> Page:
        rows = [RowResult(name=row.name, what=row.what, status="left") for row in plan]
        return cls(mode, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", device, source, rows=rows)

    def set(self, row: RowResult) -> None:
        """Puts a row in the place of that of its name; a new one goes first."""
        for index, known in enumerate(self.rows):
            if known.name == row.name:
                self.rows[index] = row
                return
        self.rows.insert(0, row)

    def dry(self) -> None:
        """Says of every row that nothing was run."""
        self.rows = [replace(row, status="not run") for row in self.rows]

    @property
    def left(self) -> list[str]:
        return [row.name for row in self.rows if row.status == "left"]

    @property
    def failed(self) -> list[str]:
        return [row.name for row in self.rows if row.status == "fail"]


def new_stem(folder: Path, page: Page) -> Path:
    """A file name without its ending that nothing has yet: DATE-gpu-DEVICE, counted where there was one that day."""
    device = re.sub(r"[^a-z0-9]+", "-", page.device.lower()).strip("-")
    first = folder / f"{page.created_utc[:10]}-gpu-{device}"
    stem, number = first, 1
    while stem.with_name(stem.name + ".json").exists():
        number += 1
        stem = first.with_name(f"{first.name}-{number}")
    return stem


def newest_unfinished(folder: Path, mode: Mode) -> tuple[Path, Page]:
    """The stem and the page of the newest run of this mode that has rows left.

    Raises:
        PageError: there is none.
    """
    found = []
    for file in folder.glob("*-gpu-*.json"):
        try:
            page = load(file)
        except PageError:
            continue
        if page.mode == mode and page.left:
            found.append((page.created_utc, file.with_suffix(""), page))
    if not found:
        raise PageError(
            f"nothing to resume: {folder} holds no page of a {mode} run with rows left; leave --resume away"
        )
    _, stem, page = max(found, key=lambda one: one[0])
    return stem, page


def load(file: Path) -> Page:
    """A page as `save` wrote it.

    Raises:
        PageError: another file, or a page of a newer version.
    """
    try:
        values = json.loads(file.read_text())
        if values["kind"] != KIND or values["schema"] != SCHEMA:
            raise PageError(
                f"{file} is a page of {values['kind']} {values['schema']}, and {KIND} {SCHEMA} is known here"
            )
        rows = [row_from_json(row) for row in values.pop("rows")]
        return Page(**{name: values[name] for name in Page.__dataclass_fields__ if name != "rows"}, rows=rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PageError(f"{file} is no page of a proof: {type(error).__name__}: {error}") from error


def save(page: Page, stem: Path) -> None:
    """Both files, each at once under its name: a call that is killed leaves the last page whole."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    values = {name: getattr(page, name) for name in Page.__dataclass_fields__ if name != "rows"}
    document = {"kind": KIND, "schema": SCHEMA, **values, "rows": [to_json(row) for row in page.rows]}
    _write(stem.with_name(stem.name + ".json"), json.dumps(document, indent=2, allow_nan=False) + "\n")
    _write(stem.with_name(stem.name + ".md"), markdown(page))


def _write(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    with part.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def markdown(page: Page) -> str:
    """For people: the machine, a line a row, then the figures of each."""
    parts = [
        f"# GPU proof, {page.mode}: {page.device}, {page.created_utc}",
        verdict(page),
        _table(("", ""), [(name, _text(value)) for name, value in page.machine.items()]) if page.machine else "",
        _table(("row", "what", "status", "s"), [_row_cells(row) for row in page.rows]),
        *[_details(row) for row in page.rows if row.figures or row.lines or row.reason],
        "Calls: " + "; ".join(f"{call['begin_utc']}, {call['seconds']:.0f} s" for call in page.calls)
        if page.calls
        else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(page: Page) -> str:
    """One line on the whole: the rows by their status, and the figures that could not be had."""
    counts = Counter(row.status for row in page.rows)
    text = ", ".join(f"{count} {status}" for status, count in counts.items())
    missing = ", ".join(f"{row.missing} in {row.name}" for row in page.rows if row.missing)
    if missing:
        text += f". Figures not yet: {missing}"
    if page.failed:
        return f"FAIL: {', '.join(page.failed)}. Rows: {text}."
    if page.left:
        return f"Unfinished, nothing failed so far. Rows: {text}."
    if set(counts) == {"not run"}:
        return f"Dry run: nothing was measured. Rows: {text}."
    return f"Every row that could run passed. Rows: {text}."


def _row_cells(row: RowResult) -> tuple[str, str, str, str]:
    status = f"**{row.status}**" if row.status == "fail" else row.status
    return row.name, row.what, status + row.missing_text, _seconds(row)


def _seconds(row: RowResult) -> str:
    return "" if row.seconds is None else f"{row.seconds:.0f}"


def _details(row: RowResult) -> str:
    parts = [f"## {row.name}: {row.status}{row.missing_text}"]
    if row.reason:
        parts.append(row.reason)
    if row.figures:
        parts.append(_table(("figure", "value", "bound", "", "note"), [_figure_cells(one) for one in row.figures]))
    if row.lines:
        parts.append("\n".join(["```text", *row.lines, "```"]))
    return "\n\n".join(parts)


def _figure_cells(figure: Figure) -> tuple[str, str, str, str, str]:
    status = {"pass": "pass", "fail": "**FAIL**", "shown": "", "not yet": "not yet"}[figure.status]
    return figure.name, figure.text, figure.bound, status, figure.reason


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "not known" if value is None else str(value)
