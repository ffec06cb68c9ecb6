# SPDX-License-Identifier: Apache-2.0
"""Runs of backends that launch graphs on the fake driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fake_backends import FakeBackend, executed

from pyperf_infer import _core
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.timing.cuda import open_gpu

if TYPE_CHECKING:
    import pytest
    from fake_cuda import FakeCuda

    from pyperf_infer.measure.run import Run

MS = 1_000_000


def options(**more: Any) -> BackendOptions:
    return BackendOptions(threads=1, device="cuda", **more)


def graph_of(fake: FakeCuda, duration_ns: int, asked: BackendOptions) -> Callable[[object], _core.Target]:
    """Makes a target that launches a graph of this length."""

    def make(_: object) -> _core.Target:
        stream = _core.GpuStream(open_gpu(0))
        graph = fake.graph(duration_ns)
        return _core.GraphTarget([_core.GraphLane(graph, stream)], asked.stream_plan())

    return make


def run_of(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, *, duration_ns: int = MS, asked: BackendOptions | None = None,
    **plan: Any,
) -> Run:  # fmt: skip
    asked = asked or options()
    backend = FakeBackend("torch-cudagraph", make_target=graph_of(fake, duration_ns, asked))
    return executed(monkeypatch, backend, options=asked, poll_gpu=False, **plan)
