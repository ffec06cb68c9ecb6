# SPDX-License-Identifier: Apache-2.0
"""A roofline plot as a picture, by matplotlib."""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.reports.escape import printable
from pyperf_infer.reports.roofline_chart import Chart, Line, chart_of, rate_text
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Roofline

SUFFIXES = (".png", ".svg")
_COLOURS = {"compute": "#0072b2", "memory": "#d55e00", "overhead": "#999999", "unknown": "#cc79a7"}  # Okabe and Ito's
_LINE = "#444444"
_PANEL_INCHES = (8.6, 4.8)
_LEAST_AREA, _AREA = 9.0, 900.0  # in square points: of a layer of no time, and of one of the whole time
_ACROSS = 2


def check_plot(path: Path) -> None:
    """Tries what can be tried before anything is measured.

    Raises:
        UsageError: not a kind of picture that is written. BackendError: matplotlib is not installed, or does not load.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {path}: name a file that ends in {' or '.join(SUFFIXES)}")
    _matplotlib()


def write_plot(document: Document, path: Path) -> None:
    """One panel for each of the document's rooflines.

    Raises:
        InputError: the document has none, or the file cannot be written.
    """
    from pyperf_infer.results.atomic import resolve_target, write_atomically

    if not document.rooflines:
        raise InputError(f"There is nothing to plot in {path}: no roofline was measured.")
    write_atomically(resolve_target(path), picture(document.rooflines, path.suffix.lower().removeprefix(".")))


def picture(rooflines: Sequence[Roofline], kind: str) -> bytes:
    """The same rooflines always give the same bytes of an svg."""
    matplotlib = _matplotlib()
    across = min(_ACROSS, len(rooflines))
    down = math.ceil(len(rooflines) / across)
    with matplotlib.rc_context({"svg.hashsalt": "pyperf-infer", "svg.fonttype": "none", "font.size": 9}):
        figure = matplotlib.figure.Figure(figsize=(_PANEL_INCHES[0] * across, _PANEL_INCHES[1] * down), layout="tight")
        axes = figure.subplots(down, across, squeeze=False)
        for place, roofline in zip(axes.flat, rooflines, strict=False):
            _panel(place, chart_of(roofline), roofline)
        for place in list(axes.flat)[len(rooflines) :]:
            place.set_axis_off()
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _panel(axes: Any, chart: Chart, roofline: Roofline) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*chart.x)
    axes.set_ylim(*chart.y)
    for line in chart.lines:
        _draw_line(axes, line)
    for bound, colour in _COLOURS.items():
        points = [one for one in chart.points if one.bound == bound]
        if points:
            axes.scatter(
                [one.intensity for one in points],
                [one.flops_per_s for one in points],
                s=[_LEAST_AREA + _AREA * one.share for one in points],
                color=colour,
                alpha=0.6,
                linewidths=0.4,
                edgecolors="white",
                label=f"layer, {bound}-bound" if bound in ("compute", "memory") else f"layer, {bound}",
                zorder=3,
            )
    if chart.total is not None:
        axes.scatter(*chart.total, marker="*", s=220, color="black", label="the whole model", zorder=4)
    numbered = _number_points(axes, chart)
    axes.set_xlabel("operational intensity [FLOP/byte], FLOP = 2 x multiply-accumulates, least bytes a layer moves")
    axes.set_ylabel("achieved")
    axes.yaxis.set_major_formatter(lambda value, _: rate_text(value, "FLOP"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.5)
    axes.set_title(_plain(f"{chart.title}\n{roofline.ceilings.device_name}, {_measured(roofline)}"), fontsize=9)
    handles, labels = axes.get_legend_handles_labels()
    key = axes.legend(
        [*handles, *numbered], [*labels, *(one.get_label() for one in numbered)],
        loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7, frameon=False, borderaxespad=0.0,
    )  # fmt: skip
    for handle in key.legend_handles[: len(handles)]:
        handle.set_sizes([40])
    if chart.beside:
        axes.text(0.01, 0.01, _plain(chart.beside), transform=axes.transAxes, fontsize=7, color=_LINE)


def _measured(roofline: Roofline) -> str:
    share = "" if roofline.share_of_roof is None else f", {roofline.share_of_roof:.0%} of its roof"
    time_ms = roofline.profiled_ms if roofline.measured_ms is None else roofline.measured_ms
    return f"{roofline.threads} threads: {time_ms:.4g} ms{share}; area: share of the layers' time"


def _draw_line(axes: Any, line: Line) -> None:
    (x0, y0), (x1, y1) = line.begin, line.end
    style = {"linewidth": 1.2} if line.used else {"linewidth": 0.7, "linestyle": (0, (2, 2))}
    axes.plot([x0, x1], [y0, y1], color=_LINE, zorder=2, **style)
    label = _plain(line.label)
    if line.kind == "compute":
        axes.annotate(label, (x1, y1), xytext=(-4, 3), textcoords="offset points", ha="right", fontsize=7, color=_LINE)
        return
    middle = (math.sqrt(x0 * x1), math.sqrt(y0 * y1))
    axes.annotate(
        label, middle, xytext=(-2, 3), textcoords="offset points", ha="center", fontsize=7, color=_LINE,
        rotation=45, rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip


def _number_points(axes: Any, chart: Chart) -> list[Any]:
    """Writes a number at each point that has a label, and returns what stands for them in the legend."""
    lines = importlib.import_module("matplotlib.lines")
    numbered = []
    labelled = sorted((one for one in chart.points if one.label), key=lambda one: -one.share)
    for number, point in enumerate(labelled, 1):
        axes.annotate(
            str(number), (point.intensity, point.flops_per_s), xytext=(5, 4), textcoords="offset points",
            fontsize=7, zorder=5, fontweight="bold",
        )  # fmt: skip
        label = _plain(f"{point.label}: {format_percent(point.share)}")
        numbered.append(
            lines.Line2D([], [], marker=f"${number}$", linestyle="none", color="black", markersize=5, label=label)
        )
    return numbered


def _plain(text: str) -> str:
    """Nothing of it is mathematics to matplotlib."""
    return printable(text.replace("\n", "\0")).replace("\\x00", "\n").replace("$", r"\$")


def _matplotlib() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
        importlib.import_module("matplotlib.figure")
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "matplotlib"
        what = "is not installed" if missing else f"does not load ({type(error).__name__}: {error})"
        raise BackendError(
            f"plots need the package matplotlib, which {what}: pip install 'pyperf-infer[report]'"
        ) from error
    return matplotlib
