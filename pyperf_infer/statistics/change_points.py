# SPDX-License-Identifier: Apache-2.0
"""Where the level of samples changes. Pure functions over int64 arrays of nanoseconds, in the order of measuring.

Times are turned into normal scores of their ranks first, ties broken at random with a fixed seed: independent samples
of whatever distribution become independent standard normal ones, so that neither a heavy tail, two modes nor a coarse
clock can pass for a change. That bounds what one sample can do, as the clipped loss of Fearnhead & Rigaill does
(Changepoint Detection in the Presence of Outliers, JASA 2019).

`ruptures` proposes: the exact penalised least squares over at most 2000 means of blocks. A test then decides, since
dependent samples wander by themselves: a proposal stands where an autoregression with a step fits the samples on both
sides better than one without, by more than the penalty (cf. Chakar et al., A robust approach for estimating
change-points in the mean of an AR(1) process, Bernoulli 2017).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pyperf_infer.statistics.samples import as_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer.statistics.samples import Nanoseconds

Scores: TypeAlias = "NDArray[np.float64]"
# By the autoregression's coefficient and the edges of both levels: by how much a change passes, and where it is.
_Judged: TypeAlias = "dict[float, dict[tuple[int, int, int], tuple[float, int]]]"

SHORTEST_LEVEL = 5  # samples; fewer in a row are outliers
MOST_BLOCKS = 2000
MOST_RANKED = 200_000  # of more, medians of blocks are
BLOCKS_OF_LEVEL = 700  # at most
MOST_LOOKED_INTO = 30  # levels; of more, it does not matter what each of them hides
# Penalties a change, in units of the noise's variance and log(count): of a proposal, low, and of what stands.
PROPOSED_PENALTY = 2.0
STANDING_PENALTY = 2.0
STANDING_BASE = 8.0
GIVEN_COEFFICIENT = 2.0  # less of a penalty, where the autoregression is known from elsewhere
MOST_PROPOSALS = 200
TESTED_BLOCKS = 400
MOST_TESTED = 12_000  # samples around one proposal
_ROUNDS = 4
_REFINED_REACH = 300
_SHARPENED_REACH = 10


def change_points(samples_ns: Nanoseconds, *, shortest: int = SHORTEST_LEVEL) -> list[int]:
    """The indices at which another level begins, in order; neither 0 nor the count is one of them.

    A level is at least `shortest` samples long. The indices do not depend on the unit of time.

    Raises:
        ValueError: not samples (`as_samples`), or `shortest` below 2.
    """
    samples_ns = as_samples(samples_ns)
    if shortest < 2:
        raise ValueError(f"a level has at least 2 samples, not {shortest}")
    count = int(samples_ns.size)
    if count < 2 * shortest or int(samples_ns.min()) == int(samples_ns.max()):
        return []
    judged: _Judged = {}
    found = _standing(samples_ns, _heads(samples_ns, shortest), shortest, judged)
    looked_into = {(0, count)}
    for _ in range(_ROUNDS):
        # Ranks among all of the samples press far levels together; among those of one level they do not.
        edges = [0, *found, count]
        levels = {*pairwise(edges)} - looked_into
        if not levels or len(edges) > MOST_LOOKED_INTO:
            break
        looked_into |= levels
        inner = {
            at + begin for begin, end in levels for at in _proposals(samples_ns[begin:end], shortest, BLOCKS_OF_LEVEL)
        }
        if inner:
            found = _standing(samples_ns, {*found, *inner}, shortest, judged)
    return found


def normal_scores(samples_ns: Nanoseconds | Scores) -> Scores:
    """Of the ranks; which of equal samples is before the other is drawn, always alike."""
    from scipy.special import ndtri

    count = samples_ns.size
    drawn = np.random.default_rng(count).permutation(count)
    scores = np.empty(count)
    scores[drawn[np.argsort(samples_ns[drawn], kind="stable")]] = ndtri((np.arange(count) + 0.5) / count)
    return scores


def thinned(samples_ns: Nanoseconds) -> tuple[Nanoseconds | Scores, int]:
    """The samples, or medians of blocks of them where they are too many to be ranked, and the size of a block."""
    group = -(-samples_ns.size // MOST_RANKED)
    if group == 1:
        return samples_ns, 1
    whole = samples_ns.size // group
    return np.median(samples_ns[: whole * group].reshape(whole, group), axis=1), group


def block_means(scores: Scores, most: int) -> tuple[Scores, int]:
    """At most `most` means of blocks in a row, and the size of a block; what is left over at the end joins none."""
    size = -(-scores.size // most)
    whole = scores.size // size
    return scores[: whole * size].reshape(whole, size).mean(axis=1), size


def _heads(samples_ns: Nanoseconds, shortest: int) -> set[int]:
    """Proposals from all of the samples, and from ever shorter beginnings: a warm-up may be over within one block."""
    proposed, count = set[int](), int(samples_ns.size)
    while True:
        proposed.update(_proposals(samples_ns[:count], shortest))
        if count <= MOST_BLOCKS:
            return proposed
        count = max(MOST_BLOCKS, count // 7)


def _proposals(samples_ns: Nanoseconds, shortest: int, most: int = MOST_BLOCKS) -> list[int]:
    count = int(samples_ns.size)
    if count < 2 * shortest or int(samples_ns.min()) == int(samples_ns.max()):
        return []
    from ruptures import KernelCPD

    ranked, group = thinned(samples_ns)
    means, size = block_means(normal_scores(ranked), most)
    size *= group
    steps = np.diff(means)
    noise = float(steps @ steps) / (2 * steps.size)
    if noise <= 0:
        return []
    detection = KernelCPD(kernel="linear", min_size=max(1, math.ceil(shortest / size)))
    detection.fit(means.reshape(-1, 1))
    coefficient = min(0.9, coefficient_of_steps(means)[0])  # a proposal is cheap: the least
    penalty = PROPOSED_PENALTY * noise * math.log(means.size) * (1 + coefficient) / (1 - coefficient)
    while True:
        ends = detection.predict(pen=penalty)[:-1]
        if len(ends) <= MOST_PROPOSALS:
            return [int(end) * size for end in ends]
        penalty *= 2


def _standing(samples_ns: Nanoseconds, proposed: set[int], shortest: int, judged: _Judged) -> list[int]:
    """Takes the weakest proposal away until each that is left is a change of its own."""
    edges = [0, *sorted(proposed), int(samples_ns.size)]
    for _ in range(_ROUNDS):
        began_as = list(edges)
        # Fewer changes leave longer levels, which tell more of how samples depend on one another.
        coefficient = math.ceil(20 * _usual_coefficient(samples_ns, edges)) / 20
        known = judged.setdefault(coefficient, {})
        while len(edges) > 2:
            triples = list(zip(edges, edges[1:], edges[2:], strict=False))
            for triple in triples:
                if triple not in known:
                    known[triple] = _judge(samples_ns, triple, coefficient, shortest)
            weakest = min(range(len(triples)), key=lambda at: known[triples[at]][0])
            if known[triples[weakest]][0] >= 0:
                edges[1:-1] = sorted({known[triple][1] for triple in triples})
                break
            del edges[weakest + 1]
        if edges == began_as or len(edges) == 2:
            break
    return edges[1:-1]


def _usual_coefficient(samples_ns: Nanoseconds, edges: list[int]) -> float:
    """The most that an autoregression of order 1 may assume of these samples.

    From the longest level, through the sum of all correlations as an autoregression of order 3 has it; where all are
    short, from the differences between samples, which steps hardly change.
    """
    lengths = np.diff(edges)
    longest = int(np.argmax(lengths))
    count = int(min(lengths[longest], MOST_BLOCKS))
    if count < 100:
        return coefficient_of_steps(normal_scores(samples_ns))[1] if samples_ns.size >= 100 else 1.0
    end = edges[longest + 1]
    scores = normal_scores(samples_ns[end - count : end])
    weights, rest = autoregression(scores - scores.mean(), 3)
    share = max(1e-3, 1 - float(weights.sum()))
    dependence = rest / float(scores @ scores) / share**2
    return max(0.0, (dependence - 1) / (dependence + 1)) + 1 / math.sqrt(count)


def coefficient_of_steps(scores: Scores) -> tuple[float, float]:
    """The least and the most that the coefficient of an autoregression of order 1 is, around levels that seldom change.

    From medians of the differences between scores that are 1 and 2 apart (Chakar et al.), and some three standard
    errors on either side.
    """
    near, far = (float(np.median(np.abs(scores[lag:] - scores[:-lag]))) for lag in (1, 2))
    middle = min(1.0, max(0.0, (far / near) ** 2 - 1)) if near > 0 else 1.0
    reach = 3 / math.sqrt(scores.size) + 20 / scores.size
    return max(0.0, middle - reach), middle + reach


def _judge(
    samples_ns: Nanoseconds, triple: tuple[int, int, int], coefficient: float, shortest: int
) -> tuple[float, int]:
    """By how much the change passes the test (below 0: it does not), and where exactly it is."""
    begin, change, end = triple
    if min(change - begin, end - change) < shortest:
        return -math.inf, change
    place = _locate(samples_ns, begin, change, end, shortest)
    reach = max(8 * min(place - begin, end - place), TESTED_BLOCKS)
    begin, end = max(begin, place - reach), min(end, place + reach)
    step = -(-(end - begin) // MOST_TESTED)
    before, after = samples_ns[begin:place][::-step][::-1], samples_ns[place:end:step]
    scores = normal_scores(np.concatenate((before, after)))
    size = max(1, scores.size // TESTED_BLOCKS)
    left, right = scores[before.size % size : before.size], scores[before.size :]
    left = left.reshape(-1, size).mean(axis=1)
    right = right[: right.size // size * size].reshape(-1, size).mean(axis=1)
    if size * step > 1:
        _, coefficient = coefficient_of_steps(np.concatenate((left, right)))
    evidence = math.inf if _far_apart(before, after) else step_evidence(left, right)
    if coefficient < 1:
        evidence = max(evidence, _evidence_at(left, right, coefficient) + GIVEN_COEFFICIENT)
    # Of the places where it could have been; that a level changes early on is no surprise.
    places = min(2 * place, samples_ns.size, MOST_BLOCKS)
    return evidence - STANDING_BASE - STANDING_PENALTY * math.log(places), place


def _far_apart(before: Nanoseconds, after: Nanoseconds) -> bool:
    """Whether the shorter side has no sample within the longer one's width of the longer one, outliers aside.

    Ranks do not tell how far that is, so that few samples could not be told from dependent ones.
    """
    short, long = sorted((before, after), key=len)
    low, high = np.quantile(long, (0.02, 0.98))
    width = float(high - low)
    return bool(short.min() > high + width or short.max() < low - width)


def step_evidence(left: Scores, right: Scores) -> float:
    """Twice the log-likelihood ratio of a normal autoregression with a step between the two against one without."""
    both = np.concatenate((left, right))
    order = order_for(both.size)
    if both.size < 8 or min(left.size, right.size) < 2:
        return -math.inf
    stepped = np.concatenate((left - left.mean(), right - right.mean()))
    _, without = autoregression(both - both.mean(), order)
    _, with_step = autoregression(stepped, order)
    return log_ratio(without, with_step, both.size - order)


def _evidence_at(left: Scores, right: Scores, coefficient: float) -> float:
    """The same with the autoregression's coefficient given, which takes fewer samples to tell a step."""
    both = np.concatenate((left, right))
    both -= both.mean()
    stepped = np.concatenate((left - left.mean(), right - right.mean()))
    without, with_step = (float(np.square(one[1:] - coefficient * one[:-1]).sum()) for one in (both, stepped))
    return log_ratio(without, with_step, both.size - 1)


