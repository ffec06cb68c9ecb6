# SPDX-License-Identifier: Apache-2.0
"""A model from its source, with what that takes in phases of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.errors import OutOfMemoryError, PyperfInferError
from pyperf_infer.system.memory import is_out_of_memory, memory_limit
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.models.spec import LoadedModel, ModelSource

# Building on the meta device, as `info` does, imports what loading needs.
_IMPORT_MUCH = ("built-in", "config", "timm", "hf")


def load_model(
    source: ModelSource,
    *,
    seed: int,
    weights: Path | None,
    shapes: Mapping[str, tuple[int, ...]],
    phases: Phases,
    observer: Observer,
) -> tuple[LoadedModel, float]:
    """The model, and the seconds that loading it took.

    Raises:
        InputError: it cannot be loaded. OutOfMemoryError: it does not fit.
    """
    observer.stage(f"{source.name}: loading")
    try:
        if source.source in _IMPORT_MUCH:
            with phases.timed("import for loading"):
                source.info()  # so that the first model's load time is not that of a thousand modules
        with phases.timed("load model"), memory_limit(), Stopwatch() as load:
            model = source.load(seed=seed, weights=weights, shapes=shapes or None)
    except PyperfInferError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"{source.name} does not fit in memory") from error
        raise
    return model, load.ns / 1e9
