# SPDX-License-Identifier: Apache-2.0
"""Synthetic samples: noise around one level, of several kinds, from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int64]
Values = NDArray[np.float64]

BASE_NS, SIGMA_NS = 10_000_000, 100_000


def to_ns(values: Values) -> Samples:
    """Values in standard deviations around the level, as nanoseconds."""
    return np.round(BASE_NS + SIGMA_NS * values).astype(np.int64)


def normal(seed: int, count: int) -> Values:
    return np.random.default_rng([seed, count]).standard_normal(count)


def autoregressive(seed: int, count: int, coefficient: float) -> Values:
    values = normal(seed, count)
    for place in range(1, count):
        values[place] = coefficient * values[place - 1] + (1 - coefficient**2) ** 0.5 * values[place]
    return values


def uniform(seed: int, count: int) -> Values:
    return np.random.default_rng([seed, count, 1]).random(count)


STEADY: dict[str, Callable[[int, int], Values]] = {
    "normal": normal,
    "log-normal": lambda seed, count: np.exp(0.5 * normal(seed, count)),
    "AR(1) 0.5": lambda seed, count: autoregressive(seed, count, 0.5),
    "AR(1) 0.8": lambda seed, count: autoregressive(seed, count, 0.8),
    "two modes": lambda seed, count: normal(seed, count) + 10 * (uniform(seed, count) < 0.3),
    "Pareto": lambda seed, count: np.minimum(1e6, uniform(seed, count) ** (-1 / 1.5)),
    "coarse clock": lambda seed, count: np.round(normal(seed, count)),
    "constant": lambda _seed, count: np.zeros(count),
}
