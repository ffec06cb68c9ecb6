# SPDX-License-Identifier: Apache-2.0
"""Contests of fake backends: one side each, see fake_backends.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fake_backends import FakeBackend, Source

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure import versus as module
from pyperf_infer.measure.contests import Asked, side_label
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.measure.versus import Versus


def fought(
    monkeypatch: pytest.MonkeyPatch,
    *backends: FakeBackend,
    own: Sequence[dict[str, Any]] = (),
    raises: type[BaseException] | None = None,
    device: str = "cpu",
    **plan: Any,
) -> Versus:
    """A contest of these, A first, as far as it went. `own[i]` is what the plan of side i has beside `plan`."""
    monkeypatch.setattr(module, "make_backend", lambda _, options: backends[options.opset])
    monkeypatch.setattr(module, "resolve", Source)
    sides = [
        _asked(number, device, {**plan, **(own[number] if number < len(own) else {})})
        for number in range(len(backends))
    ]
    job = Versus(sides, command=["pyperf-infer"])
    if raises is None:
        job.execute()
    else:
        with pytest.raises(raises):
            job.execute()
    assert len(job.results) == len(job.samples) == len(job.document("complete").results)
    return job


def _asked(number: int, device: str, plan: dict[str, Any]) -> Asked:
    asked: dict[str, Any] = {
        "models": ("m",), "backends": ("onnxruntime",), "duration_s": 0.0, "max_duration_s": 0.05, "warmup_ms": 1.0
    }  # fmt: skip
    complete = RunPlan(**{**asked, **plan}, options=BackendOptions(threads=1, opset=number, device=device))
    has_own = {f"own_{what}": number > 0 and name in plan for what, name in _OWN.items()}
    return Asked(label=side_label(number), text=f"--opset {number}" if number else "", plan=complete, **has_own)


_OWN = {"model": "models", "batch": "batch_sizes"}
