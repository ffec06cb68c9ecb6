# SPDX-License-Identifier: Apache-2.0
"""The `compare` report on a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import result_documents as made
import stored_documents as stored
from rich.console import Console

from pyperf_infer.reports.stored import render_stored
from pyperf_infer.reports.stored_notes import stored_headline
from pyperf_infer.reports.stored_text import stored_csv, stored_markdown
from pyperf_infer.results import schema
from pyperf_infer.statistics.floor import Floor
from pyperf_infer.stored.job import CompareJob, ComparePlan
from pyperf_infer.system.floor_file import machine_key, save_floor

EVIL = "evil\x1b[31m|*<b>`\n=1+1"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))


def many(level: float, seed: int = 1, **made_as: Any) -> schema.Result:
    return stored.row(stored.medians(level, seed=seed), **made_as)


def document(folder: Path, mine: list[schema.Result], theirs: list[schema.Result], **plan: Any) -> schema.Document:
    environment = {"libraries": {"torch": "2.16.0", "numpy": "2.5"}, "kernel": "6.13.0"}
    paths = [
        stored.save(folder / "main.json", *mine),
        stored.save(folder / "pr.json", *theirs, environment=environment),
    ]
    job = CompareJob(ComparePlan(paths, **plan), command=["pyperf-infer", "compare"])
    job.execute(lambda _done, _total: None)
    return job.document()


@pytest.fixture
def typical(tmp_path: Path) -> schema.Document:
    """A row of every kind: all verdicts, too few processes, refused, left over, failed."""
    mine = [
        many(50.0),
        many(20.0, 2, backend="onnxruntime"),
        many(90.0, 3, batch_size=8),
        stored.row(70.0, batch_size=16),
        many(30.0, 4, batch_size=32),
        many(12.0, 5, model="alone"),
    ]
    theirs = [
        many(50.0, 12),
        many(22.0, 13, backend="onnxruntime"),
        many(80.0, 14, batch_size=8),
        stored.row(71.0, batch_size=16),
        many(30.0, 4, batch_size=32, settings={"opt_level": "basic"}),
        made.failed("resnet50", 64, "torch", "out of memory"),
    ]
    return document(tmp_path, mine, theirs, fail_if_slower=0.03)


def shown(document: schema.Document, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render_stored(document, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_terminal_shows_every_verdict_and_what_was_refused(typical: schema.Document) -> None:
    text = shown(typical)
    for words in ("same", "slower", "faster", "undecided", "refused"):
        assert words in text
    assert "REFUSED: not all rows" in text
    assert "The gate FAILED: 1 of 6 slower by more than 3%" in text
    assert "settings.opt_level all -> basic" in text
    assert "only in the baseline: alone batch 1 float32 torch" in text
    assert "out of memory" in text
    assert "cannot tell how far runs of identical code lie apart" in text
    assert "libraries.torch: 2.15.0 -> 2.16.0" in text
    assert text.index("libraries.torch") < text.index("less likely: ")
    assert "kernel: 6.12.0 -> 6.13.0" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_column_is_lost(typical: schema.Document, width: int) -> None:
    lines = shown(typical, width).splitlines()
    assert max(map(len, lines)) <= width
    for title in ("baseline p50", "contender p50", "speed-up", "gate", "processes", "items/s", "p99", "peak memory"):
        assert any(title in line for line in lines), title


def test_a_forced_row_is_marked_in_every_format(tmp_path: Path) -> None:
    rows = [many(50.0)], [many(40.0, method={"threads": 4})]
    forced = document(tmp_path, *rows, force=True)
    for text in (shown(forced), stored_markdown(forced)):
        assert "faster FORCED" in text
        assert "threads 2 -" in text
    (line,) = csv.DictReader(io.StringIO(stored_csv(forced), newline=""))
    assert line["forced"] == "threads: 2 / 4"


def test_unlike_backends_are_both_named(tmp_path: Path) -> None:
    text = shown(document(tmp_path, [many(50.0)], [many(20.0, backend="onnxruntime")]))
    assert "torch -> onnxruntime CPUExecutionProvider" in text


def test_the_sides_of_a_contest_are_told_apart(tmp_path: Path) -> None:
    def sides(seed: int) -> list[schema.Result]:
        given = {"A": "", "B": "--threads 2"}
        return [
            many(50.0, seed + number, side=schema.Side(label=label, contest=0, given=text))  # type: ignore[arg-type]
            for number, (label, text) in enumerate(given.items())
        ]

    text = shown(document(tmp_path, sides(1), sides(3)))
    assert "torch A" in text
    assert "torch B" in text


def test_a_cpu_against_a_gpu_names_both_devices(tmp_path: Path) -> None:
    assert "torch cpu -> torch cuda" in shown(document(tmp_path, [many(50.0)], [stored.gpu_row()]))


def test_markdown_has_one_table_the_gate_and_folded_details(typical: schema.Document) -> None:
    text = stored_markdown(typical)
    assert text.startswith("**REFUSED")
    assert "**The gate FAILED: 1 of 6 slower" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert len({line.count(" | ") for line in table}) == 1
    assert text.count("<details>") == text.count("</details>") >= 2
    assert "libraries.torch" in text


def test_a_gate_that_could_not_judge_a_row_is_not_shown_as_passed(tmp_path: Path) -> None:
    rows = [many(50.0)], [many(50.0, 3), many(7.0, model="new")]
    assert [one.kind for one in stored_headline(document(tmp_path, *rows, fail_if_slower=0.03))] == ["unsure", "plain"]
    rows[1].pop()
    assert [one.kind for one in stored_headline(document(tmp_path, *rows, fail_if_slower=0.03))] == ["good", "plain"]


def test_a_verdict_by_the_floor_alone_says_what_that_is_worth(tmp_path: Path) -> None:
    save_floor(Floor(0.004, 20), machine_key(made.environment()))
    rows = [stored.row(50.0), many(20.0, batch_size=8)], [stored.row(60.0), many(20.0, 3, batch_size=8)]
    text = stored_markdown(document(tmp_path, *rows))
    assert "- batch 1 torch: judged by how far processes of the self-test's small model lie apart" in text
    alone = document(tmp_path, rows[0][1:], rows[1][1:])
    assert "self-test's small model" not in stored_markdown(alone)


def test_in_markdown_a_full_stop_stands_between_a_finding_and_its_remedy(tmp_path: Path) -> None:
    forced = stored_markdown(document(tmp_path, [many(50.0)], [many(40.0, method={"threads": 4})], force=True))
    assert "4. What differs here" in forced
    undecided = stored_markdown(document(tmp_path, [many(50.0)], [many(50.5, 2)]))
    assert "margin of 1%. More processes" in undecided


def test_markdown_without_a_gate_says_nothing_of_one(tmp_path: Path) -> None:
    text = stored_markdown(document(tmp_path, [many(50.0)], [many(50.0, 3)]))
    assert "| gate |" not in text
    assert "The gate" not in text
    assert text.startswith("### ")


def test_names_from_files_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    rows = [many(50.0, model=EVIL)], [many(50.0, 3, model=EVIL, settings={EVIL: True})]
    evil = document(tmp_path, *rows, fail_if_slower=0.03)
    assert "\x1b" not in shown(evil)
    page = stored_markdown(evil)
    assert "\x1b" not in page
    assert "<b>" not in page
    assert len([line for line in page.splitlines() if line.startswith("|")]) == 3
    (line,) = csv.DictReader(io.StringIO(stored_csv(evil), newline=""))
    assert line["model"] == "evil\\x1b[31m|*<b>`\\n=1+1"


def test_csv_has_a_line_for_each_row_with_numbers_in_full(typical: schema.Document) -> None:
    lines = list(csv.DictReader(io.StringIO(stored_csv(typical), newline="")))
    assert len(lines) == 5
    row = typical.stored[0].rows[1]
    assert row.interval is not None
    assert (float(lines[1]["ratio"]), float(lines[1]["ratio_low"])) == (row.ratio, row.interval[0])
    assert (lines[1]["verdict"], lines[1]["gate"], lines[1]["baseline_processes"]) == ("slower", "fired", "5")
    assert float(lines[1]["baseline_throughput_per_s"]) == pytest.approx(50.0, rel=0.01)
    assert (lines[3]["verdict"], lines[3]["ratio_low"]) == ("undecided", "")
    assert (lines[4]["verdict"], lines[4]["refused"]) == ("", "settings.opt_level: all / basic")


def test_warnings_that_rows_carry_are_told(tmp_path: Path) -> None:
    warned = made.result(warnings=[schema.Warning(code="not_steady", message="m", remedy="r")])
    assert "the contender was measured with warnings: not_steady" in shown(document(tmp_path, [many(50.0)], [warned]))


def test_a_mode_whose_p50_is_no_latency_says_what_it_is_of(tmp_path: Path) -> None:
    rows = [many(50.0, method={"mode": "throughput"}), many(50.0, 3, method={"mode": "throughput"})]
    for row in rows:
        row.summary.period, row.summary.latency = row.summary.latency, None
    text = shown(document(tmp_path, rows[:1], rows[1:]))
    assert "p50 of" in text
    assert "period" in text
