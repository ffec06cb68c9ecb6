# SPDX-License-Identifier: Apache-2.0
"""What the reports say of compiling: its time, the graph breaks and where they are."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import msgspec
import result_documents as made
from rich.console import Console

from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.reports.notes import findings
from pyperf_infer.reports.terminal import render_run

if TYPE_CHECKING:
    from pyperf_infer.results import schema

REASONS = [f"Reason {number} at model.py:{number}: y = f(x)" for number in range(1, 7)]


def compiled(breaks: int | None, backend: str = "torch-compile", **fields: object) -> schema.Result:
    one = made.result(backend=backend)
    reasons = REASONS[: breaks or 0]
    one.summary = msgspec.structs.replace(
        one.summary, compile_s=12.5, graph_breaks=breaks, graph_break_reasons=reasons, **fields
    )
    return one


def rendered(document: schema.Document, width: int = 300) -> str:
    file = io.StringIO()
    render_run(document, Console(file=file, width=width, color_system=None))
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def notes(document: schema.Document) -> list[str]:
    return [f"{one.text} {one.remedy}".strip() for one in findings(document) if "graph break" in one.text]


def test_the_time_and_the_number_of_breaks_are_columns() -> None:
    lines = rendered(made.document([made.result(), compiled(2)])).splitlines()
    (header,) = [line for line in lines if line.startswith("model")][:1]
    assert words(header).endswith("first inference compile graph breaks")
    (row,) = [line for line in lines if line.startswith("resnet50") and "12.50 s" in line]
    assert words(row).endswith("12.50 s 2")
    assert "12.50 s" in run_markdown(made.document([compiled(2)]))


def test_without_a_backend_that_compiles_there_are_no_such_columns() -> None:
    text = rendered(made.document())
    assert "compile" not in text
    assert "graph break" not in text


def test_each_break_is_told_with_its_place() -> None:
    (note,) = notes(made.document([made.result(), compiled(2)]))
    assert note.startswith(f"torch-compile: 2 graph breaks: {REASONS[0]}; {REASONS[1]}. There torch.compile hands over")
    (note,) = notes(made.document([compiled(1)]))
    assert note.startswith(f"torch-compile: 1 graph break: {REASONS[0]}. ")


def test_of_many_breaks_the_first_are_told_and_the_rest_counted() -> None:
    (note,) = notes(made.document([compiled(6)]))
    assert f"{REASONS[3]}; and 2 more." in note
    assert REASONS[4] not in note


def test_no_break_is_no_finding() -> None:
    assert notes(made.document([compiled(0), compiled(None, "torch-aoti")])) == []
    lines = rendered(made.document([compiled(0), compiled(None, "torch-aoti")])).splitlines()
    (row,) = [line for line in lines if "torch-compile" in line and "12.50 s" in line]
    assert words(row).endswith("12.50 s 0")
    (row,) = [line for line in lines if "torch-aoti" in line and "12.50 s" in line]
    assert words(row).endswith("12.50 s")


def test_batches_with_the_same_breaks_are_told_together() -> None:
    one, other, different = compiled(1), compiled(1), compiled(2)
    other.subject, different.subject = made.subject(batch_size=8), made.subject(batch_size=16)
    found = notes(made.document([one, other, different]))
    assert [note.partition(": ")[0] for note in found] == ["batch 1, batch 8", "batch 16"]


def test_a_break_in_code_with_a_nasty_name_stays_on_its_line() -> None:
    one = compiled(1)
    one.summary.graph_break_reasons = ["Why at a\n\x1b[31m.py:1: [red]x[/red]"]
    text = rendered(made.document([one]))
    assert "\x1b" not in text
    assert "[red]x[/red]" in text


def test_what_a_package_took_to_load_is_not_the_drawing_of_weights() -> None:
    """As it is for the backends that run the module, which is loaded with them."""
    lines = rendered(made.document([compiled(0), compiled(None, "torch-aoti")])).splitlines()
    drawn = {line.split()[2]: "(weights drawn)" in line for line in lines if "412.0 ms" in line}
    assert drawn["torch-compile"]
    assert not drawn["torch-aoti"]


def test_the_csv_has_them_in_columns_of_their_own() -> None:
    rows = list(csv.DictReader(io.StringIO(run_csv(made.document([made.result(), compiled(2), compiled(0)])))))
    assert [row["compile_s"] for row in rows] == ["", "12.5", "12.5"]
    assert [row["graph_breaks"] for row in rows] == ["", "2", "0"]
    assert [row["graph_break_reasons"] for row in rows] == ["", f"{REASONS[0]}; {REASONS[1]}", ""]
