# SPDX-License-Identifier: Apache-2.0
"""A share of trials, and what the true share can be."""

from __future__ import annotations

CONFIDENCE = 0.95


def exact_interval(count: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a share of which `count` of `trials` were seen, for any number of trials.

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934): its ends are quantiles of beta distributions, and it covers at least as often as it says.

    Raises:
        ValueError: no trials, or more seen than tried.
    """
    if not 0 <= count <= trials or trials < 1:
        raise ValueError(f"{count} of {trials} is no share")
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, trials - count + 1, tail))
    high = 1.0 if count == trials else float(betaincinv(count + 1, trials - count, 1 - tail))
    return low, high
