# SPDX-License-Identifier: Apache-2.0
"""The switches behind a precision: set, read back from torch itself, and put back as they were."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.torch_precision import autocast, check_precision, effective_settings, switches, weights_dtype
from pyperf_infer.errors import BackendError, UsageError

backends: Any = torch.backends

READINGS: dict[str, Callable[[], object]] = {
    "matmul": lambda: backends.cuda.matmul.fp32_precision,
    "conv": lambda: backends.cudnn.conv.fp32_precision,
    "rnn": lambda: backends.cudnn.rnn.fp32_precision,
    "generic": lambda: backends.fp32_precision,
    "onednn": lambda: backends.mkldnn.matmul.fp32_precision,
    "benchmark": lambda: backends.cudnn.benchmark,
    # The older ones, which torch refuses to read where they disagree with those above.
    "matmul precision": torch.get_float32_matmul_precision,
    "cuBLAS allow_tf32": lambda: backends.cuda.matmul.allow_tf32,
    "cuDNN allow_tf32": lambda: backends.cudnn.allow_tf32,
}


def newer(target: Any, word: str) -> Callable[[], None]:
    return lambda: setattr(target, "fp32_precision", word)


def older(target: Any, on: bool) -> Callable[[], None]:
    return lambda: setattr(target, "allow_tf32", on)


# What a model's own code may have done before.
ACTIONS: list[Callable[[], None]] = [
    *(newer(target, word) for target in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends)
      for word in ("ieee", "tf32", "none")),
    *(older(target, on) for target in (backends.cuda.matmul, backends.cudnn) for on in (False, True)),
    *(lambda word=word: torch.set_float32_matmul_precision(word) for word in ("highest", "high", "medium")),
]  # fmt: skip


def options(**asked: Any) -> BackendOptions:
    return BackendOptions(threads=1, device="cuda", **asked)


def readings() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, read in READINGS.items():
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = "refused"
    return found


def defaults() -> None:
    """As a process starts; the older switches write the newer ones, so that those come last."""
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    backends.fp32_precision = "none"
    backends.cuda.matmul.fp32_precision = "none"
    backends.mkldnn.matmul.fp32_precision = "none"
    backends.cudnn.conv.fp32_precision = backends.cudnn.rnn.fp32_precision = "tf32"
    backends.cudnn.benchmark = False


@pytest.fixture(autouse=True)
def as_a_process_starts() -> Iterator[None]:
    before = readings()
    defaults()
    assert readings() == before
    yield
    defaults()


def test_torch_itself_lets_float32_convolutions_round_to_tf32() -> None:
    """The reason for all this. If it ever fails, torch has changed its mind."""
    assert effective_settings()["cudnn_conv_tf32"] is True


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_tf32_is_off_everywhere_but_where_it_was_asked_for(precision: str) -> None:
    with switches(options(precision=precision)):
        settings = effective_settings()
    assert [settings[f"{name}_tf32"] for name in ("matmul", "cudnn_conv", "cudnn_rnn")] == [False] * 3


def test_tf32_is_on_in_all_libraries_where_it_was_asked_for() -> None:
    with switches(options(precision="tf32")):
        settings = effective_settings()
    assert [settings[f"{name}_tf32"] for name in ("matmul", "cudnn_conv", "cudnn_rnn")] == [True] * 3


@given(st.lists(st.sampled_from(ACTIONS), max_size=6), st.sampled_from(["float32", "tf32"]))
def test_whatever_a_model_set_before_the_precision_holds_and_is_put_back(
    actions: list[Callable[[], None]], precision: str
) -> None:
    """An older switch that could not be read may be readable after: the contradiction need not come back."""
    defaults()
    for act in actions:
        act()
    before = readings()
    with switches(options(precision=precision)):
        inside = readings()
        settings = effective_settings()
    after = readings()
    on = precision == "tf32"
    assert [settings[f"{name}_tf32"] for name in ("matmul", "cudnn_conv", "cudnn_rnn")] == [on] * 3
    assert (inside["cuBLAS allow_tf32"], inside["cuDNN allow_tf32"]) == (on, on)
    assert {name: value for name, value in after.items() if before[name] != "refused"} == {
        name: value for name, value in before.items() if value != "refused"
    }


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_model_may_use_the_older_switches_inside(precision: str) -> None:
    """torch.backends.cudnn.flags() reads them all, and raises where old and new disagree."""
    with switches(options(precision=precision)), backends.cudnn.flags(enabled=False):
        pass


def test_the_switches_are_put_back_after_an_error() -> None:
    before = readings()
    with pytest.raises(ZeroDivisionError), switches(options(precision="tf32")):
        raise ZeroDivisionError
    assert readings() == before


def test_nobody_is_told_of_deprecated_switches() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with switches(options(precision="tf32")):
            pass


@pytest.mark.parametrize(("search", "searches"), [("exhaustive", True), ("heuristic", False)])
def test_the_search_for_convolutions_is_cudnns_and_only_inside(search: str, searches: bool) -> None:
    backends.cudnn.benchmark = not searches
    with switches(options(conv_search=search)):
        assert effective_settings()["cudnn_benchmark"] is searches
    assert backends.cudnn.benchmark is not searches


def test_scopes_of_several_backends_may_be_open_at_once() -> None:
    before = readings()
    with switches(options(precision="tf32")):
        with switches(options(precision="float32")):
            assert effective_settings()["matmul_tf32"] is False
        assert effective_settings()["matmul_tf32"] is True
    assert readings() == before


def test_weights_follow_the_precision_but_stay_under_autocast() -> None:
    found = {name: weights_dtype(options(precision=name)) for name in ("float32", "tf32", "float16", "bfloat16")}
    assert found == {"float32": None, "tf32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
    assert weights_dtype(options(precision="float16", autocast=True)) is None


def test_autocast_is_to_the_precision_and_casts_weights_in_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def record(device: str, dtype: torch.dtype, cache_enabled: bool) -> AbstractContextManager[object]:
        asked.append((device, dtype, cache_enabled))
        return torch.inference_mode()

    monkeypatch.setattr(torch, "autocast", record)
    with autocast(options(precision="bfloat16", autocast=True)), autocast(options(precision="bfloat16")):
        pass
    assert asked == [("cuda", torch.bfloat16, False)]


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_autocast_without_a_short_type_is_a_usage_error(precision: str) -> None:
    with pytest.raises(UsageError, match=f"--autocast needs --precision float16 or bfloat16, and it is {precision}"):
        check_precision(options(precision=precision, autocast=True), (9, 0))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_gpu_that_has_no_such_precision_is_told_from_one_that_has(precision: str) -> None:
    check_precision(options(precision=precision), (8, 0))
    with pytest.raises(BackendError, match=f"{precision} needs .* 8.0 or more, and this one has 7.5"):
        check_precision(options(precision=precision), (7, 5))
    check_precision(options(precision="float16"), (7, 5))


def test_tf32_that_the_environment_forbids_is_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(UsageError, match="NVIDIA_TF32_OVERRIDE=0"):
        check_precision(options(precision="tf32"), (9, 0))
    check_precision(options(precision="float32"), (9, 0))
    assert effective_settings()["nvidia_tf32_override"] == "0"
