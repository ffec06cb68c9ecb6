# SPDX-License-Identifier: Apache-2.0
"""`--vs`: what a side takes over from the command, what it may say, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyperf_infer.cli.run import run
from pyperf_infer.cli.vs_options import asked_sides, parse_vs
from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.measure.contests import Asked


def sides_of(*arguments: str) -> tuple[Asked, ...]:
    asked: dict[str, Any] = run.make_context("run", list(arguments)).params
    return asked_sides(asked, asked["vs"])


def test_what_is_left_out_is_as_in_the_command() -> None:
    first, other = sides_of(
        "resnet18", "-b", "4", "--backend", "onnxruntime", "--threads", "2", "--seed", "7", "--rtol", "0.5",
        "--duration", "3", "--vs", "--opt-level basic",
    )  # fmt: skip
    assert (other.label, other.text) == ("B", "--opt-level basic")
    assert (first.plan.options.opt_level, other.plan.options.opt_level) == ("all", "basic")
    assert (other.own_model, other.own_backend, other.own_batch) == (False, False, False)
    assert other.plan.models == first.plan.models
    assert other.plan.batch_sizes == first.plan.batch_sizes == (4,)
    assert other.plan.options.threads == first.plan.options.threads == 2
    assert (other.plan.seed, other.plan.rtol, other.plan.duration_s) == (7, 0.5, 3)


def test_a_side_may_name_model_batch_backend_and_precision_at_once() -> None:
    _, other = sides_of("resnet18", "--vs", "resnet50 -b 8 --backend torch --precision bfloat16 --channels-last")
    plan = other.plan
    assert (plan.models, plan.batch_sizes, plan.backends) == (("resnet50",), (8,), ("torch",))
    assert (plan.precision, plan.options.channels_last) == ("bfloat16", True)
    assert other.own_model
    assert other.own_batch
    assert other.own_backend


def test_the_tolerance_is_that_of_the_sides_own_precision_unless_it_was_given() -> None:
    first, other = sides_of("resnet18", "--vs", "--precision bfloat16")
    assert other.plan.rtol > first.plan.rtol


def test_identical_sides_and_several_of_them_are_labelled_in_order() -> None:
    sides = sides_of("resnet18", "--vs", "", "--vs", "  ", "--vs", "--seed 1")
    assert [(one.label, one.text) for one in sides] == [("A", ""), ("B", ""), ("C", ""), ("D", "--seed 1")]
    assert sides[1].plan == sides[0].plan


def test_session_options_are_added_by_key_and_the_sides_own_wins() -> None:
    first, other = sides_of(
        "resnet18", "--session-option", "a=1", "--session-option", "b=1",
        "--vs", '--session-option b=2 --session-option "c=two words"',
    )  # fmt: skip
    assert first.plan.options.session_options == {"a": "1", "b": "1"}
    assert other.plan.options.session_options == {"a": "1", "b": "2", "c": "two words"}


def test_weights_stay_with_their_model(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    _, same, other, own = sides_of(
        "resnet18", "--weights", str(weights), "--vs", "--opt-level basic", "--vs", "resnet50", "--vs",
        f"resnet50 --weights {tmp_path / 'other.pth'}",
    )  # fmt: skip
    assert same.plan.weights == weights
    assert other.plan.weights is None
    assert own.plan.weights == tmp_path / "other.pth"


def test_what_the_commands_precision_and_backend_brought_along_goes_with_them() -> None:
    _, plain, eager = sides_of(
        "resnet18", "--precision", "bfloat16", "--autocast", "--backend", "torch-compile", "--compile-mode",
        "max-autotune", "--vs", "--precision float32", "--vs", "--backend torch",
    )  # fmt: skip
    assert not plain.plan.options.autocast
    assert eager.plan.options.autocast
    assert eager.plan.options.compile_mode == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--mode throughput", "--mode is no part of what is compared"),
        ("--duration 3", "--duration is no part of what is compared"),
        ("--max-duration 3", "--max-duration"),
        ("--iterations 3", "--iterations"),
        ("--ci 2%", "--ci is no part"),
        ("--margin 2%", "--margin"),
        ("--percentiles 90", "--percentiles"),
        ("--warmup-ms 3", "--warmup-ms"),
        ("--rtol 3", "--rtol"),
        ("--no-retry", "--retry"),
        ("--results-file x.json", "--results-file"),
        ("--export-samples x.csv", "--export-samples"),
        ("--include-transfers", "--include-transfers"),
        ("--no-gate", "--gate"),
        ("-q", "--quiet"),
        ("--vs resnet50", "--vs is no part"),
        ("--fail-if-slower 3%", "--fail-if-slower"),
        ("--conv-search heuristic", "--conv-search is the whole process's"),
        ("--cpu-affinity 0", "--cpu-affinity is the whole process's"),
        ("--device cuda", "--device is the whole process's"),
        ("resnet18 resnet50", "one model stands in a --vs, and here are 2"),
        ("-b 1 -b 2", "one --batch-size stands in a --vs, and here are 2"),
        ("--backend torch --backend onnxruntime", "one --backend stands in a --vs"),
        ("--backend all", "--backend all names several"),
        ("--session-option 'a=b", "No closing quotation"),
        ("--session-option a", "'a' is not of the form key=value"),
        ("--opt-level fast", "--opt-level"),
        ("-b 0", "--batch-size"),
        ("--no-such-option", "--no-such-option"),
        ("--help", "--help"),
    ],
)
def test_what_cannot_stand_in_a_vs_is_refused_by_its_name(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_vs(text)
    assert said in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["--conv-search heuristic", "--cpu-affinity 0", "--device cuda"])
def test_what_is_the_processs_own_is_refused_with_the_way_to_compare_it_all_the_same(text: str) -> None:
    with pytest.raises(UsageError, match="--processes 5, and pyperf-infer compare"):
        parse_vs(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet18", "--vs", "--autocast"], "--autocast takes --precision"),
        (["resnet18", "--vs", "--cuda-graph"], "--cuda-graph: only with --device cuda"),
        (["resnet18", "--vs", "--compile-mode max-autotune"], "--compile-mode max-autotune takes"),
        (["resnet18", "--mode", "throughput", "--vs", "resnet50"], "--vs takes --mode latency"),
        (["resnet18", *["--vs", ""] * 26], "more than 25 times"),
    ],
)
def test_sides_that_contradict_themselves_are_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        sides_of(*arguments)
    assert said in str(error.value)
