# SPDX-License-Identifier: Apache-2.0
"""What `overhead` is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyperf_infer.convert.parity import DEFAULT_ATOL, DEFAULT_RTOL
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.estimate import CONFIDENCE

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions

Runtime = Literal["torch", "onnxruntime"]


@dataclass(frozen=True, kw_only=True)
class OverheadPlan:
    """One model on every batch size, and what its request is taken apart with. Flags of the same names explain it."""

    model: str
    options: BackendOptions
    runtimes: tuple[Runtime, ...] = ()  # empty: those that take the model
    batch_sizes: tuple[int | None, ...] = (None,)  # None: 1 where the model leaves it open
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Path | None = None
    compile: bool = True
    isolate: bool = False  # Python's onnxruntime in a process of its own; on a GPU it always is
    max_duration_s: float | None = None  # of each batch size; None: 20 s, and up to 120 s where calls are slow
    ci: float = 0.005
    margin: float = MARGIN
    confidence: float = CONFIDENCE
    seed: int = 42
    rtol: float = DEFAULT_RTOL
    atol: float = DEFAULT_ATOL

    @property
    def isolates(self) -> bool:
        """Whether Python's onnxruntime gets its own process: with a GPU, two copies of its core cannot share one."""
        return self.isolate or self.options.gpu_index is not None
