# SPDX-License-Identifier: Apache-2.0
"""The terminal report says what happened, at any width, on any terminal, whatever a model calls itself."""

from __future__ import annotations

import io
import re

import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from pyperf_infer.reports.bands import split, width_of
from pyperf_infer.reports.notes import parity_line
from pyperf_infer.reports.terminal import render_run
from pyperf_infer.results import schema

LONG = "timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k"
NASTY = "[red]evil[/red]\x1b[31m\n\u202e:smile:"


def rendered(document: schema.Document, width: int = 200, *, terminal: bool = False) -> str:
    file = io.StringIO()
    color = "truecolor" if terminal else None
    render_run(document, Console(file=file, width=width, force_terminal=terminal, color_system=color))  # type: ignore[arg-type]
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_wide_terminal_gets_one_row_a_backend() -> None:
    lines = rendered(made.document()).splitlines()
    (torch,) = [line for line in lines if line.startswith("resnet50") and "52.31 ms" in line]
    (onnx,) = [line for line in lines if line.startswith("resnet50") and "24.86 ms" in line]
    assert words(torch) == (
        "resnet50 1 torch 52.31 ms ±0.4% 53.88 ms 57.02 ms 18.93 baseline = total "
        "412.0 MiB (+145.0 MiB) 412.0 ms (weights drawn) 115.1 ms"
    )
    assert words(onnx) == (
        "resnet50 1 onnxruntime 24.86 ms ±0.4% 25.61 ms 27.10 ms 39.83 2.104x faster [2.093, 2.115] = total "
        "412.0 MiB (+145.0 MiB) 412.0 ms 54.69 ms 8.710 s"
    )


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    document = made.document(
        [
            made.result(model, batch, backend)
            for model in (LONG, "resnet18")
            for batch in (1, 16)
            for backend in ("torch", "onnxruntime")
        ],
        [made.comparison(model, batch) for model in (LONG, "resnet18") for batch in (1, 16)],
    )
    text = rendered(document, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for value in ("52.31 ms", "±0.4%", "18.93", "2.104x", "[2.093,", "= total", "115.1 ms", "8.710 s"):
        assert value in text
    assert LONG in "".join(text.split()) if width < len(LONG) else LONG in text


def test_where_not_even_one_column_fits_cells_are_folded_and_not_cut_off() -> None:
    text = rendered(made.document(), 30)
    assert "412.0 MiB" in text
    assert "24.86 ms" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 30


def test_lines_end_without_blanks() -> None:
    for width in (80, 200):
        assert all(line == line.rstrip() for line in rendered(made.document(), width).splitlines())


def test_no_colour_where_it_is_not_a_terminal_or_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in rendered(made.document())
    assert "\x1b[32m" in rendered(made.document(), terminal=True)  # green: outputs agree, and faster
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", rendered(made.document(), terminal=True))


@pytest.mark.parametrize("width", [80, 200])
def test_a_name_is_printed_and_not_obeyed(width: int) -> None:
    warning = schema.Warning(code="x", message=NASTY, remedy=NASTY)
    failed = made.failed(model=NASTY, message=NASTY)
    text = rendered(made.document([made.result(NASTY), failed], warnings=[warning]), width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"[red]evil[/red]\x1b[31m\n\u202e:smile:" in text


def test_a_terminal_without_unicode_gets_a_report() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    render_run(made.document([made.result("r\N{LATIN SMALL LETTER E WITH ACUTE}s")]), Console(file=file, width=200))
    file.flush()
    assert b"+/-0.4%" in raw.getvalue()
    assert rb"r\xe9s" in raw.getvalue()


def test_a_refused_percentile_says_why() -> None:
    document = made.document([made.result(refused_p99="120 of 368 samples", count=120)])
    assert "n/a (120 of 368 samples)" in rendered(document)
    narrow = rendered(document, 80)
    assert "n/a" in narrow
    assert "no p99 for torch: 120 of 368 samples" in narrow


def test_a_failed_row_shows_its_reason() -> None:
    text = rendered(made.document([made.result(), made.failed(backend="onnxruntime", message="No such op: Foo")]))
    assert re.search(r"^resnet50 +1 +onnxruntime +failed$", text, re.MULTILINE)
    assert "onnxruntime failed (OutOfMemoryError): No such op: Foo" in text


@pytest.mark.parametrize(
    ("status", "word"), [("interrupted", "INTERRUPTED"), ("failed", "FAILED"), ("complete", "pyperf")]
)
def test_the_first_word_tells_whether_all_was_done(status: str, word: str) -> None:
    assert rendered(made.document(status=status)).startswith(word)
    assert rendered(made.document([], status=status)).startswith(word)


def test_a_result_that_did_not_converge_is_marked() -> None:
    text = rendered(made.document([made.result(converged=False, steady=False)]))
    assert "±0.4%*" in text
    assert "* not converged: the interval of p50 is wider than the ±1% asked for" in text
    assert "budget spent (not converged)" in text
    assert "(budget spent)" in text
    assert "not converged" not in rendered(made.document())


def test_a_halved_batch_shows_what_was_asked() -> None:
    assert "16 (asked 64)" in rendered(made.document([made.result(batch_size=16, asked=64)]))


def test_a_backend_with_a_submit_of_its_own_shows_it() -> None:
    row = made.result()
    row.summary.submit = made.block(0.5)
    text = rendered(made.document([row]))
    assert "500.0 us" in text
    assert "= total" not in text


def test_an_undecided_comparison_says_why() -> None:
    comparison = made.comparison(verdict="undecided", ratio=1.004, interval=None, reason="interference: 4% apart")
    text = rendered(made.document(comparisons=[comparison]))
    assert "1.004x undecided" in text
    assert "onnxruntime against torch: interference: 4% apart" in text


def test_a_warning_stands_once_with_its_rows_and_its_remedy() -> None:
    warning = schema.Warning(code="noisy", message="The machine is busy.", remedy="Stop the rest.")
    rows = [made.result(batch_size=batch, backend=backend) for batch in (1, 2) for backend in ("torch", "onnxruntime")]
    for row in rows:
        if row.method.backend == "torch":
            row.warnings.append(warning)
    text = rendered(made.document(rows))
    assert text.count("The machine is busy.") == 1
    assert "torch: The machine is busy." in text
    assert "Stop the rest." in text


def test_a_warning_about_some_rows_of_a_backend_is_not_told_of_all() -> None:
    warning = schema.Warning(code="noisy", message="The machine is busy.", remedy="Stop the rest.")
    rows = [made.result(batch_size=batch, backend=backend) for batch in (1, 2) for backend in ("torch", "onnxruntime")]
    rows[0].warnings.append(warning)
    assert "batch 1 torch: The machine is busy." in rendered(made.document(rows))


def test_the_method_is_told() -> None:
    text = rendered(made.document())
    for part in (
        "steady_clock (step 1 ns, timing an empty call gives 21 ns)",
        "native, Python callable (torch); native (onnxruntime)",
        "32 calls, 1.250 s",
        "interval reached",
        "random (seed 42): the time is real, the predictions mean nothing",
        "122 on CPUExecutionProvider (before fusion)",
        "import 2.100 s",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (
            "equal",
            None,
            "outputs agree with those of torch: largest difference 1.2e-6 of the output's movement (tolerance 1e-3)",
        ),
        (
            "different",
            None,
            "outputs DIFFER from those of torch: largest difference 3.2e-2 of the output's movement (tolerance 1e-3)",
        ),
        ("not checked", "it is constant", "outputs not checked against those of torch: it is constant"),
        ("invalid", "'logits' holds NaN", "outputs INVALID: 'logits' holds NaN"),
    ],
)
def test_parity_in_words(status: str, reason: str | None, line: str) -> None:
    assert parity_line(made.parity(status, reason)) == line


def test_parity_names_the_worst_output_and_counts_the_unchecked() -> None:
    parity = made.parity()
    parity.outputs.append(
        schema.OutputParity(name="mask", largest_difference=1, movement=9, relative=4e-4, status="equal")
    )
    parity.outputs.append(
        schema.OutputParity(name="flat", largest_difference=0, movement=0, relative=None, status="not checked")
    )
    parity.atol = 1e-5
    assert parity_line(parity) == (
        "outputs agree with those of torch: largest difference in 'mask' 4e-4 of the output's movement "
        "(tolerance 1e-3 + 1e-5 absolute; 1 of 3 outputs not checked)"
    )


@given(st.lists(st.integers(1, 30)), st.lists(st.integers(1, 60), max_size=12), st.integers(20, 200))
def test_bands_hold_every_column_once_and_fit(keys: list[int], metrics: list[int], available: int) -> None:
    bands = split(keys, metrics, available)
    assert [index for band in bands for index in band] == list(range(len(metrics)))
    for band in bands:
        assert len(band) == 1 or width_of([*keys, *(metrics[one] for one in band)]) <= available
