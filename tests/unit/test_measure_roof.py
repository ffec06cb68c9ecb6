# SPDX-License-Identifier: Apache-2.0
"""A row of `run` against its roof: what is filled in, and where it is left alone."""

from __future__ import annotations

import msgspec
import pytest
import torch
from ceilings import make_ceilings
from result_documents import result
from tiny_models import Perceptron, X, loaded

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure import roof
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.results.schema import Ceilings, Failure

SHAPES = {"x": (2, 4)}
MACS = 2 * 4 * 3


def plan(mode: str = "latency") -> RunPlan:
    return RunPlan(models=("tiny",), backends=(), options=BackendOptions(threads=2), mode=mode)  # type: ignore[arg-type]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Ceilings:
    ceilings = make_ceilings({"float32": 2 * MACS * 1000.0})  # a millisecond for the products
    monkeypatch.setattr(roof, "cached_ceilings", lambda device, threads: ceilings)
    return ceilings


def test_the_least_time_over_the_median(kept: Ceilings) -> None:
    row = result("torch")
    assert row.summary.timing is not None
    roof.set_roofs([row], loaded(Perceptron(), X), SHAPES, plan())
    assert row.roof is not None
    assert row.roof.roof_ms == pytest.approx(1.0)
    assert row.roof.share_of_roof == pytest.approx(1.0 / row.summary.timing.p50_ms)
    assert (row.roof.ceilings_utc, row.roof.unknown_ops) == (kept.measured_utc, [])
    assert not [one for one in row.warnings if one.code == "above_roof"]


def test_a_median_below_its_roof_is_warned_of(kept: Ceilings) -> None:
    row = result("torch")
    kept.compute[0].flops_per_s = 1.0
    roof.set_roofs([row], loaded(Perceptron(), X), SHAPES, plan())
    (warning,) = [one for one in row.warnings if one.code == "above_roof"]
    assert "--fresh-ceilings" in warning.remedy


def test_failed_rows_cold_ones_and_machines_without_ceilings_are_left_alone(
    kept: Ceilings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, cold, unknown = result("torch"), result("torch"), result("torch")
    failed.error = Failure(kind="MeasurementError", message="no", exit_code=5)
    model = loaded(Perceptron(), X)
    roof.set_roofs([failed], model, SHAPES, plan())
    roof.set_roofs([cold], model, SHAPES, plan("cold"))
    monkeypatch.setattr(roof, "cached_ceilings", lambda device, threads: None)
    roof.set_roofs([unknown], model, SHAPES, plan())
    assert [one.roof for one in (failed, cold, unknown)] == [None, None, None]


def test_over_the_median_of_several_processes_the_share_is_another(kept: Ceilings) -> None:
    row = result("torch")
    roof.set_roofs([row], loaded(Perceptron(), X), SHAPES, plan())
    summary = msgspec.structs.replace(row.summary)
    assert row.roof is not None
    assert summary.latency is not None
    latency = summary.latency
    summary.latency = msgspec.structs.replace(latency, p50_ms=latency.max_ms)
    again = roof.roof_of(row.roof, summary)
    assert again is not None
    assert (again.roof_ms, again.share_of_roof) == (row.roof.roof_ms, pytest.approx(1.0 / latency.max_ms))
    summary.latency = None
    assert roof.roof_of(row.roof, summary) is None


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) > 0 else x


def test_a_model_that_cannot_be_counted_has_no_roof(kept: Ceilings) -> None:
    row = result("torch")
    roof.set_roofs([row], loaded(Branching(), X), SHAPES, plan())
    assert row.roof is None
