# SPDX-License-Identifier: Apache-2.0
"""The roofline report: what is drawn where, what the tables say, and that no name does harm."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from roofline_documents import document, layer, roofline, without_products

from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.reports import roofline_plot
from pyperf_infer.reports.roofline import render_roofline
from pyperf_infer.reports.roofline_canvas import HEIGHT, draw
from pyperf_infer.reports.roofline_chart import LABELLED, Chart, chart_of, rate_text
from pyperf_infer.reports.roofline_plot import check_plot, picture, write_plot
from pyperf_infer.reports.roofline_text import roofline_csv, roofline_markdown

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Roofline


def printed(given: Document, *, width: int = 140, top: int = 20) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render_roofline(given, console, top=top)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_lines_meet_where_the_peak_does() -> None:
    chart = chart_of(roofline())
    lines = {one.label.split()[0]: one for one in chart.lines}
    assert set(lines) == {"float32", "L1", "L2", "memory"}
    assert lines["memory"].end == pytest.approx((1e12 / 100e9, 1e12))
    assert lines["L1"].end[0] == pytest.approx(lines["float32"].begin[0])
    for one in chart.lines:
        if one.kind == "memory":
            slope = math.log(one.end[1] / one.begin[1]) / math.log(one.end[0] / one.begin[0])
            assert slope == pytest.approx(1.0)


def test_layers_without_products_are_told_beside_the_plot() -> None:
    chart = chart_of(roofline())
    assert len(chart.points) == 2
    assert chart.beside == "1 layer without products is not on it: 20.0% of the layers' time"
    assert chart.total == (66.7, 2e11)
    nothing = chart_of(roofline([without_products("a")], intensity_flops_per_byte=0.0, flops_per_s=None))
    assert (list(nothing.points), nothing.total) == ([], None)
    assert "100.0%" in nothing.beside
    assert any("memory" in line for line in draw(nothing, 120))


def test_only_the_layers_of_the_longest_time_are_labelled_and_by_their_modules() -> None:
    layers = [
        layer(f"relu_{number}_nchwc", time_ms=number + 1.0, layers=[f"block{number}.conv"]) for number in range(9)
    ]
    labels = [one.label for one in chart_of(roofline(layers)).points]
    assert labels[: 9 - LABELLED] == [""] * (9 - LABELLED)
    assert labels[-1] == "block8.conv"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(380e9, "380.0 GFLOP/s"), (1.5e12, "1.500 TFLOP/s"), (12.0, "12 FLOP/s"), (999.96e9, "1.000 TFLOP/s")],
)
def test_rates_are_written_as_datasheets_write_them(rate: float, text: str) -> None:
    assert rate_text(rate, "FLOP") == text


def marks(lines: list[str]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for row, line in enumerate(lines[:HEIGHT]):
        begin = line.index("|") + 1
        for column, mark in enumerate(line[begin:]):
            if mark in "@*":
                found.setdefault(mark, []).append((row, column))
    return found


def test_the_terminal_has_the_layers_in_their_places() -> None:
    layers = [
        layer("low", time_ms=8.0, intensity_flops_per_byte=1.0, flops_per_s=1e10),
        layer("high", time_ms=2.0, intensity_flops_per_byte=100.0, flops_per_s=9e11),
    ]
    found = marks(draw(chart_of(roofline(layers)), 100))
    (high_row, high_column), (low_row, low_column) = sorted(found["@"])
    ((total_row, total_column),) = found["*"]
    assert high_row < total_row < low_row
    assert low_column < total_column < high_column


@given(width=st.integers(0, 300), intensity=st.floats(1e-6, 1e9), rate=st.floats(1.0, 1e16))
def test_no_line_of_the_terminal_is_wider_than_it(width: int, intensity: float, rate: float) -> None:
    one = layer(intensity_flops_per_byte=intensity, flops_per_s=rate)
    lines = draw(chart_of(roofline([one])), width)
    assert all(len(line) <= width for line in lines)
    assert not lines or len(lines) == HEIGHT + 2
    assert lines or width < 100


def test_the_report_tells_the_roof_the_gap_and_what_it_does_not_know() -> None:
    given = roofline(unknown_ops={"aten.mystery": 0.25}, not_told=["the head"], formula_share=0.75)
    text = " ".join(printed(document([given])).split())
    assert "the ceilings allow 2.100 ms, measured 10.00 ms: 21% of the roof, 7.900 ms to gain at the most" in text
    assert "aten.mystery has no formula: the layers with it take 25% of the layers' time" in text
    assert "not told: the head" in text
    assert "75% of the layers' time is in operators with a formula" in text
    assert "memory (L2)" in text
    assert "compute (float32)" in text
    assert "Imaginary 9000" in text
    assert "the microarchitecture is not known" in text


def test_the_largest_gaps_come_first_and_the_rest_stands_in_one_row() -> None:
    layers = [layer(f"layer{number}", time_ms=2.0 + number, gap_ms=1.0 + number) for number in range(5)]
    text = printed(document([roofline(layers)]), top=2)
    assert text.index("layer4") < text.index("layer3") < text.index("(3 more layers)")
    assert "layer0 " not in text.split("(3 more layers)")[1]
    assert "the 2 of 5 layers with the most to gain" in text


def test_what_disturbs_is_told() -> None:
    rest = printed(document([roofline(profiled_ms=20.0, rest_ms=10.0)]))
    assert "the layers' times sum to 50% of the profiled inference" in rest
    assert "layers' times sum to" not in printed(document())


def test_several_results_stand_side_by_side_first() -> None:
    text = printed(document([roofline(), roofline(batch_size=16, measured_ms=100.0, share_of_roof=0.5)]))
    head = text.split("resnet18, batch 1, float32 on cpu")[0]
    assert "21%" in head
    assert "50%" in head


def test_without_a_model_the_ceilings_stand_alone() -> None:
    text = printed(document([]))
    assert "1.000T/s" in text
    assert "around the caches" not in text
    lines = list(csv.DictReader(io.StringIO(roofline_csv(document([])))))
    assert [(one["kind"], one["of"], float(one["per_s"])) for one in lines][:2] == [
        ("compute", "float32", 1e12), ("memory", "L1", 800e9),
    ]  # fmt: skip


def test_csv_has_every_layer_in_full_numbers() -> None:
    lines = list(csv.DictReader(io.StringIO(roofline_csv(document()))))
    assert [one["name"] for one in lines] == ["block.conv", "block.relu", ""]
    assert (float(lines[0]["roof_ms"]), lines[1]["memory_level"], lines[1]["precision"]) == (1.0, "L2", "")
    assert roofline_csv(document([], ceilings=[])) == ""


NASTY = "<b>|`x`$\\frac{1}{0}$\x1b[31m"


def test_names_are_escaped_everywhere() -> None:
    given = document([roofline([layer(NASTY, layers=[NASTY])], model=NASTY)])
    assert "\x1b" not in printed(given)
    page = roofline_markdown(given)
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "\x1b" not in roofline_csv(given)
    assert picture(given.rooflines, "svg")  # and no formula of it fails to parse


def test_a_picture_has_a_panel_a_result_and_is_the_same_every_time() -> None:
    rooflines: list[Roofline] = [roofline(), roofline(batch_size=16), roofline(model="vit")]
    svg = picture(rooflines, "svg")
    assert svg == picture(rooflines, "svg")
    text = svg.decode()
    for said in ("resnet18, batch 1", "resnet18, batch 16", "vit, batch 1", "memory 100.0 GB/s", "block.conv", "whole"):
        assert said in text
    assert picture(rooflines[:1], "png").startswith(b"\x89PNG")


def test_what_cannot_be_plotted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        check_plot(Path("plot.pdf"))
    with pytest.raises(InputError, match="nothing to plot"):
        write_plot(document([]), tmp_path / "a.svg")
    with pytest.raises(InputError, match="Cannot write"):
        write_plot(document(), tmp_path / "missing" / "a.svg")

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(roofline_plot.importlib, "import_module", missing)
    with pytest.raises(BackendError, match=r"pyperf-infer\[report\]"):
        check_plot(Path("plot.svg"))


def test_axes_hold_all_that_is_drawn() -> None:
    chart: Chart = chart_of(roofline([layer(intensity_flops_per_byte=1e-3, flops_per_s=1.0), layer(flops_per_s=5e13)]))
    for point in chart.points:
        assert chart.x[0] < point.intensity < chart.x[1]
        assert chart.y[0] < point.flops_per_s < chart.y[1]
