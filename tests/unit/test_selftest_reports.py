# SPDX-License-Identifier: Apache-2.0
"""The self-test's page: every rate with its interval, bound and verdict, what was not judged said so, on any width."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import pytest
import selftest_documents as made
from rich.console import Console

from pyperf_infer.reports.selftest import render_selftest
from pyperf_infer.reports.selftest_text import selftest_csv, selftest_markdown
from pyperf_infer.results import schema

EVIL = "m\x1b[31m|`<b>*"


def rendered(document: schema.Document, width: int = 200) -> str:
    file = io.StringIO()
    render_selftest(document, Console(file=file, width=width, color_system=None))
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def line_of(text: str, start: str) -> str:
    return words(next(line for line in text.splitlines() if line.startswith(start)))


def test_a_rate_has_its_interval_its_trials_its_bound_and_its_verdict() -> None:
    text = rendered(made.document())
    line = line_of(text, "identical work called faster or slower, quiet")
    assert line.endswith("0% (0% to 2.4%) 0 of 150 at most 5% pass")
    line = line_of(text, "slow-down of 2% found")
    assert line.endswith("90% (78.2% to 96.7%) 45 of 50 at least 50% pass")
    assert line_of(text, "timing an empty call").endswith("17 ns at most 1.000 us pass")
    assert "PASS: " in text


def test_aa_and_power_stand_in_one_table_with_undecided_beside_both() -> None:
    text = rendered(made.document())
    assert "right wrong undecided gate at 3%" in words(text)
    line = next(words(line) for line in text.splitlines() if "itself" in line and "quiet" in line)
    assert line == (
        "1.000 ms itself quiet 150 93.3% (88.1% to 96.8%) 0% (0% to 2.4%) 6.7% (3.2% to 11.9%) 0% (0% to 2.4%) "
        "\N{PLUS-MINUS SIGN}0.4%"
    )
    line = next(words(line) for line in text.splitlines() if "1% slower" in line and "quiet" in line)
    assert "1% slower quiet 50 60% (45.2% to 73.6%) 0% (0% to 7.1%) 40%" in line  # the same is right there


def test_a_failure_stands_first_and_again_below() -> None:
    bad = made.comparisons(trials=100, faster=30, same=70, undecided=0, undecided_reasons={})
    text = words(rendered(made.document(made.selftest(comparisons=[bad]))))
    assert "FAIL: 1 of" in text
    assert "!! identical work called faster or slower, quiet: 30% (21.2% to 40%), and the bound is at most 5%." in text


def test_what_was_not_judged_is_said_with_the_reason_once() -> None:
    few = [made.comparisons(trials=10, same=10, undecided=0, neighbour=one) for one in (False, True)]
    text = words(rendered(made.document(made.selftest(comparisons=few))))
    assert text.count("10 trials cannot show a share as small as 5%.") == 1
    assert "20 trials cannot show a share as small as 1%." in text
    assert "PASS" not in text
    assert "not judged, for too few trials" in text


def test_what_has_no_bound_says_so() -> None:
    text = words(rendered(made.document()))
    assert "spread between fresh processes 1.1% no bound" in text
    assert "No bound for slow-down of 1% found: a slow-down no larger than the margin" in text


def test_one_that_is_not_finished_says_how_to_go_on() -> None:
    found = made.selftest(steps=100, comparisons=[], coverage=[], precision=None, floor=None, timer=None)
    text = words(rendered(made.document(found, status="interrupted")))
    assert "INTERRUPTED" in text
    assert "NOT FINISHED: 100 of 470 steps are done. The same command goes on from here." in text
    assert "What it means" not in text
    bad = made.comparisons(trials=100, faster=30, same=70, undecided=0, undecided_reasons={})
    text = words(rendered(made.document(made.selftest(steps=100, comparisons=[bad]))))
    assert "NOT FINISHED: 100 of 470 steps are done. FAIL: 1 of" in text


def test_without_aa_and_power_nothing_passes() -> None:
    text = words(rendered(made.document(made.selftest(comparisons=[]))))
    assert "PASS" not in text
    assert "NOT JUDGED: A/A and power left out;" in text


def test_a_quick_one_says_what_it_is_worth() -> None:
    text = words(rendered(made.document(made.selftest(quick=True))))
    assert "This was a quick self-test: few trials say little. Leave --quick out" in text
    assert "quick self-test" not in rendered(made.document())


@pytest.mark.parametrize(("others", "said"), [(0.02, False), (0.9, True), (None, False)])
def test_a_machine_that_was_not_quiet_is_told_from_a_tool_that_errs(others: float | None, said: bool) -> None:
    """The neighbour's own time is no sign of it."""
    rows = [made.comparisons(other_cpus=others), made.comparisons(neighbour=True, other_cpus=1.0)]
    text = words(rendered(made.document(made.selftest(comparisons=rows))))
    assert ("Others on the machine used 0.9 CPUs during the quiet comparisons" in text) == said
    assert ("other work others used" in text) == (others is not None)


