# SPDX-License-Identifier: Apache-2.0
"""The `count` report: tables for people, and the same numbers as JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from pyperf_infer.reports.cells import Cell, Column, without_empty
from pyperf_infer.reports.escape import markdown
from pyperf_infer.reports.layout import print_in_bands, print_lines, print_notes, safe
from pyperf_infer.reports.markdown import bullets, table_markdown
from pyperf_infer.reports.notes import Note
from pyperf_infer.results.csv_text import csv_text
from pyperf_infer.units import format_bytes, format_count, format_percent

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.results.count_schema import CountedModel, CountedOperation


_KEYS = ("model", "input", "layer", "operator")


def render_counts(models: Sequence[CountedModel], console: Console) -> None:
    """Prints a line a model; and below, where operators were asked for, a table of them for each."""
    if not models:
        return
    print_in_bands(model_columns(models), _KEYS, console)
    for model in models:
        if model.ops:
            print_lines(Text(f"\n{safe(_title(model), console)}", style="bold cyan"), console)
            print_in_bands(operation_columns(model.ops, model), _KEYS, console)
    print_notes(count_notes(models), console)


def counts_markdown(models: Sequence[CountedModel]) -> str:
    """The same as Markdown."""
    parts = [table_markdown(model_columns(models))]
    for model in models:
        if model.ops:
            parts += [f"### {markdown(_title(model))}", table_markdown(operation_columns(model.ops, model))]
    parts.append(bullets(count_notes(models)))
    return "\n\n".join(part for part in parts if part) + "\n"


def counts_csv(models: Sequence[CountedModel]) -> str:
    """A line a model, or a line an operator where those were asked for; numbers in full."""
    if any(model.ops for model in models):
        names = msgspec.structs.fields(type(next(iter(_operations(models)))))
        head = ["model", "batch_size", *(one.name for one in names)]
        rows = [
            [model.model, model.batch_size, *msgspec.structs.astuple(one)]
            for model in models
            for one in model.ops or ()
        ]
        return csv_text([head, *rows])
    listed = [_flat(model) for model in models]
    return csv_text([list(listed[0]), *(list(one.values()) for one in listed)]) if listed else ""


def counts_json(models: Sequence[CountedModel]) -> str:
    """A list of `CountedModel`."""
    return msgspec.json.format(msgspec.json.encode(models), indent=1).decode() + "\n"


def model_columns(models: Sequence[CountedModel]) -> list[Column]:
    def column(title: str, cell: Callable[[CountedModel], str], *, numeric: bool = True) -> Column:
        return Column(title, tuple(Cell(cell(one)) for one in models), numeric)

    return without_empty(
        [
            column("model", lambda one: one.model, numeric=False),
            column("input", lambda one: _shapes(one), numeric=False),
            column("params", lambda one: format_count(one.params)),
            column("macs", lambda one: format_count(one.macs)),
            column("flops_model", lambda one: format_count(one.flops_model)),
            column("flops_all", lambda one: format_count(one.flops_all)),
            column("fvcore", lambda one: format_count(one.fvcore_flops)),
            column("activations", lambda one: format_count(one.activations)),
            column("model bytes", lambda one: format_bytes(one.bytes_min_model)),
            column("layer bytes", lambda one: format_bytes(one.bytes_min_layer)),
            column("unknown ops", lambda one: ", ".join(one.unknown_ops), numeric=False),
        ]
    )


def operation_columns(operations: Sequence[CountedOperation], model: CountedModel) -> list[Column]:
    """What moves nothing and computes nothing is left out of no table: it is part of the graph."""

    def column(title: str, cell: Callable[[CountedOperation], str], *, numeric: bool = True) -> Column:
        return Column(title, tuple(Cell(cell(one)) for one in operations), numeric)

    return without_empty(
        [
            column("layer", lambda one: one.name, numeric=False),
            column("operator", lambda one: one.op, numeric=False),
            column("kind", lambda one: one.kind, numeric=False),
            column("macs", lambda one: format_count(one.macs) if one.macs else ""),
            column("share", lambda one: format_percent(one.macs / model.macs) if one.macs else ""),
            column("flops_all", lambda one: format_count(one.flops_all) if one.flops_all else ""),
            column("activations", lambda one: format_count(one.activations) if one.activations else ""),
            column("kernel", lambda one: str(one.kernel)),
            column("bytes", lambda one: format_bytes(one.kernel_bytes) if one.kernel_bytes else ""),
        ]
    )


def count_notes(models: Sequence[CountedModel]) -> list[Note]:
    """What is in no count."""
    return [
        Note(
            "unsure",
            f"{one.model}: there is no formula for {', '.join(one.unknown_ops)}; what they compute is in none of the "
            "counts.",
        )
        for one in models
        if one.unknown_ops
    ]


def _operations(models: Iterable[CountedModel]) -> Iterable[CountedOperation]:
    return (one for model in models for one in model.ops or ())


def _flat(model: CountedModel) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for field in msgspec.structs.fields(model):
        if field.name == "ops":
            continue
        value = getattr(model, field.name)
        found[field.name] = (
            _shapes(model) if field.name == "shapes" else " ".join(value) if field.name == "unknown_ops" else value
        )
    return found


def _shapes(model: CountedModel) -> str:
    texts = {name: "x".join(map(str, shape)) or "scalar" for name, shape in model.shapes.items()}
    return next(iter(texts.values())) if len(texts) == 1 else " ".join(f"{name}:{text}" for name, text in texts.items())


def _title(model: CountedModel) -> str:
    return f"{model.model}, {_shapes(model)}"
