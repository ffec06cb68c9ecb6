# SPDX-License-Identifier: Apache-2.0
"""What counts as samples: a one-dimensional int64 array of nanoseconds, in the order they were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pyperf_infer import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Nanoseconds: TypeAlias = "NDArray[np.int64]"


def as_samples(samples_ns: ArrayLike) -> Nanoseconds:
    """The same samples as int64, not copied where they are int64 already.

    Raises:
        ValueError: none at all, not one-dimensional, not integers (a NaN is none), or a time below 0.
    """
    given = np.asarray(samples_ns)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        shape = "x".join(map(str, given.shape)) or "scalar"
        raise ValueError(
            "samples are a one-dimensional, non-empty array of integer nanoseconds; "
            f"this one has the shape {shape} and the type {given.dtype}"
        )
    samples = given.astype(np.int64, copy=False)
    if samples.min() < 0:
        place = int(np.argmax(samples < 0))
        raise ValueError(f"a time is 0 or more, and sample {place} is {given[place]} ns")
    return samples


def order_statistic(ordered_ns: Nanoseconds, percent: float) -> int:
    """The sample of rank ceil(n * percent / 100): a value that was measured, never one between two."""
    return int(ordered_ns[_core.quantile_rank(int(ordered_ns.size), percent / 100) - 1])
