# SPDX-License-Identifier: Apache-2.0
"""Which fields of the method must match before two times are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import stored_documents as stored
from msgspec.structs import replace

from pyperf_infer.stored.unlike import binding_fields, compare_methods, listed

if TYPE_CHECKING:
    from pyperf_infer.results import schema


def names(fields: list[schema.StoredField]) -> list[str]:
    return [one.field for one in fields]


def test_the_same_method_has_no_differences() -> None:
    assert compare_methods(stored.row(), stored.row()) == ([], [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "cold"),
        ("clock", "gpu_event"),
        ("threads", 4),
        ("inter_op_threads", 2),
        ("loop", "native"),
    ],
)
def test_a_field_that_changes_what_a_sample_is_must_match(field: str, value: Any) -> None:
    mine, theirs = stored.row(), stored.row(method={field: value})
    binding, _ = compare_methods(mine, theirs)
    assert names(binding) == [field]
    assert binding[0].baseline == str(getattr(mine.method, field))
    assert binding[0].contender == str(value)


@pytest.mark.parametrize(
    ("field", "value"), [("streams", 2), ("wait", "block"), ("include_transfers", True), ("gated", False)]
)
def test_how_a_gpu_was_timed_must_match(field: str, value: Any) -> None:
    mine, theirs = stored.gpu_row(), stored.gpu_row()
    assert theirs.method.gpu is not None
    changed = {field: value, "gate_reason": "made up"} if field == "gated" else {field: value}
    theirs.method.gpu = replace(theirs.method.gpu, **changed)
    assert names(compare_methods(mine, theirs)[0]) == [f"gpu.{field}"]


def test_which_of_several_gpus_ran_it_does_not_matter() -> None:
    theirs = stored.gpu_row()
    theirs.method.device = "cuda:3"
    assert compare_methods(stored.gpu_row(), theirs) == ([], [])


def test_a_switch_of_the_backend_must_match() -> None:
    binding, _ = compare_methods(stored.row(), stored.row(settings={"opt_level": "basic", "spinning": False}))
    assert [(one.field, one.baseline, one.contender) for one in binding] == [
        ("settings.opt_level", "all", "basic"),
        ("settings.spinning", "true", "false"),
    ]


def test_an_option_that_one_side_was_given_must_be_given_to_both() -> None:
    theirs = stored.row(settings={"session:intra_op.allow_spinning": "0"})
    binding, _ = compare_methods(stored.row(), theirs)
    assert [(one.field, one.baseline, one.contender) for one in binding] == [
        ("settings.session:intra_op.allow_spinning", None, "0")
    ]


def test_a_switch_that_only_one_version_knows_is_noted() -> None:
    binding, noted = compare_methods(stored.row(), stored.row(settings={"new_switch": True}))
    assert binding == []
    assert [(one.field, one.baseline, one.contender) for one in noted] == [("settings.new_switch", None, "true")]


def test_versions_and_counts_among_the_settings_are_noted() -> None:
    mine, theirs = (stored.row(settings={"onnxruntime": version, "graphs": 1}) for version in ("1.30.0", "1.31.0"))
    assert names(compare_methods(mine, theirs)[1]) == ["settings.onnxruntime"]
    assert compare_methods(mine, theirs)[0] == []


def test_what_a_cache_held_and_addresses_are_not_worth_a_word() -> None:
    mine = stored.row(settings={"export_cached": True, "provider:user_compute_stream": "94023"})
    theirs = stored.row(settings={"export_cached": False, "provider:user_compute_stream": "94024"})
    assert compare_methods(mine, theirs) == ([], [])


def test_seed_warm_up_and_stop_rule_are_noted() -> None:
    mine, theirs = stored.row(), stored.row(method={"seed": 7})
    assert theirs.method.warmup is not None
    assert theirs.method.stop is not None
    theirs.method.warmup = replace(theirs.method.warmup, budget_ms=10)
    theirs.method.stop = replace(theirs.method.stop, ci=0.05)
    binding, noted = compare_methods(mine, theirs)
    assert binding == []
    assert names(noted) == ["seed", "warmup.budget_ms", "stop.ci"]


def test_what_the_warm_up_took_is_no_difference() -> None:
    theirs = stored.row()
    assert theirs.method.warmup is not None
    theirs.method.warmup = replace(theirs.method.warmup, iterations=99, steady=False)
    assert compare_methods(stored.row(), theirs) == ([], [])


def test_of_unlike_backends_the_switches_and_the_loop_are_what_is_compared() -> None:
    theirs = stored.row(backend="onnxruntime", settings={"opt_level": "basic"}, method={"inter_op_threads": 2})
    binding, noted = compare_methods(stored.row(), theirs)
    assert binding == []
    assert {"loop", "inter_op_threads", "settings.opt_level"} <= set(names(noted))
    assert names(compare_methods(stored.row(), stored.row(backend="onnxruntime", method={"threads": 8}))[0]) == [
        "threads"
    ]


def test_of_a_cpu_against_a_gpu_the_threads_are_no_obstacle_but_streams_are() -> None:
    on_gpu = stored.gpu_row()
    on_gpu.method.threads = 16
    assert names(compare_methods(stored.row(), on_gpu)[0]) == []
    assert on_gpu.method.gpu is not None
    on_gpu.method.gpu = replace(on_gpu.method.gpu, streams=4)
    assert names(compare_methods(stored.row(), on_gpu)[0]) == ["gpu.streams"]


def test_a_cold_latency_and_a_cold_gpu_span_are_unlike_quantities() -> None:
    mine, theirs = stored.row(method={"mode": "cold"}), stored.gpu_row()
    theirs.method.mode = "cold"
    theirs.summary = replace(theirs.summary, gpu=theirs.summary.latency, latency=None)
    assert "quantity" in names(compare_methods(mine, theirs)[0])


def test_the_key_of_a_method_changes_with_what_must_match_only() -> None:
    key = binding_fields(stored.row())
    assert binding_fields(stored.row(method={"seed": 7})) == key
    assert binding_fields(stored.row(method={"threads": 7})) != key
    assert binding_fields(stored.row(settings={"opt_level": "basic"})) != key


def test_a_sentence_names_the_field_and_both_values() -> None:
    binding, _ = compare_methods(stored.row(), stored.row(method={"threads": 4}))
    assert listed(binding) == "threads is 2 in the baseline and 4 in the contender"
