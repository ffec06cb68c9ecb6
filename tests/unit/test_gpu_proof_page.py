# SPDX-License-Identifier: Apache-2.0
"""The page of a GPU proof: files that a later call goes on from, and that replace no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gpu_proof
import pytest
from gpu.figures import RowResult, at_most, failed, not_yet, shown
from gpu.page import Page, PageError, load, markdown, new_stem, newest_unfinished, save, verdict
from gpu.plan import PlannedRow, rows

PLAN = tuple(PlannedRow(name, f"what {name} shows", f"gpu.{name}", 1.0, 2.0) for name in ("one", "two", "three"))


def new_page(device: str = "NVIDIA H100 80GB HBM3", created_utc: str = "2026-11-25T01:02:03Z") -> Page:
    page = Page.of_plan("core", PLAN, device=device, source="abc")
    page.created_utc = created_utc
    return page


def row(name: str, status: str, **more: object) -> RowResult:
    return RowResult(name=name, what="", status=status, **{"reason": "it says why", **more})  # type: ignore[arg-type]


def test_a_new_page_has_every_row_left_in_the_order_of_the_plan() -> None:
    page = new_page()
    assert page.left == ["one", "two", "three"]
    page.set(row("two", "pass"))
    page.set(row("build", "pass"))
    assert [one.name for one in page.rows] == ["build", "one", "two", "three"]
    assert page.left == ["one", "three"]


def test_a_page_comes_back_from_its_file(tmp_path: Path) -> None:
    page = new_page()
    page.machine = {"GPU": "x", "versions": {"torch": "2.11"}}
    page.calls.append({"begin_utc": "2026-11-25T01:02:03Z", "seconds": 12.5})
    page.set(row("one", "fail", figures=(at_most("a", 3.0, 1.0, "us", spread=(1.0, 2.0), spread_of="quartiles"),)))
    save(page, tmp_path / "page")
    assert load(tmp_path / "page.json") == page
    assert not list(tmp_path.glob("*.part"))


def test_no_page_replaces_another(tmp_path: Path) -> None:
    stems = []
    for _ in range(3):
        stem = new_stem(tmp_path, new_page())
        save(new_page(), stem)
        stems.append(stem.name)
    first = "2026-11-25-gpu-nvidia-h100-80gb-hbm3"
    assert stems == [first, f"{first}-2", f"{first}-3"]


def test_the_newest_run_of_the_mode_with_rows_left_is_gone_on_with(tmp_path: Path) -> None:
    done = new_page(created_utc="2026-11-25T09:00:00Z")
    for planned in PLAN:
        done.set(row(planned.name, "pass"))
    full = replace(new_page(created_utc="2026-11-25T08:00:00Z"), mode="full")
    older, newer = new_page(created_utc="2026-11-25T06:00:00Z"), new_page(created_utc="2026-11-25T07:00:00Z")
    for page in (done, full, newer, older):
        save(page, new_stem(tmp_path, page))
    (tmp_path / "2026-11-26-gpu-broken.json").write_text("{")
    (tmp_path / "2026-11-21-main_job.json").write_text("{}")
    assert newest_unfinished(tmp_path, "core")[1].created_utc == newer.created_utc
    assert newest_unfinished(tmp_path, "full")[1].created_utc == full.created_utc


def test_nothing_to_resume_says_so(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="nothing to resume"):
        newest_unfinished(tmp_path, "core")


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "other", "schema": 1}', '{"kind": "pyperf-infer gpu proof"}'])
def test_another_file_is_no_page(tmp_path: Path, text: str) -> None:
    file = tmp_path / "page.json"
    file.write_text(text)
    with pytest.raises(PageError):
        load(file)


def test_a_page_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    save(new_page(), tmp_path / "page")
    values = json.loads((tmp_path / "page.json").read_text())
    (tmp_path / "page.json").write_text(json.dumps({**values, "schema": 2}))
    with pytest.raises(PageError, match="proof 2"):
        load(tmp_path / "page.json")


def test_the_verdict_is_that_of_the_worst_row() -> None:
    page = new_page()
    assert verdict(page).startswith("Unfinished")
    page.set(row("one", "fail"))
    assert verdict(page).startswith("FAIL: one.")
    page.set(row("one", "not yet"))
    page.set(row("two", "pass"))
    page.set(row("three", "pass"))
    assert verdict(page) == "Every row that could run passed. Rows: 1 not yet, 2 pass."


def test_the_verdict_counts_the_figures_that_are_not_there_in_rows_that_passed_too() -> None:
    page = new_page()
    page.set(row("one", "pass", figures=(shown("a", 1.0), *(not_yet(name, "no provider") for name in "bcde"))))
    page.set(row("two", "pass", figures=(shown("a", 1.0),)))
    page.set(row("three", "not yet", figures=(not_yet("a", "no AOTI"),)))
    assert verdict(page) == (
        "Every row that could run passed. Rows: 2 pass, 1 not yet. Figures not yet: 4 in one, 1 in three."
    )


def test_the_page_for_people_says_beside_the_status_how_many_figures_are_not_there() -> None:
    page = new_page()
    page.set(row("one", "pass", figures=(shown("a", 1.0), *(not_yet(name, "no provider") for name in "bcde"))))
    page.set(row("two", "fail", figures=(failed("a", "broken"), not_yet("b", "no AOTI"))))
    page.set(row("three", "not yet", figures=(not_yet("a", "no AOTI"),)))
    text = markdown(page)
    assert "| one |  | pass (4 figures not yet) |  |" in text
    assert "| two |  | **fail** (1 figure not yet) |  |" in text
    assert "| three |  | not yet |  |" in text
    assert "## one: pass (4 figures not yet)" in text


def test_a_dry_run_claims_nothing() -> None:
    page = new_page()
    page.dry()
    assert page.left == page.failed == []
    assert {one.status for one in page.rows} == {"not run"}
    assert verdict(page).startswith("Dry run: nothing was measured.")


def test_the_page_for_people_shows_failures_bounds_and_reasons() -> None:
    page = new_page()
    page.machine = {"GPU": "H100", "versions": {"torch": "2.11", "triton": "3.6"}, "commit": None}
    figures = (at_most("gap", 3.0, 1.0, "us"), not_yet("aoti", "no AOTI"), shown("offset", 2.0, "us"), failed("b", "c"))
    page.set(row("one", "fail", figures=figures, lines=("the log's end",), seconds=12.3))
    text = markdown(page)
    assert "| gap | 3 us | at most 1 us | **FAIL** |  |" in text
    assert "| aoti | none |  | not yet | no AOTI |" in text
    assert "| offset | 2 us |  |  |  |" in text
    assert "| one |  | **fail** (1 figure not yet) | 12 |" in text
    assert "| versions | torch 2.11, triton 3.6 |" in text
    assert "| commit | not known |" in text
    assert "the log's end" in text
    assert "| two | what two shows | left |  |" in text


def test_what_a_cell_holds_breaks_no_table() -> None:
    page = new_page()
    page.set(row("one", "fail", figures=(failed("a|b", "line\nline <b> \\"),)))
    (line,) = [line for line in markdown(page).splitlines() if line.startswith("| a")]
    assert line == "| a\\|b | none | runs to its end | **FAIL** | line line &lt;b> \\\\ |"


@pytest.mark.parametrize("mode", ["core", "full"])
def test_every_planned_row_is_a_module_that_is_there_and_fits_in_a_call(mode: str) -> None:
    planned = rows(mode)  # type: ignore[arg-type]
    assert len({one.name for one in planned}) == len(planned)
    for one in planned:
        assert (gpu_proof.BENCHMARKS / f"{one.module.replace('.', '/')}.py").exists()
        assert 0 < one.budget_s < one.timeout_s <= 400  # in a call of 530 s that first builds
        assert ("--core" in one.arguments) == (mode == "core")


def test_the_core_fits_in_one_call_with_the_build() -> None:
    assert sum(one.budget_s for one in rows("core")) <= 530 - 120
