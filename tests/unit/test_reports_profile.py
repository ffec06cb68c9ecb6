# SPDX-License-Identifier: Apache-2.0
"""A profile's report: what takes the most comes first, nothing of the whole is lost, what it cost to look is said."""

from __future__ import annotations

import csv
import io

import profile_documents as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from struct_strategies import TEXT

from pyperf_infer.reports.profile import render_profile
from pyperf_infer.reports.profile_text import profile_csv, profile_markdown
from pyperf_infer.reports.profile_view import columns_of, ranked
from pyperf_infer.results import schema

NASTY = "[red]evil[/red]\x1b[31m\n\u202e|`<b>"


def rendered(document: schema.Document, width: int = 200, *, top: int = 20, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None)
    render_profile(document, console, top=top)
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def line_of(text: str, start: str) -> str:
    (line,) = [one for one in text.splitlines() if one.startswith(start)]
    return words(line)


def test_each_row_shows_what_is_known_of_it_and_the_rest_and_the_whole_follow() -> None:
    text = rendered(made.document())
    assert "resnet18, batch 1, float32 on cpu: torch" in text
    assert "Layers of PyTorch, over 30 inferences" in text
    assert line_of(text, "(the model itself)") == "(the model itself) Net 500.0 us 5% 9.900 ms 1 1x4x6x6 0 40 B 1x3x8x8"
    assert line_of(text, "conv1") == "conv1 Conv2d 6.000 ms 60% 1 1x4x6x6 112 576 B 1x3x8x8"
    assert line_of(text, "block.relu") == "block.relu ReLU 3.400 ms 34% 2 1x4x6x6 0 1x3x8x8 block.again"
    assert line_of(text, "(outside of every layer)") == "(outside of every layer) 100.0 us 1%"
    assert line_of(text, "(the whole inference)") == "(the whole inference) 10.00 ms 100%"
    assert "with the instrument an inference took 10.12 ms, without it 10.00 ms: 1.012x [1.008, 1.016]" in text
    assert "the median of 24 interleaved rounds" in text
    assert "3.000 MiB at most (as the allocator tells)" in words(text)
    assert "torch-layers.csv the table of layers" in words(text)


def test_the_top_rows_are_those_with_the_most_time_and_the_others_are_summed_up() -> None:
    text = rendered(made.document(), top=1)
    assert line_of(text, "(2 more layers)") == "(2 more layers) 3.900 ms 39%"
    assert "block.relu" not in text
    assert "the 1 of 3 rows that take the most; --top 0 shows all" in text
    everything = rendered(made.document(), top=0)
    assert "more layer" not in everything
    assert everything.index("(the model itself)") < everything.index("conv1")  # in the order of execution


def test_an_instrument_that_slows_the_model_down_is_pointed_out() -> None:
    slow = made.document([made.profile([made.table("python", perturbation=made.perturbation(1.6))])])
    assert "It slows the model down" in rendered(slow)
    assert "It slows the model down" not in rendered(made.document())
    memory = made.table("memory", [made.row("a", time_ms=None, peak_memory_bytes=5)], perturbation=made.perturbation(4))
    assert "It slows" not in rendered(made.document([made.profile([memory])]))  # it tells no times


def test_rows_without_times_are_ranked_by_memory_and_have_no_whole() -> None:
    rows = [made.row(name, time_ms=None, peak_memory_bytes=size) for name, size in (("a", 1), ("b", 1 << 20), ("c", 9))]
    text = rendered(made.document([made.profile([made.table("memory", rows)])]), top=2)
    assert line_of(text, "b") == "b Conv2d 1.000 MiB 1x4x6x6 1x3x8x8"
    assert text.index("\nb ") < text.index("\nc ")
    assert "\na " not in text
    assert "whole inference" not in text


def test_nodes_show_where_they_come_from_and_how_much_is_not_traced() -> None:
    rows = [
        made.row("fused", "FusedConv", 8.0, sources=["n1", "n2"], layers=["conv1", "bn1", "relu"], provider="P"),
        made.row("strange", "Mystery", 0.4, provider="Q"),
    ]
    nodes = made.table("onnxruntime nodes", rows, mapped_share=0.952, not_told=["the sources of node strange"])
    text = rendered(made.document([made.profile([nodes], backend="onnxruntime")]))
    assert "Nodes of ONNX Runtime" in text
    assert "conv1 +2" in text
    assert "95% of the nodes' time was traced to nodes of the given graph; 400.0 us was not" in text
    assert "not told: the sources of node strange" in text
    page = profile_markdown(made.document([made.profile([nodes])]))
    assert "conv1, bn1, relu" in page  # in full


