# SPDX-License-Identifier: Apache-2.0
"""The roofline report: what is drawn where, what the tables say, and that no name does harm."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ceilings import make_ceilings
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from roofline_documents import document, layer, roofline, without_products

from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.reports import roofline_plot
from pyperf_infer.reports.roofline import render_roofline
from pyperf_infer.reports.roofline_canvas import HEIGHT, caption, draw
from pyperf_infer.reports.roofline_chart import LABELLED, Chart, chart_of, rate_text
from pyperf_infer.reports.roofline_plot import check_plot, picture, write_plot
from pyperf_infer.reports.roofline_text import roofline_csv, roofline_markdown

if TYPE_CHECKING:
    from pyperf_infer.results.ceilings_schema import Precision
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
    assert chart.left_out == ["block.relu 20% (5% of the bandwidth)"]
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
    assert "75% of the time of layers that execute something is in operators with a formula" in text
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
    (peak,) = rows_of(document([]), "compute ceiling")
    assert (peak["precision"], float(peak["flops_per_s"])) == ("float32", 1e12)
    assert [one["memory_level"] for one in rows_of(document([]), "memory ceiling")] == ["L1", "L2", "memory"]


def rows_of(given: Document, row: str) -> list[dict[str, str]]:
    return [one for one in csv.DictReader(io.StringIO(roofline_csv(given))) if one["row"] == row]


def test_csv_has_every_layer_in_full_numbers() -> None:
    lines = rows_of(document(), "layer")
    assert [one["name"] for one in lines] == ["block.conv", "block.relu", ""]
    assert (float(lines[0]["roof_ms"]), lines[1]["memory_level"], lines[1]["precision"]) == (1.0, "L2", "")
    assert roofline_csv(document([], ceilings=[])) == ""


def test_the_plot_can_be_drawn_again_from_the_csv_alone() -> None:
    ceilings = make_ceilings({"float32": 1e12, "int8": 9e12}, threads=1)
    one = roofline(threads=4, ceilings=ceilings)
    given = document([one, roofline(batch_size=16, measured_ms=None)])
    chart = chart_of(one)
    total, other = rows_of(given, "total")
    assert (float(total["intensity_flops_per_byte"]), float(total["flops_per_s"])) == chart.total
    assert (total["measured_ms"], other["measured_ms"], float(total["roof_ms"])) == ("10.0", "", 2.1)
    points = [(float(x["intensity_flops_per_byte"]), float(x["flops_per_s"])) for x in rows_of(given, "layer")[:3]]
    assert [(x.intensity, x.flops_per_s) for x in chart.points] == [x for x in points if all(x)]

    def holds(line: dict[str, str]) -> bool:
        return all(line[name] == total[name] for name in ("device", "ceilings_utc", "ceilings_threads"))

    peaks = {x["precision"]: float(x["flops_per_s"]) for x in rows_of(given, "compute ceiling") if holds(x)}
    assert peaks == {"float32": 1e12, "int8": 9e12}
    rates = {x["memory_level"]: float(x["bytes_per_s"]) for x in rows_of(given, "memory ceiling") if holds(x)}
    assert {x.label.split()[0]: x.end[1] / x.end[0] for x in chart.lines if x.kind == "memory"} == pytest.approx(rates)


def test_ceilings_that_results_share_stand_in_the_csv_once() -> None:
    assert len(rows_of(document([roofline(), roofline(batch_size=2)]), "compute ceiling")) == 1
    other = roofline(ceilings=make_ceilings({"float32": 2e12}))
    assert [x["flops_per_s"] for x in rows_of(document([roofline(), other]), "compute ceiling")] == [
        "1000000000000.0",
        "2000000000000.0",
    ]


def test_names_in_a_list_can_be_told_apart() -> None:
    names = ["a b", "c; d", "e\\", ""]
    (line,) = rows_of(document([roofline([layer(layers=names)])]), "layer")
    apart = re.split(r"(?<!\\)(?:\\\\)*; ", line["layers"].replace("e\\\\; ", "e; "))
    assert apart == ["a b", r"c\; d", "e", ""]


PEAKS: dict[Precision, float] = {"float64": 5e11, "float32": 1e12, "bfloat16": 1.4e12, "int8": 1e14}


def test_only_ceilings_in_use_make_the_axes_and_the_others_are_named() -> None:
    chart = chart_of(roofline(ceilings=make_ceilings(PEAKS)))
    assert chart.y[1] == pytest.approx(1.5e12)
    assert {one.label.split()[0]: one.used for one in chart.lines if one.kind == "compute"} == {
        "float64": False, "float32": True, "bfloat16": False,
    }  # fmt: skip
    assert chart.outside == ["int8 100.0 TFLOP/s (above the plot)"]
    assert "int8 100.0 TFLOP/s (above the plot)" in picture([roofline(ceilings=make_ceilings(PEAKS))], "svg").decode()
    assert "int8 100.0 TFLOP/s (above the plot)" in caption(chart, draw(chart, 120))


def test_a_type_that_the_device_computes_with_another_uses_that_ones_ceiling() -> None:
    given = roofline([layer(precision="bfloat16")], precision="bfloat16", ceilings=make_ceilings({"float32": 1e12}))
    assert [one.used for one in chart_of(given).lines if one.kind == "compute"] == [True]


RATE = st.floats(1e6, 1e16)


@given(
    peaks=st.dictionaries(st.sampled_from(["float64", "float32", "bfloat16", "float16", "int8"]), RATE),
    rates=st.dictionaries(st.sampled_from(["L1", "L2", "L3", "memory"]), RATE),
    intensity=st.floats(1e-6, 1e9),
    rate=RATE,
)
def test_every_ceiling_is_drawn_within_the_axes_or_told(
    peaks: dict[Precision, float], rates: dict[str, float], intensity: float, rate: float
) -> None:
    one = layer(intensity_flops_per_byte=intensity, flops_per_s=rate)
    chart = chart_of(roofline([one], ceilings=make_ceilings(peaks, rates)))
    assert len(chart.lines) + len(chart.outside) == len(peaks) + len(rates)
    for line in chart.lines:
        for x, y in (line.begin, line.end):
            assert chart.x[0] * (1 - 1e-9) <= x <= chart.x[1] * (1 + 1e-9)
            assert chart.y[0] * (1 - 1e-9) <= y <= chart.y[1] * (1 + 1e-9)
    drawn = draw(chart, 120)
    said = "\n".join([*drawn, caption(chart, drawn)])
    assert all(line.label in said for line in chart.lines)


def test_without_a_plain_round_the_star_is_the_profiled_model_and_says_so() -> None:
    given = roofline(measured_ms=None, share_of_roof=None, flops_per_s=None, profiled_ms=20.0)
    chart = chart_of(given)
    assert chart.total == (66.7, pytest.approx(given.flops_model / 20e-3))
    text = picture([given], "svg").decode()
    assert "profiled: 20.00 ms, no round without the profiler" in text
    assert "the whole model, profiled" in text
    assert "* is the profiled inference" in caption(chart, draw(chart, 120))
    assert "profiled" not in picture([roofline()], "svg").decode()


def test_one_thread_is_one() -> None:
    assert "Imaginary 9000, 1 thread; " in chart_of(roofline(threads=1)).measured
    assert "thread" not in chart_of(roofline(device="cuda:0")).measured


def test_layers_without_products_are_named_by_kind() -> None:
    layers = [
        *(without_products(f"relu{number}", memory_ms=0.5) for number in range(3)),
        without_products("pool", kind="MaxPool2d", memory_ms=None),
        without_products("reorder", kind="ReorderOutput", layers=["block.conv"], time_ms=1.0, unknown_ops=["x"]),
    ]
    chart = chart_of(roofline(layers))
    assert chart.left_out == [
        "3 ReLU 67% (25% of the bandwidth)",
        "pool 22%",
        "ReorderOutput 11% (10% of the bandwidth)",
    ]
    assert chart.beside.startswith("5 layers without known products are not on it")


def test_a_narrow_terminal_says_why_there_is_no_plot() -> None:
    chart = chart_of(roofline())
    assert draw(chart, 64) == []
    assert caption(chart, []) == "the terminal is too narrow for the plot, which takes 65 columns"
    assert draw(chart, 65)


NASTY = "<b>|`x`$\\frac{1}{0}$\x1b[31m"


def test_names_are_escaped_everywhere() -> None:
    given = document([roofline([layer(NASTY, layers=[NASTY])], model=NASTY)])
    assert "\x1b" not in printed(given)
    page = roofline_markdown(given)
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "\x1b" not in roofline_csv(given)
    assert picture(given.rooflines, "svg")  # and no formula of it fails to parse


def test_a_name_of_several_lines_is_one_line_of_a_picture() -> None:
    text = picture([roofline([layer("one\ntwo")], model="three\nfour")], "svg").decode()
    assert r"one\ntwo" in text
    assert r"three\nfour, batch 1" in text


def test_a_script_that_the_font_does_not_have_is_nothing_to_warn_of(recwarn: pytest.WarningsRecorder) -> None:
    given = [roofline([layer("\u5c42.\u6ce8\u610f\u529b")], model="\u6a21\u578b")]
    assert picture(given, "png").startswith(b"\x89PNG")
    assert "\u6ce8\u610f\u529b" in picture(given, "svg").decode()
    assert not recwarn.list


def slopes(svg: str) -> set[float]:
    """Of the straight lines of a picture, in degrees upwards."""
    ends = re.findall(r'd="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n"', svg)
    return {round(math.degrees(math.atan2(float(y0) - float(y1), float(x1) - float(x0))), 1) for x0, y0, x1, y1 in ends}


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_the_names_of_bandwidths_lie_along_their_lines(panels: int) -> None:
    svg = picture([roofline()] * panels, "svg").decode()
    turned = re.findall(r"rotate\(-([\d.]+) [^>]*>(?:L1|L2|memory) \d", svg)
    assert len(turned) == 3 * panels
    assert {round(float(one), 1) for one in turned} <= slopes(svg)


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
