# SPDX-License-Identifier: Apache-2.0
"""The overhead's reports: every figure with its interval, what is not Python's said so, names shown and not obeyed."""

from __future__ import annotations

import csv
import io

import msgspec
import overhead_documents as made
import pytest
from rich.console import Console

from pyperf_infer.reports.overhead import render_overhead
from pyperf_infer.reports.overhead_text import overhead_csv, overhead_markdown
from pyperf_infer.results import schema

EVIL = "m\x1b[31m|`<b>*"


def ladder(batch: int = 1, **fields: object) -> schema.Overhead:
    return made.overhead(
        made.path("eager", 0.6),
        made.path("AOTI Python loader", 0.4),
        made.path("AOTI native loop", 0.0, half=0.0),
        made.path("session.run", 0.12),
        made.path("native loop", 0.0, half=0.0),
        batch=batch,
        **fields,
    )


def rendered(document: schema.Document, width: int = 200) -> str:
    file = io.StringIO()
    render_overhead(document, Console(file=file, width=width, color_system=None))
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def line_of(text: str, path: str) -> str:
    (line,) = [line for line in text.splitlines() if f" {path} " in line and "us" in line]
    return words(line)


def test_a_row_has_its_time_the_difference_and_the_share_with_their_intervals() -> None:
    text = rendered(made.document(ladder()))
    assert line_of(text, "session.run").startswith(
        "onnxruntime session.run 100.0 us +12.00 us (11.50 us to 12.50 us) 12.0% (11.5% to 12.5%) Python 99.00 us"
    )
    assert "baseline" in line_of(text, "AOTI native loop")
    assert "Python and more" in line_of(text, "eager")
    assert "resnet50, batch 1: input 1x3x224x224 float32" in text


def test_the_sentence_and_what_it_is_not_stand_below() -> None:
    text = words(rendered(made.document(ladder(), ladder(32))))
    assert (
        "At batch 1 and 32 Python is 40% of a request through the AOTI Python loader and 12% through session.run."
        in text
    )
    assert "session.run makes its outputs anew in every call: that is in its figure." in text
    assert "eager runs other kernels" in text
    assert "what is beyond the native loop is not Python's alone" in text
    assert "12 at batch 1 (interval reached; 345 calls thrown away after switching)" in text


def test_what_is_not_there_is_not_explained() -> None:
    only = made.overhead(made.path("run_with_iobinding", 0.1), made.path("native loop", 0.0))
    text = rendered(made.document(only))
    assert "session.run" not in text
    assert "eager" not in text
    assert "process" not in text


def test_a_process_apart_is_a_column() -> None:
    apart = made.overhead(made.path("run_with_iobinding", 0.1, process="own"), made.path("native loop", 0.0))
    assert line_of(rendered(made.document(apart)), "run_with_iobinding").endswith(" own")


def test_failures_come_first_and_leave_the_rest() -> None:
    failed = [made.path(name, failed="no provider", parity=None) for name in ("session.run", "run_with_iobinding")]
    text = rendered(made.document(made.overhead(*failed, made.path("native loop", 0.0)), status="failed"))
    assert "FAILED: not everything" in text
    assert "!! batch 1, onnxruntime session.run, run_with_iobinding failed: no provider" in text
    assert text.count("no provider") == 1
    assert "baseline" in text


def test_what_makes_a_figure_worth_less_is_said() -> None:
    rows = [
        made.path("session.run", 0.12, interference="1% to 2% when each runs alone"),
        made.path("run_with_iobinding", 0.1, share_interval=None, difference_interval_us=None, remarks=["slow today"]),
        made.path("native loop", 0.0, remarks=["slow today"]),
    ]
    text = words(rendered(made.document(made.overhead(*rows, rounds=3))))
    assert "session.run: paths disturb each other: what is beyond the native loop is 1% to 2%" in text
    assert "3 rounds are too few for an interval" in text
    assert "batch 1, run_with_iobinding, native loop: slow today" in text


def test_a_path_left_alone_is_not_told_to_take_more_time() -> None:
    """Time does not help where the others have failed, and without figures nothing is to be explained."""
    alone, other = (made.path(name, alone_us=99.0) for name in ("native loop", "session.run"))
    failed = made.path("session.run", failed="no provider", parity=None)
    text = words(rendered(made.document(made.overhead(alone, failed, rounds=0), status="failed")))
    assert "not timed" in text
    assert "--max-duration" not in text
    assert "Beyond the native loop: what" not in text
    both = words(rendered(made.document(made.overhead(alone, other, rounds=0))))
    assert "0 rounds are too few for an interval. Give it a longer --max-duration" in both


def test_an_interval_across_the_margin_asks_for_more_time() -> None:
    across = [made.path("session.run", 0.01, half=0.006), made.path("run_with_iobinding", 0.012, half=0.006)]
    text = words(rendered(made.document(made.overhead(*across, made.path("native loop", 0.0)))))
    assert "batch 1, session.run, run_with_iobinding: the intervals reach across the margin of 1%." in text
    assert "--max-duration" in text
    assert "--max-duration" not in rendered(made.document(ladder()))


def test_outputs_that_agree_are_counted() -> None:
    assert "the outputs of 4 other paths agree with those of eager" in rendered(made.document(ladder()))


@pytest.mark.parametrize("width", [40, 80, 100, 130, 300])
def test_it_fits_where_it_is_shown(width: int) -> None:
    text = rendered(made.document(ladder()), width)
    assert max(map(len, text.splitlines())) <= width
    if width >= 80:
        assert "session.run" in text
        assert "+12.00 us" in text


def test_markdown_has_the_same_with_names_escaped() -> None:
    document = made.document(ladder(model=EVIL))
    text = overhead_markdown(document)
    assert "\x1b" not in text
    assert r"### m\\x1b\[31m\|\`\<b\>\*, batch 1" in text
    assert (
        "| onnxruntime | session.run | 100.0 us | +12.00 us (11.50 us to 12.50 us) | 12.0% (11.5% to 12.5%) |" in text
    )
    assert "**At batch 1 Python is 40% of a request" in text
    assert "\x1b" not in rendered(document)


def test_csv_has_a_line_a_path_with_numbers_in_full() -> None:
    document = made.document(ladder(model="=cmd"), ladder(8))
    rows = list(csv.DictReader(io.StringIO(overhead_csv(document))))
    assert [(row["batch_size"], row["path"]) for row in rows[:2]] == [("1", "eager"), ("1", "AOTI Python loader")]
    assert len(rows) == 10
    session = rows[3]
    assert float(session["difference_low_us"]) == 100.0 * (0.12 - 0.005)
    assert (session["same_code"], rows[0]["same_code"]) == ("true", "false")
    assert session["model"] == "'=cmd"
    assert overhead_csv(made.document()) == ""


def test_before_a_batch_size_is_done_there_is_a_headline_and_no_more() -> None:
    text = rendered(made.document(status="interrupted"))
    assert "INTERRUPTED" in text
    assert "How it was measured" not in text
    assert overhead_markdown(made.document()).startswith("pyperf-infer")


def test_a_document_reads_back() -> None:
    document = made.document(ladder())
    assert msgspec.json.decode(msgspec.json.encode(document), type=schema.Document) == document


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"failed": "no"}, "has failed, and has a time all the same"),
        ({"difference_us": None}, "a difference comes with its share"),
        ({"share_interval": (0.2, 0.1)}, "share_interval runs backwards"),
        ({"difference_interval_us": (2.0, float("nan"))}, "difference_interval_us runs backwards"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made.path("session.run", 0.1, **fields)
