# SPDX-License-Identifier: Apache-2.0
"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyperf_infer.convert.parity import DEFAULT_ATOL, DEFAULT_RTOL
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.estimate import CONFIDENCE, DEFAULT_PERCENTILES, samples_needed

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Every model on every batch size and backend, and how each is measured. Flags of the same names explain them."""

    models: tuple[str, ...]
    backends: tuple[str, ...]  # empty: every one that takes the model
    options: BackendOptions
    batch_sizes: tuple[int | None, ...] = (None,)  # None: 1 where the model leaves it open
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Path | None = None
    mode: Literal["latency", "throughput", "cold"] = "latency"
    profile_range: bool = False
    poll_gpu: bool = True
    duration_s: float = 1.0
    max_duration_s: float = 20.0
    iterations: int = 30
    ci: float = 0.01
    ci_of: float = 50.0  # the percentile whose interval ci is about
    percentiles: tuple[float, ...] | None = None  # None: those that the samples support
    warmup_ms: float = 5000.0
    warmup_iterations: int = 1
    seed: int = 42
    rtol: float = DEFAULT_RTOL  # see convert.parity.default_rtol for other precisions
    atol: float = DEFAULT_ATOL
    margin: float = MARGIN
    retry: bool = True
    confidence: float = CONFIDENCE
    flags: Mapping[str, object] = field(default_factory=dict)  # by their names, for advice that knows what is in use

    @property
    def precision(self) -> str:
        return self.options.precision

    @property
    def device(self) -> str:
        return self.options.device

    @property
    def shown_percentiles(self) -> tuple[float, ...]:
        shown = DEFAULT_PERCENTILES if self.percentiles is None else self.percentiles
        return shown if self.ci_of in (50.0, *shown) else tuple(sorted((*shown, self.ci_of)))

    @property
    def min_iterations(self) -> int:
        """`iterations`, raised to what percentiles that were asked for need."""
        asked = (self.ci_of, *(self.percentiles or ()))
        return max([self.iterations, *(samples_needed(percent, self.confidence) for percent in asked)])