def log_ratio(without: float, with_step: float, count: int) -> float:
    if with_step <= 0:
        return math.inf if without > 0 else -math.inf
    return count * math.log(without / with_step)


def order_for(count: int) -> int:
    """Of an autoregression that so many samples can carry."""
    return 1 if count < 60 else 2 if count < 200 else 3


def autoregression(centred: Scores, order: int) -> tuple[Scores, float]:
    """Weights by least squares, and the sum of squares of what they leave."""
    lags = np.column_stack([centred[order - lag : centred.size - lag] for lag in range(1, order + 1)])
    wanted = centred[order:]
    weights: Scores = np.linalg.lstsq(lags, wanted, rcond=None)[0].astype(np.float64)
    rest = wanted - lags @ weights
    return weights, float(rest @ rest)


def _locate(samples_ns: Nanoseconds, begin: int, change: int, end: int, shortest: int) -> int:
    """The split of the samples around a change that least squares of their scores give."""
    begin, end = max(begin, change - _REFINED_REACH), min(end, change + _REFINED_REACH)
    scores = normal_scores(samples_ns[begin:end])
    before = np.arange(shortest, scores.size - shortest + 1)
    sums = np.cumsum(scores)[before - 1]
    # Scores sum up to 0, so that the gain of a split needs one side only.
    split = int(before[np.argmax(sums**2 * (1 / before + 1 / (scores.size - before)))])
    return begin + _sharpened(samples_ns[begin:end], split, shortest)


def _sharpened(samples_ns: Nanoseconds, split: int, shortest: int) -> int:
    """The likeliest split nearby, given both levels: ranks do not tell which of them a sample is near to."""
    low, high = float(np.median(samples_ns[:split])), float(np.median(samples_ns[split:]))
    if low == high:
        return split
    # From -1 at one level to 1 at the other; beyond twice that, a sample says no more.
    sums = np.cumsum(np.clip((2 * samples_ns - (low + high)) / (high - low), -2, 2))
    first, last = max(shortest, split - _SHARPENED_REACH), min(samples_ns.size - shortest, split + _SHARPENED_REACH)
    return first + int(np.argmin(sums[first - 1 : last]))
