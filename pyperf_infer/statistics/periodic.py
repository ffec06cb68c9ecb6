# SPDX-License-Identifier: Apache-2.0
"""Whether something comes back in samples at even distances in time, as a timer's tick does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyperf_infer.statistics.change_points import (
    autoregression,
    normal_scores,
    order_for,
)
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.samples import as_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer.statistics.change_points import Scores
    from pyperf_infer.statistics.samples import Nanoseconds

FEWEST = 50
FEWEST_PERIODS = 10
FEWEST_CALLS = 1.6  # in a period, by the slower ones: calls that became slower come at the distance of their own length
FENCE = 1.5  # Tukey's inner one, in interquartile ranges
FEWEST_OUTLIERS = 10
FALSE_ALARMS = 0.001  # of each of the two spectra
MOST_SAMPLES = 300_000  # the first so many are looked at
MOST_BINS = 2**18
MOST_HARMONICS = 64
_FLOOR_BINS = 64
_PHASES = 8


class Period(NamedTuple):
    """`swing` is the distance between the slowest and the fastest phase's median, relative to the median of all."""

    period_ns: float
    swing: float


def periodic(samples_ns: Nanoseconds, *, duration_ns: int | None = None, tolerance: float = MARGIN) -> Period | None:
    """What comes back in samples that were taken one after another, in `duration_ns` in all.

    Fisher's test (Tests of Significance in Harmonic Analysis, 1929) of the largest line in the spectrum over time: of
    the normal scores of samples, less what an autoregression explains, and of where outliers are, which a tick that
    hits one call in hundreds shows in. Each line is judged by the median of those around it. None where a period is
    shorter than two samples, or than 1.6 of the slower ones, or longer than a tenth of the time, or where it moves
    times within `tolerance` only.

    Raises:
        ValueError: not samples (`as_samples`).
    """
    samples_ns = as_samples(samples_ns)
    stretch = max(1.0, duration_ns / max(1, int(samples_ns.sum()))) if duration_ns else 1.0
    samples_ns = samples_ns[:MOST_SAMPLES]
    count, total = int(samples_ns.size), int(samples_ns.sum())
    if count < FEWEST or total <= 0 or int(samples_ns.min()) == int(samples_ns.max()):
        return None
    ends = np.cumsum(samples_ns).astype(np.float64)
    middles = (ends - samples_ns / 2) * stretch
    shortest_ns = FEWEST_CALLS * stretch * float(np.quantile(samples_ns, 0.95))
    for series, outliers in ((_innovations(samples_ns), False), (_outliers(samples_ns), True)):
        period_ns = None if series is None else _strongest(series, middles)
        if period_ns is not None and period_ns >= shortest_ns:
            swing = _swing(samples_ns, middles, period_ns, outliers=outliers)
            if swing > tolerance:
                return Period(period_ns, swing)
    return None


def _innovations(samples_ns: Nanoseconds) -> Scores:
    scores = normal_scores(samples_ns)
    order = order_for(scores.size)
    weights, _ = autoregression(scores - scores.mean(), order)
    rest = scores.copy()
    for lag, weight in enumerate(weights, 1):
        rest[lag:] -= weight * scores[:-lag]
    return rest


def _outliers(samples_ns: Nanoseconds) -> Scores | None:
    """1 where a sample is beyond Tukey's upper fence, around the mean; None where hardly any is."""
    low, high = np.quantile(samples_ns, (0.25, 0.75))
    beyond = (samples_ns > high + FENCE * (high - low)).astype(np.float64)
    return beyond - beyond.mean() if beyond.sum() >= FEWEST_OUTLIERS else None


def _strongest(series: Scores, middles_ns: Scores) -> float | None:
    """The longest period of which the strongest line of the spectrum is a harmonic, in nanoseconds."""
    span = float(middles_ns[-1])
    width = max(float(np.median(np.diff(middles_ns))), span / MOST_BINS)
    if width <= 0:
        return None
    bins = int(span / width) + 1
    if bins < FEWEST:
        return None
    over_time = np.bincount((middles_ns / width).astype(np.int64), weights=series, minlength=bins)
    spectrum = np.fft.rfft(over_time - over_time.mean())[: bins // 2]
    power = np.abs(spectrum) ** 2
    ratio = power / _floor(power)
    ratio[:FEWEST_PERIODS] = 0
    strongest = int(np.argmax(ratio))
    tested = ratio.size - FEWEST_PERIODS
    if tested < 1 or ratio[strongest] < _bound(tested, ratio.size):
        return None
    bound = max(_bound(MOST_HARMONICS, ratio.size), ratio[strongest] / 8)
    harmonic = 1
    for divisor in range(2, MOST_HARMONICS + 1):
        place = (strongest + _offset(spectrum, strongest)) / divisor
        if place < FEWEST_PERIODS:
            break
        if ratio[int(place) : int(place) + 2].max() >= bound:
            harmonic = divisor
    return float(bins * width / (strongest + _offset(spectrum, strongest)) * harmonic)


def _offset(spectrum: NDArray[np.complex128], line: int) -> float:
    """By how many lines the true frequency is off the strongest (Jacobsen & Kootsookos, Fast, Accurate Frequency
    Estimators, IEEE Signal Processing Magazine 2007)."""
    if line + 1 >= spectrum.size:
        return 0.0
    before, here, after = spectrum[line - 1 : line + 2]
    bend = 2 * here - before - after
    return float(np.clip(((before - after) / bend).real, -0.5, 0.5)) if bend != 0 else 0.0


def _floor(power: Scores) -> Scores:
    """What noise has at each frequency: medians of neighbours over that of the exponential distribution."""
    pieces = np.array_split(power[1:], max(1, (power.size - 1) // _FLOOR_BINS))
    medians = np.array([float(np.median(piece)) for piece in pieces]) / math.log(2)
    centres = np.cumsum([0, *(piece.size for piece in pieces[:-1])]) + 1 + np.array([p.size / 2 for p in pieces])
    floor = np.interp(np.arange(power.size), centres, medians)
    return np.maximum(floor, max(float(power.mean()) * 1e-9, 1e-300))


def _bound(tested: int, lines: int) -> float:
    """Of the largest of so many exponential variables; higher where few lines tell the floor."""
    return math.log(tested / FALSE_ALARMS) * (1.15 + 8 / min(lines, _FLOOR_BINS))


def _swing(samples_ns: Nanoseconds, middles_ns: Scores, period_ns: float, *, outliers: bool) -> float:
    phase = (middles_ns / period_ns % 1 * _PHASES).astype(np.int64)
    parts = [samples_ns[phase == one] for one in range(_PHASES)]
    # A tick that hits single calls moves no median of a phase: then its mean tells.
    middle = np.mean if outliers else np.median
    middles = [float(middle(part)) for part in parts if part.size]
    return (max(middles) - min(middles)) / max(1.0, float(np.median(samples_ns)))