def test_what_has_no_perturbation_says_why_and_shows_none() -> None:
    bare = made.table(perturbation=None, not_told=["what the instrument itself costs: no round was complete"])
    text = rendered(made.document([made.profile([bare])]))
    assert "not told: what the instrument itself costs" in text
    assert "with the instrument" not in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_columns_that_do_not_fit_are_named_and_no_line_is_too_wide(width: int) -> None:
    text = rendered(made.document(), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "no room here for" in text or width == 120
    assert "own time" in text  # the most important is always there


def test_memory_that_was_not_measured_shows_why_and_no_zero() -> None:
    text = rendered(made.document([made.profile(peak_memory_bytes=None, memory_method="not measured: no profiler")]))
    assert "not measured: no profiler" in text
    assert "0 B at most" not in text
    assert "memory" not in rendered(made.document([made.profile([], peak_memory_bytes=None, memory_method=None)]))


def test_a_failed_backend_stands_in_the_warnings() -> None:
    notice = schema.Warning(code="profile_failed", message="torch could not be profiled: no", remedy="The rest stands.")
    text = rendered(made.document(status="failed", warnings=[notice]))
    assert "FAILED: not everything that was asked for could be measured." in text
    assert "torch could not be profiled: no" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_printed_and_never_obeyed(terminal: bool) -> None:
    rows = [made.row(NASTY, NASTY, aliases=[NASTY])]
    evil = made.document([made.profile([made.table(rows=rows, not_told=[NASTY], method=NASTY)], model=NASTY)])
    text = rendered(evil, 300, terminal=terminal)
    assert "\x1b[31m" not in text.replace("\x1b[31m\x1b", "")
    assert "\u202e" not in text
    assert "[red]evil[/red]\\x1b[31m\\n\\u202e" in text
    page = profile_markdown(evil)
    assert "\x1b" not in page
    assert "<b>" not in page.replace("\\<b\\>", "")
    assert all(
        "\x1b" not in cell and "\n" not in cell for line in csv.reader(io.StringIO(profile_csv(evil))) for cell in line
    )


def test_the_page_has_all_rows_and_sentences() -> None:
    page = profile_markdown(
        made.document([made.profile([made.table(), made.table("memory", [made.row("m", time_ms=None)])])])
    )
    assert "## resnet18, batch 1, float32 on cpu: torch" in page
    assert "### Layers of PyTorch, over 30 inferences" in page
    assert "### Memory by layer, over 30 inferences" in page
    assert "| conv1 | Conv2d | 6.000 ms | 60% |" in page
    assert "- with the instrument an inference took" in page
    assert "- how: a clock read around every one" in page


def test_the_csv_has_numbers_in_full_and_a_line_for_the_rest_and_the_whole() -> None:
    lines = list(csv.DictReader(io.StringIO(profile_csv(made.document()))))
    assert [line["record"] for line in lines] == ["row", "row", "row", "rest", "whole"]
    assert [line["name"] for line in lines] == ["", "conv1", "block.relu", "", ""]
    relu, rest, whole = lines[2:]
    assert (relu["time_ms"], relu["calls"], relu["aliases"]) == ("3.4", "2.0", "block.again")
    assert (relu["output_bytes"], relu["device_time_ms"]) == ("", "")
    assert float(rest["time_ms"]) == pytest.approx(0.1)
    assert (whole["time_ms"], whole["share"]) == ("10.0", "1.0")
    assert {line["table"] for line in lines} == {"torch layers"}
    assert profile_csv(made.document([])) == ""


ROWS = st.lists(
    st.builds(
        made.row, TEXT, TEXT, st.one_of(st.none(), st.floats(0, 1e6)), peak_memory_bytes=st.none() | st.integers(0, 9)
    ),
    max_size=8,
)


@given(ROWS, st.integers(0, 9))
def test_whatever_is_left_out_the_lines_below_add_up_to_the_whole(rows: list[schema.ProfileRow], top: int) -> None:
    table = made.table(rows=rows, whole_ms=sum(row.time_ms or 0.0 for row in rows) + 1.0, rest_ms=1.0)
    shown = ranked(table, top)
    assert len(shown) == (min(top, len(rows)) if top else len(rows))
    assert all(any(one is row for row in rows) for one in shown)
    least = min((row.time_ms or 0.0 for row in shown), default=0.0)
    hidden = [row for row in rows if not any(row is one for one in shown)]
    if any(row.time_ms is not None for row in rows):
        assert all((row.time_ms or 0.0) <= least for row in hidden)
    keys, _ = columns_of(table, shown)
    names = [cell.text for cell in keys[0].cells]
    timed = any(row.time_ms is not None for row in rows)
    feet = ((1 if hidden else 0) + 2) if timed else 0
    assert len(names) == len(shown) + feet
    rendered(made.document([made.profile([table])]), 80, top=top)


@given(st.integers(1, 12), st.integers(60, 200))
def test_any_width_shows_every_row_that_was_asked_for(count: int, width: int) -> None:
    rows = [made.row(f"layer{index}", time_ms=float(index + 1)) for index in range(count)]
    text = rendered(made.document([made.profile([made.table(rows=rows)])]), width, top=0)
    joined = "".join(text.split())
    assert all(f"layer{index}" in joined for index in range(count))
