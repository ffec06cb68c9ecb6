# SPDX-License-Identifier: Apache-2.0
"""The busy time's pass against PyTorch's own profiler, as far as it goes without a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from pyperf_infer.backends.busy import gpu_busy, work_intervals

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def kernel(begin: int, end: int, device: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        name=lambda: "gemm",
        device_type=lambda: SimpleNamespace(name="CUDA"),
        device_index=lambda: device,
        start_ns=lambda: begin,
        end_ns=lambda: end,
        is_user_annotation=lambda: False,
        activity_type=lambda: "kernel",
    )


class Machine:
    """One that claims to have a GPU, and whose profiler sees `events` and keeps a log of its `steps`."""

    def __init__(self) -> None:
        self.events: list[SimpleNamespace] = []
        self.steps: list[str] = []
        self.fails_at = ""

    def profile(self, *, activities: list[ProfilerActivity]) -> SimpleNamespace:
        assert activities == [ProfilerActivity.CUDA]
        results = SimpleNamespace(events=lambda: self.events)
        return SimpleNamespace(
            start=lambda: self._step("start"),
            stop=lambda: self._step("stop"),
            profiler=SimpleNamespace(kineto_results=results),
        )

    def _step(self, name: str) -> None:
        self.steps.append(f"{name} {os.environ.get('KINETO_LOG_LEVEL')}")
        if self.fails_at == name:
            raise RuntimeError(f"no {name}\nand more")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(torch.profiler, "profile", made.profile)
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {ProfilerActivity.CUDA})
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: made.steps.append(f"synchronize {device}"))
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    return made


def test_the_calls_are_made_and_awaited_inside_the_profile(machine: Machine) -> None:
    machine.events = [kernel(0, 3_000_000), kernel(0, 9_000_000, device=0), kernel(10_000_000, 11_000_000, device=1)]
    busy = gpu_busy(lambda calls: machine.steps.append(f"{calls} calls"), 3, device=0)
    assert machine.steps == ["start 6", "3 calls", "synchronize 0", "stop 6"]
    assert (busy.ms_per_call, busy.kernels_per_call, busy.missing) == (3.0, 2 / 3, None)
    assert gpu_busy(lambda calls: None, 1, device=1).ms_per_call == 1.0
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_a_log_level_of_the_users_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "1")
    gpu_busy(lambda calls: None, 1)
    assert machine.steps == ["start 1", "synchronize 0", "stop 1"]
    assert os.environ["KINETO_LOG_LEVEL"] == "1"


@pytest.mark.parametrize(("step", "said"), [("start", "does not start: no start"), ("stop", "does not end: no stop")])
def test_a_profiler_that_fails_is_told_of(machine: Machine, step: str, said: str) -> None:
    machine.events = [kernel(0, 1)]
    machine.fails_at = step
    busy = gpu_busy(lambda calls: machine.steps.append("calls"), 1)
    assert (busy.ms_per_call, busy.kernels_per_call, busy.missing) == (None, None, f"torch.profiler {said}")
    assert ("calls" in machine.steps) == (step == "stop")


@pytest.mark.parametrize("fails_at", ["", "stop"])
def test_what_the_target_raises_is_passed_on_and_the_profiler_stopped(machine: Machine, fails_at: str) -> None:
    machine.fails_at = fails_at

    def interrupted(calls: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpu_busy(interrupted, 1)
    assert machine.steps == ["start 6", "stop 6"]


def no_cuda(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch.version, "cuda", None)
    return "this PyTorch is built without CUDA"


def no_device(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return "PyTorch finds no CUDA device"


def no_cupti(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {ProfilerActivity.CPU})
    return "this PyTorch's profiler is built without CUPTI"


def another_profiler(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch.autograd, "_profiler_enabled", lambda: True)
    return "another torch.profiler is running in this process"


@pytest.mark.parametrize("lack", [no_cuda, no_device, no_cupti, another_profiler])
def test_what_is_lacking_is_named_and_nothing_is_run(
    lack: Callable[[pytest.MonkeyPatch], str], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = lack(monkeypatch)
    busy = gpu_busy(lambda calls: machine.steps.append("calls"), 1)
    assert (busy.ms_per_call, busy.kernels_per_call, busy.missing) == (None, None, said)
    assert machine.steps == []


@without_gpu
def test_without_a_gpu_the_answer_is_a_reason() -> None:
    assert gpu_busy(lambda calls: None, 1).missing in {
        "PyTorch finds no CUDA device",
        "this PyTorch is built without CUDA",
    }


@pytest.fixture
def real_events() -> list[Any]:
    with profile(activities=[ProfilerActivity.CPU]) as running:
        assert torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
        torch.ones(64, 64) @ torch.ones(64, 64)
    assert not torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
    assert running.profiler is not None
    assert running.profiler.kineto_results is not None
    return running.profiler.kineto_results.events()


def test_pytorchs_events_have_what_is_asked_of_them(real_events: list[Any]) -> None:
    assert work_intervals(real_events, 0) == []  # all of them ran on the host
    event = next(event for event in real_events if event.name() == "aten::mm")
    assert event.device_type().name == "CPU"
    assert isinstance(event.device_index(), int)
    assert 0 < event.start_ns() < event.end_ns()
    assert event.is_user_annotation() is False
    assert getattr(event, "activity_type", lambda: "cpu_op")() == "cpu_op"