def test_settings_and_conditions_stand_below() -> None:
    text = words(rendered(made.document(made.selftest(taken_over=7))))
    assert "2026-11-25T09:00:00Z to 2026-11-25T09:08:00Z; 7 of 470 steps from earlier calls" in text
    assert "1.000 s each, margin 1%, 95% intervals, seed 42" in text
    assert "a process busy on CPU 1" in text
    assert "10, medians 138.0 us to 144.0 us, 1.1% apart; kept for compare" in text
    assert "undecided for interval across the margin (10)" in text
    alone = words(rendered(made.document(made.selftest(neighbour_cpu=None, timer_tick_us=None))))
    assert "none: this process may use one CPU only" in alone
    assert "not known: no work in step with it" in alone


@pytest.mark.parametrize("part", ["A/A:", "Power:", "Undecided stands", "Gate:", "Made samples:", "Timer:", "Fresh"])
def test_what_the_numbers_mean_is_explained(part: str) -> None:
    assert part in rendered(made.document())


@pytest.mark.parametrize("width", [60, 80, 100, 130, 300])
def test_it_fits_where_it_is_shown(width: int) -> None:
    text = rendered(made.document(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "undecided" in text


def test_the_page_has_a_title_the_machine_and_the_same_tables() -> None:
    page = selftest_markdown(made.document())
    assert page.startswith("# pyperf-infer selftest\n\npyperf-infer 1.2.3")
    assert "AMD EPYC 9654" in page
    assert "| identical work undecided, quiet | 6.7% (3.2% to 11.9%) | 10 of 150 | at most 30% | pass |" in page
    assert "| AR(1) | p99 | 95.3% (94.3% to 96.2%) | 95.4% | 2000 | 966 | 93% to 96.4% | pass |" in page
    assert "## How it was measured" in page


def test_names_are_shown_and_not_obeyed() -> None:
    environment = msgspec.structs.replace(made.document().environment, cpu_model=EVIL)
    found = made.selftest(comparisons=[made.comparisons(undecided_reasons={EVIL: 2})])
    document = made.document(found, environment=environment)
    assert "\x1b" not in selftest_markdown(document) + rendered(document)
    assert r"\|\`\<b\>\*" in selftest_markdown(document)
    assert "\x1b" not in selftest_csv(document)


def test_csv_has_a_line_a_figure_with_numbers_in_full() -> None:
    document = made.document()
    assert document.selftest is not None
    rows = list(csv.DictReader(io.StringIO(selftest_csv(document))))
    assert [row["code"] for row in rows] == [one.code for one in document.selftest.judgements]
    one = next(row for row in rows if row["code"] == "aa_undecided_quiet")
    assert float(one["value"]) == 10 / 150
    assert (one["count"], one["trials"], one["at_least"], one["at_most"], one["status"]) == (
        "10", "150", "", "0.3", "pass",
    )  # fmt: skip
    assert one["cpu_model"] == "AMD EPYC 9654"


def test_without_a_self_test_there_is_a_headline_and_no_more() -> None:
    document = made.document()
    document.selftest = None
    assert "AMD EPYC" in rendered(document)
    assert selftest_csv(document) == ""
    assert "## " not in selftest_markdown(document)


def test_a_document_reads_back() -> None:
    document = made.document()
    assert msgspec.json.decode(msgspec.json.encode(document), type=schema.Document) == document


@pytest.mark.parametrize("change", [{"reason": "why"}, {"interval": (0.5, 0.1)}, {"status": "not judged"}])
def test_judgements_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    one = made.selftest().judgements[0]
    with pytest.raises(ValueError, match=r"not judged has a reason|runs backwards"):
        msgspec.structs.replace(one, **change)
