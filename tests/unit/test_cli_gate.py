# SPDX-License-Identifier: Apache-2.0
"""`--fail-if-slower`: when it turns a run into exit code 1, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import result_documents as made

from pyperf_infer.cli.gate import gated, refuse_ungateable
from pyperf_infer.cli.run import run
from pyperf_infer.errors import UsageError
from pyperf_infer.statistics.holm import verdict_of

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Comparison, Document


def compared(interval: tuple[float, float] | None, *, margin: float = 0.01, reason: str | None = None) -> Document:
    """A document of one comparison; its verdict follows from the interval unless a reason leaves it open."""
    verdict, why = verdict_of(*interval, margin) if interval else ("undecided", None)
    one: Comparison = made.comparison(
        ratio=1.0 if interval is None else (interval[0] + interval[1]) / 2,
        interval=interval,
        verdict="undecided" if reason else verdict,
        reason=reason or why,
    )
    return made.document(comparisons=[msgspec.structs.replace(one, margin=margin)])


@pytest.mark.parametrize(("interval", "margin"), [((0.90, 0.95), 0.01), ((0.90, 0.97), 0.05), ((0.93, 0.97), 0.2)])
def test_a_whole_interval_beyond_the_limit_fires_whatever_the_margin(
    interval: tuple[float, float], margin: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gated(compared(interval, margin=margin), 0.03, 0) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "--fail-if-slower 3%: resnet50 batch 1, onnxruntime against torch: slower" in said.err
    assert ("though within the --margin of 20%" in said.err) == (margin == 0.2)


@pytest.mark.parametrize("interval", [(0.98, 1.02), (0.975, 0.985), (1.5, 1.6)])
def test_a_whole_interval_within_the_limit_passes_in_silence(
    interval: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gated(compared(interval), 0.03, 0) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (compared((0.95, 0.98)), "its interval reaches across 0.9709x"),
        (compared((0.95, 1.02)), "undecided: the interval reaches across the margin"),
        (compared((0.5, 0.6), reason="interference: the ratio is 1.000 when each runs alone"), "interference"),
        (compared((0.5, 0.6), reason="A ran 1 threads and B 3"), "A ran 1 threads and B 3"),
        (compared(None, reason="2 rounds are too few to say"), "2 rounds are too few to say"),
    ],
)
def test_what_could_not_be_judged_is_said_and_does_not_fire(
    document: Document, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gated(document, 0.03, 0) == 0
    error = capsys.readouterr().err
    assert "--fail-if-slower 3% could not judge resnet50 batch 1, onnxruntime against torch" in error
    assert said in error


def test_a_run_that_compared_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gated(made.document(comparisons=[]), 0.03, 0) == 0
    assert "nothing was compared" in capsys.readouterr().err


def test_a_graver_exit_code_stays_and_without_a_share_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert gated(compared((0.5, 0.6)), 0.03, 5) == 5
    assert "slower" in capsys.readouterr().err
    assert gated(compared((0.5, 0.6)), None, 0) == 0
    assert capsys.readouterr().err == ""


def test_sides_are_named_by_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from pyperf_infer.results.schema import Side

    rows = [made.result(), made.result("resnet18")]
    for label, row in zip("AB", rows, strict=True):
        row.side = Side(label=label, contest=0, given="")
    one = msgspec.structs.replace(
        made.comparison(interval=(0.5, 0.6), ratio=0.55, verdict="slower"),
        baseline="A", contender="B", baseline_row=0, contender_row=1,
    )  # fmt: skip
    assert gated(made.document(rows, [one]), 0.03, 0) == 1
    said = capsys.readouterr().err
    assert "B (resnet18 batch 1 float32 torch) against A (resnet50 batch 1 float32 torch): slower" in said


def _asked(*arguments: str) -> dict[str, Any]:
    return run.make_context("run", list(arguments)).params


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resnet18", "--backend", "torch"), "add --vs, or a second --backend"),
        (("resnet18", "--backend", "torch", "--backend", "torch"), "add --vs, or a second --backend"),
        (("m.onnx",), "add --vs, or a second --backend"),
        (("resnet18", "--mode", "throughput"), "--fail-if-slower takes --mode latency"),
    ],
)
def test_a_gate_without_a_comparison_is_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        refuse_ungateable(_asked(*arguments, "--fail-if-slower", "3%"))
    refuse_ungateable(_asked(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [("resnet18",), ("m.onnx", "--vs", ""), ("m.onnx", "resnet18"), ("resnet18", "--backend", "all")],
)
def test_a_gate_with_a_comparison_is_taken(arguments: tuple[str, ...]) -> None:
    refuse_ungateable(_asked(*arguments, "--fail-if-slower", "3%"))
