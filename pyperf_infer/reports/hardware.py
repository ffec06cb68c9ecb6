# SPDX-License-Identifier: Apache-2.0
"""The `hardware` report. Every table says that it is a model and no measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from pyperf_infer.reports.cells import Cell, Column, without_empty
from pyperf_infer.reports.escape import markdown
from pyperf_infer.reports.layout import print_in_bands, print_lines, print_notes, safe
from pyperf_infer.reports.markdown import bullets, table_markdown
from pyperf_infer.reports.notes import Note
from pyperf_infer.results.csv_text import csv_text
from pyperf_infer.units import format_bytes, format_duration_ms, format_percent, format_rate

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.results.hardware_schema import ModelledKernel, ModelledRun

LABEL = "Modelled, not measured: what the figures of each device allow"
_KEYS = ("device", "batch", "layers", "operators")


def render_hardware(runs: Sequence[ModelledRun], console: Console) -> None:
    """Prints a line a device and batch, then how it scales, then kernels where they were asked for."""
    print_lines(Text(safe(_title(runs), console), style="bold cyan"), console)
    print_in_bands(run_columns(runs), _KEYS, console)
    if scaling := scaling_columns(runs):
        print_lines(Text("\nSplit over several (modelled)", style="bold"), console)
        print_in_bands(scaling, _KEYS, console)
    for run in runs:
        if run.kernels:
            title = safe(f"{run.device}, batch {run.batch_size} (modelled)", console)
            print_lines(Text(f"\n{title}", style="bold cyan"), console)
            print_in_bands(kernel_columns(run.kernels, run), _KEYS, console)
    print_notes(hardware_notes(runs), console)


def hardware_markdown(runs: Sequence[ModelledRun]) -> str:
    """The same as Markdown."""
    parts = [f"### {markdown(_title(runs))}", table_markdown(run_columns(runs)), table_markdown(scaling_columns(runs))]
    for run in runs:
        if run.kernels:
            parts += [
                f"### {markdown(run.device)}, batch {run.batch_size} (modelled)",
                table_markdown(kernel_columns(run.kernels, run)),
            ]
    parts.append(bullets(hardware_notes(runs)))
    return "\n\n".join(part for part in parts if part) + "\n"


def hardware_json(runs: Sequence[ModelledRun]) -> str:
    """A list of `ModelledRun`."""
    return msgspec.json.format(msgspec.json.encode(runs), indent=1).decode() + "\n"


def hardware_csv(runs: Sequence[ModelledRun]) -> str:
    """A line a device and batch, numbers in full; what is a list of its own is in the JSON."""
    names = [
        one.name
        for one in msgspec.structs.fields(type(runs[0]))
        if one.name not in ("shapes", "scaling", "kernels", "unknown_ops")
    ]
    rows = ([*(getattr(one, name) for name in names), " ".join(one.unknown_ops)] for one in runs)
    return csv_text([[*names, "unknown_ops"], *rows])


def run_columns(runs: Sequence[ModelledRun]) -> list[Column]:
    def column(title: str, cell: Callable[[ModelledRun], str], *, numeric: bool = True) -> Column:
        return Column(title, tuple(Cell(cell(one)) for one in runs), numeric)

    return without_empty(
        [
            column("device", lambda one: one.device, numeric=False),
            column("batch", lambda one: str(one.batch_size)),
            column("time", lambda one: format_duration_ms(one.time_ms)),
            column("items/s", lambda one: format_rate(one.throughput_per_s).removesuffix("/s")),
            column("compute-bound", lambda one: format_percent(one.compute_bound_share)),
            column("memory", lambda one: format_bytes(one.memory_needed_bytes)),
            column("fits", lambda one: "yes" if one.fits else "NO", numeric=False),
            column("largest batch", lambda one: "" if one.largest_batch is None else f"{one.largest_batch:,}"),
            column("compute-bound from", _turning),
            column("measured", lambda one: "" if one.measured_ms is None else format_duration_ms(one.measured_ms)),
            column("over model", lambda one: _over(one.measured_over_modelled)),
        ]
    )


def scaling_columns(runs: Sequence[ModelledRun]) -> list[Column]:
    rows = [(run, one) for run in runs for one in run.scaling]
    if not rows:
        return []
    return [
        Column("device", tuple(Cell(run.device) for run, _ in rows), False),
        Column("batch", tuple(Cell(str(run.batch_size)) for run, _ in rows)),
        Column("GPUs", tuple(Cell(str(one.gpus)) for _, one in rows)),
        Column("time", tuple(Cell(format_duration_ms(one.time_ms)) for _, one in rows)),
        Column("of it transfers", tuple(Cell(format_duration_ms(one.transfer_ms)) for _, one in rows)),
        Column("items/s", tuple(Cell(format_rate(one.throughput_per_s).removesuffix("/s")) for _, one in rows)),
        Column("efficiency", tuple(Cell(format_percent(one.efficiency)) for _, one in rows)),
    ]


def kernel_columns(kernels: Sequence[ModelledKernel], run: ModelledRun) -> list[Column]:
    def column(title: str, cell: Callable[[ModelledKernel], str], *, numeric: bool = True) -> Column:
        return Column(title, tuple(Cell(cell(one)) for one in kernels), numeric)

    return without_empty(
        [
            column("layers", lambda one: " ".join(one.layers), numeric=False),
            column("operators", lambda one: " ".join(name.removeprefix("aten.") for name in one.ops), numeric=False),
            column("time", lambda one: format_duration_ms(one.time_ms)),
            column("share", lambda one: format_percent(one.time_ms / run.time_ms)),
            column("bound", lambda one: one.bound, numeric=False),
        ]
    )


def hardware_notes(runs: Sequence[ModelledRun]) -> list[Note]:
    """What is left out, and where the figures are from."""
    notes = [
        Note(
            "plain",
            "Not in it: launches, caches, clocks below boost, what is no product, workspaces and the driver's own "
            "memory, which make a device slower; Winograd's algorithm and deeper fusion, which can make it faster.",
        )
    ]
    sources = dict.fromkeys((one.device, one.source) for one in runs)
    notes += [Note("plain", f"Figures of {device}: {source}.") for device, source in sources]
    for names in dict.fromkeys(tuple(one.unknown_ops) for one in runs if one.unknown_ops):
        notes.append(Note("unsure", f"There is no formula for {', '.join(names)}: only their bytes take time here."))
    for one in runs:
        if not one.fits:
            needed, there = format_bytes(one.memory_needed_bytes), format_bytes(one.memory_bytes)
            notes.append(Note("bad", f"Batch {one.batch_size} needs {needed}, and {one.device} has {there}."))
        if one.measured_over_modelled is not None and one.measured_over_modelled < 1:
            notes.append(
                Note(
                    "unsure",
                    f"Batch {one.batch_size} was measured faster than {one.device} is by this model: caches, "
                    "Winograd's algorithm or deeper fusion, or another device than it says.",
                )
            )
    return notes


def _title(runs: Sequence[ModelledRun]) -> str:
    return f"{runs[0].model} in {runs[0].precision}. {LABEL}."


def _turning(run: ModelledRun) -> str:
    if run.largest_batch is None:  # the batch is fixed
        return ""
    return "never" if run.compute_bound_from_batch is None else f"batch {run.compute_bound_from_batch:,}"


def _over(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"
