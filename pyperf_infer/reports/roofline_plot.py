# SPDX-License-Identifier: Apache-2.0
"""A roofline plot as a picture, by matplotlib."""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.reports.escape import printable
from pyperf_infer.reports.roofline_chart import Chart, Point, chart_of, rate_text
from pyperf_infer.reports.roofline_labels import LED_FROM, Label, Sheet
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Roofline

SUFFIXES = (".png", ".svg")
_COLOURS = {"compute": "#0072b2", "memory": "#d55e00", "overhead": "#999999", "unknown": "#cc79a7"}  # Okabe and Ito's
_LINE = "#444444"
_PANEL_INCHES = (8.6, 4.8)
_LEAST_AREA, _AREA = 9.0, 900.0  # in square points: of a layer of no time, and of one of the whole time
_STAR = 220.0  # square points too
_ACROSS = 2
_SIZE = 7  # of the font on the plot, in points
_PAPER = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.6}
_TITLE = 84  # characters of a line of the title


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
    settings = {"svg.hashsalt": "pyperf-infer", "svg.fonttype": "none", "font.size": 9}
    # A name may be in a script that the font does not have. There are boxes in its place, and nothing to be done.
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = matplotlib.figure.Figure(figsize=(_PANEL_INCHES[0] * across, _PANEL_INCHES[1] * down), layout="tight")
        axes = figure.subplots(down, across, squeeze=False)
        panels = [(place, chart_of(one)) for place, one in zip(axes.flat, rooflines, strict=False)]
        for place, chart in panels:
            _panel(place, chart)
        for place in list(axes.flat)[len(rooflines) :]:
            place.set_axis_off()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # where lines lie on the paper is known now, and stays so
        for place, chart in panels:
            _write_on(place, chart)
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _panel(axes: Any, chart: Chart) -> None:
    """All but the texts on the plot, whose places depend on the axes' size."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*chart.x)
    axes.set_ylim(*chart.y)
    for line in chart.lines:
        style = {"linewidth": 1.2} if line.used else {"linewidth": 0.7, "linestyle": (0, (2, 2))}
        axes.plot(*zip(line.begin, line.end, strict=True), color=_LINE, zorder=2, **style)
    for bound, colour in _COLOURS.items():
        points = [one for one in chart.points if one.bound == bound]
        if points:
            axes.scatter(
                [one.intensity for one in points],
                [one.flops_per_s for one in points],
                s=[_area(one) for one in points],
                color=colour,
                alpha=0.6,
                linewidths=0.4,
                edgecolors="white",
                label=f"layer, {bound}-bound" if bound in ("compute", "memory") else f"layer, {bound}",
                zorder=3,
            )
    if chart.total is not None:
        label = f"the whole model{', profiled' if chart.profiled else ''}"
        axes.scatter(*chart.total, marker="*", s=_STAR, color="black", label=label, zorder=4)
    axes.set_xlabel("operational intensity [FLOP/byte]; FLOP: 2 x multiply-accumulates; bytes: the least", fontsize=8)
    axes.set_ylabel("achieved", fontsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: rate_text(value, "FLOP"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.5)
    axes.set_title("\n".join(_plain(_short(one)) for one in (chart.title, chart.measured)), fontsize=9)
    _legend(axes, chart)


def _legend(axes: Any, chart: Chart) -> None:
    """Beside the plot: what the marks are, whose the numbers, and all that is not on it."""
    handles, labels = axes.get_legend_handles_labels()
    marks = len(handles)
    entries = [(f"${number}$", f"{one.label}: {format_percent(one.share)}") for number, one in _numbered(chart)]
    if chart.beside:
        what, share = chart.beside.split(": ")
        entries += [("", one) for one in ("", f"{what}:", share, *(f"- {one}" for one in chart.left_out))]
    if chart.outside:
        entries += [("", one) for one in ("", "ceilings that are not on it:", *(f"- {one}" for one in chart.outside))]
    lines = importlib.import_module("matplotlib.lines")
    for marker, text in entries:
        handles.append(
            lines.Line2D([], [], marker=marker, linestyle="none", color="black", markersize=5, markeredgewidth=0)
        )
        labels.append(_plain(text))
    key = axes.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7, frameon=False, borderaxespad=0.0,
        title="area of a layer: share of the layers' time" if chart.points else None, title_fontsize=7,
        alignment="left",
    )  # fmt: skip
    for handle in key.legend_handles[:marks]:
        handle.set_sizes([40])


def _write_on(axes: Any, chart: Chart) -> None:
    """The names of the ceilings along their lines, and the numbers at the points."""
    corner = axes.transAxes.transform((0.0, 0.0))
    dots = axes.figure.dpi / 72

    def on_paper(where: tuple[float, float]) -> tuple[float, float]:
        x, y = (axes.transData.transform(where) - corner) / dots
        return float(x), float(y)

    sheet = Sheet(*((axes.transAxes.transform((1.0, 1.0)) - corner) / dots))
    for line in chart.lines:
        sheet.take_line(on_paper(line.begin), on_paper(line.end))
    sheet.take((*on_paper((one.intensity, one.flops_per_s)), _radius(_area(one))) for one in chart.points)
    if chart.total is not None:
        sheet.take([(*on_paper(chart.total), _radius(_STAR))])
    for line in sorted(chart.lines, key=lambda one: (one.kind, not one.used)):
        label = sheet.name_line(on_paper(line.begin), on_paper(line.end), line.label, _SIZE)
        _text(axes, label, line.label, color=_LINE, bbox=_PAPER, zorder=5)
    for number, point in _numbered(chart):
        at = on_paper((point.intensity, point.flops_per_s))
        label = sheet.number_point(at, _radius(_area(point)), str(number), _SIZE)
        if label.away >= LED_FROM:
            axes.annotate(
                "", at, label.at, xycoords="axes points", textcoords="axes points", zorder=4,
                arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": _LINE, "shrinkA": 3.5, "shrinkB": 0.0},
            )  # fmt: skip
        _text(axes, label, str(number), color="black", fontweight="bold", zorder=6)


def _text(axes: Any, label: Label, text: str, **style: Any) -> None:
    axes.annotate(
        _plain(text), label.at, xycoords="axes points", ha="center", va="center", rotation=label.degrees,
        rotation_mode="anchor", fontsize=_SIZE, **style,
    )  # fmt: skip


def _numbered(chart: Chart) -> list[tuple[int, Point]]:
    """The points that have a name, the one of the longest time first."""
    return [*enumerate(sorted((one for one in chart.points if one.label), key=lambda one: -one.share), 1)]


def _area(point: Point) -> float:
    return _LEAST_AREA + _AREA * point.share


def _radius(area: float) -> float:
    return math.sqrt(area / math.pi)


def _short(text: str) -> str:
    """A long path in a title would run into the next panel."""
    return text if len(text) <= _TITLE else f"{text[: _TITLE // 2]}...{text[-(_TITLE // 2 - 3) :]}"


def _plain(text: str) -> str:
    """On one line, and nothing of it is mathematics to matplotlib."""
    return printable(text).replace("$", r"\$")


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
