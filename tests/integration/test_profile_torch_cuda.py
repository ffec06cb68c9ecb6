# SPDX-License-Identifier: Apache-2.0
"""The profile of a model on a GPU, as far as it goes without one: spans from events, peaks from the allocator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_torch_cuda import FakeTorchCuda
from tiny_models import X, loaded
from torch import Tensor, nn

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import MeasurementError
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.profile.torch_profile import profile_torch

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import Profile, ProfileTable

PLAN = ProfilePlan(inferences=3, duration_s=0.0, max_duration_s=0.2, ci=50.0, python=False, trace=False)
OPTIONS = BackendOptions(threads=1, device="cuda")


class Device:
    """A clock and an allocator, which modules move."""

    now_ms = 0.0
    allocated = 1000  # the weights, say
    highest = 1000
    events = 0

    @classmethod
    def reset_peak(cls) -> None:
        cls.highest = cls.allocated

    @classmethod
    def take(cls, size: int) -> None:
        cls.allocated += size
        cls.highest = max(cls.highest, cls.allocated)


class Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        Device.events += 1
        self._at: float | None = None
        self._is_done = False

    def record(self) -> None:
        self._at, self._is_done = Device.now_ms, False

    def synchronize(self) -> None:
        self._is_done = True

    def elapsed_time(self, end: Event) -> float:
        assert end._is_done
        assert self._at is not None
        assert end._at is not None
        return end._at - self._at


class Work(nn.Module):
    """Takes time and memory: `spikes` before its parts, `holds` while they run, `leaves` when it is done."""

    def __init__(self, takes_ms: float, *parts: nn.Module, spikes: int = 0, holds: int = 0, leaves: int = 0) -> None:
        super().__init__()
        self.takes_ms, self.spikes, self.holds, self.leaves = takes_ms, spikes, holds, leaves
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        Device.now_ms += self.takes_ms
        Device.take(self.spikes)
        Device.take(self.holds - self.spikes)
        for part in self.parts:
            x = part(x)
        Device.take(self.leaves - self.holds)
        return x + 1


class Network(nn.Module):
    """Gives back what its parts left."""

    def __init__(self) -> None:
        super().__init__()
        inner = Work(4.0, holds=500)
        self.first = Work(2.0, inner, holds=100, leaves=30)
        self.second = Work(1.0, holds=40, leaves=10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        Device.now_ms += 0.5
        Device.take(-40)
        return x


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTorchCuda]:
    with FakeTorchCuda.installed() as fake:
        for name, value in {
            "Event": Event,
            "memory_allocated": lambda: Device.allocated,
            "max_memory_allocated": lambda: Device.highest,
            "reset_peak_memory_stats": Device.reset_peak,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        yield fake


def profile(tmp_path: Path, module: nn.Module, plan: ProfilePlan = PLAN) -> Profile:
    return profile_torch(loaded(module, X), {"x": (2, 4)}, OPTIONS, tmp_path, plan, seed=1)


def by_name(table: ProfileTable, field: str) -> dict[str, Any]:
    return {row.name: getattr(row, field) for row in table.rows}


def test_times_are_spans_on_the_stream(tmp_path: Path) -> None:
    layers = profile(tmp_path, Network()).tables[0]
    assert by_name(layers, "time_ms") == pytest.approx({"": 0.5, "first": 2.0, "first.parts.0": 4.0, "second": 1.0})
    assert by_name(layers, "total_ms") == pytest.approx({"": 7.5, "first": 6.0, "first.parts.0": 4.0, "second": 1.0})
    assert layers.whole_ms == pytest.approx(7.5)
    assert layers.rest_ms == pytest.approx(0.0, abs=1e-9)
    assert "CUDA events" in layers.method
    assert layers.perturbation is not None


def test_peaks_are_the_allocators_within_each_layer(tmp_path: Path) -> None:
    found = profile(tmp_path, Network())
    memory = next(one for one in found.tables if one.name == "memory")
    assert by_name(memory, "peak_memory_bytes") == {"": 600, "first": 600, "first.parts.0": 500, "second": 40}
    assert found.peak_memory_bytes == 600
    assert "max_memory_allocated" in (found.memory_method or "")
    assert Device.allocated == 1000


def test_a_peak_before_a_part_begins_is_not_lost(tmp_path: Path) -> None:
    class Spiking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.outer = Work(1.0, Work(1.0, holds=50), spikes=900, holds=100)

        def forward(self, x: Tensor) -> Tensor:
            return self.outer(x)  # type: ignore[no-any-return]

    memory = next(one for one in profile(tmp_path, Spiking()).tables if one.name == "memory")
    assert by_name(memory, "peak_memory_bytes") == {"": 900, "outer": 900, "outer.parts.0": 50}


def test_events_are_made_before_and_used_again(tmp_path: Path) -> None:
    class Counting(nn.Module):
        seen: list[int] = []  # noqa: RUF012

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(Device.events)
            return x + 1

    profile(tmp_path, nn.Sequential(Counting()))
    assert len(Counting.seen) > 10
    assert len(set(Counting.seen[10:])) == 1  # after the calls of preparing and of looking at shapes


def test_a_call_with_more_layers_than_the_first_has_events_too(tmp_path: Path) -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Work(1.0)
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            for _ in range(min(2 * self.calls, 6000)):
                x = self.part(x)
            return x

    plan = ProfilePlan(
        inferences=3, duration_s=0.0, max_duration_s=0.2, ci=50.0, python=False, memory=False, trace=False
    )
    layers = profile(tmp_path, Growing(), plan).tables[0]
    assert by_name(layers, "time_ms")["part"] == pytest.approx(by_name(layers, "calls")["part"])


def test_a_failure_gives_the_memory_back(tmp_path: Path, world: FakeTorchCuda) -> None:
    class Failing(nn.Module):
        left = 6  # calls of preparing, and then one

        def forward(self, x: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("CUDA error: unspecified launch failure")
            return x

    before = world.emptied
    with pytest.raises(MeasurementError, match="unspecified launch failure"):
        profile(tmp_path, Failing())
    assert world.emptied > before
