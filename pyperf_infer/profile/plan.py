# SPDX-License-Identifier: Apache-2.0
"""What a profile is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.statistics.estimate import CONFIDENCE

if TYPE_CHECKING:
    from pyperf_infer.timing.target import Progress


@dataclass(frozen=True, kw_only=True)
class ProfilePlan:
    """How long each table's inferences run, and which views are made beside the layers or nodes."""

    inferences: int = 30  # the least that a table's times are means over
    duration_s: float = 2.0  # the least time of those; both hold
    max_duration_s: float = 20.0  # of one table, its perturbation with it
    ci: float = 0.01  # the relative half-width at which a perturbation's interval is narrow enough
    confidence: float = CONFIDENCE
    seed: int = 42  # of the order of the blocks
    progress: Progress | None = None
    memory: bool = True
    python: bool = True
    trace: bool = True
