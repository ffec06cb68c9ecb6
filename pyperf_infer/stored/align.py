# SPDX-License-Identifier: Apache-2.0
"""Which rows of two sides are about the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from pyperf_infer.errors import InputError
from pyperf_infer.results.schema import StoredLeftOver
from pyperf_infer.stored.rows import SUBJECT_FIELDS, model_key, why_unusable
from pyperf_infer.stored.unlike import compare_methods

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pyperf_infer.results.schema import Result
    from pyperf_infer.stored.rows import Placement, Pool, Row, SubjectKey
    from pyperf_infer.stored.sources import Side

    Which = Literal["baseline", "contender"]

ONLY: Mapping[Which, str] = {"baseline": "only in the baseline", "contender": "only in the contender"}

_MOST_LOOKED_THROUGH = 200  # rows of each side, for the nearest to tell what differs


@dataclass(frozen=True)
class Pair:
    """Two rows of one subject. Whether their methods match is another matter."""

    baseline: Pool
    contender: Pool


@dataclass(frozen=True)
class Alignment:
    """The pairs in the baseline's order, and what has no counterpart."""

    pairs: list[Pair]
    left_over: list[StoredLeftOver]


def align(baseline: Side, contender: Side) -> Alignment:
    """Pairs rows of the same subject: first those of the same backend, provider and kind of device, then those of the
    same backend, where each side has one kind left for the subject, then, where each side has one in all, unlike ones.

    Where several rows of a side come into question (a folder that holds more than one method, options set against
    each other in one run), those whose methods match are paired first.

    Raises:
        InputError: nothing is about the same; it says what differs.
    """
    pairs: list[Pair] = []
    theirs = _by_subject(contender.pools)
    for subject, pools in _by_subject(baseline.pools).items():
        if subject in theirs:
            pairs += _pair_subject(pools, theirs[subject])
    if not pairs:
        raise InputError(_nothing_aligned(baseline, contender))
    order = {id(one): number for number, one in enumerate(baseline.pools)}
    pairs.sort(key=lambda pair: order[id(pair.baseline)])
    left_over = [
        *_left_over("baseline", baseline, contender, {id(pair.baseline) for pair in pairs}),
        *_left_over("contender", contender, baseline, {id(pair.contender) for pair in pairs}),
    ]
    return Alignment(pairs, left_over)


def _by_subject(pools: Iterable[Pool]) -> dict[SubjectKey, list[Pool]]:
    grouped: dict[SubjectKey, list[Pool]] = {}
    for one in pools:
        grouped.setdefault(one.subject, []).append(one)
    return grouped


def _pair_subject(mine: list[Pool], theirs: list[Pool]) -> list[Pair]:
    one_each = len({one.placement for one in mine}) == 1 == len({one.placement for one in theirs})
    if one_each:
        return _pair_alike(mine, theirs)
    pairs = []
    places = [list(dict.fromkeys(one.placement for one in side)) for side in (mine, theirs)]
    for place in places[0]:
        pairs += _pair_alike(_placed(mine, place), _placed(theirs, place))
    only = [[place for place in listed if place not in other] for listed, other in (places, places[::-1])]
    for backend in dict.fromkeys(place[0] for place in only[0]):
        left, right = ([place for place in listed if place[0] == backend] for listed in only)
        if len(left) == 1 == len(right):  # by another provider, on another kind of device
            pairs += _pair_alike(_placed(mine, left[0]), _placed(theirs, right[0]))
    return pairs


def _placed(pools: Iterable[Pool], place: Placement) -> list[Pool]:
    return [one for one in pools if one.placement == place]


def _pair_alike(mine: Sequence[Pool], theirs: Sequence[Pool]) -> list[Pair]:
    """Those whose methods match, the same file's before another's of the same bytes; then the others in their order."""
    left, right = list(mine), list(theirs)
    pairs = []
    for same_file in (True, False):
        for one in list(left):
            found = (
                other for other in right if not same_file or other.result.subject.model == one.result.subject.model
            )
            match = next((other for other in found if not compare_methods(one.result, other.result)[0]), None)
            if match is not None:
                left.remove(one)
                right.remove(match)
                pairs.append(Pair(one, match))
    return [*pairs, *(Pair(one, other) for one, other in zip(left, right, strict=False))]


def _left_over(which: Which, side: Side, other: Side, paired: Collection[int]) -> list[StoredLeftOver]:
    found = []
    for pool in side.pools:
        if id(pool) not in paired:
            failure = _failure(pool.result, other.failed)
            found.append(_described(which, pool.result, failure or ONLY[which]))
    return [*found, *(_described(which, row.result, why_unusable(row.result) or "") for row in side.failed)]


def _failure(result: Result, failed: Iterable[Row]) -> str | None:
    """Why the other side has no numbers for it. A row that failed early does not know its shapes and weights."""
    for row in failed:
        one = row.result
        if _as_asked(one) == _as_asked(result):
            return f"not to be had from the other side: {why_unusable(one)}"
    return None


def _as_asked(result: Result) -> tuple[str, int, str, str]:
    subject = result.subject
    return model_key(subject), subject.requested_batch_size, subject.precision, result.method.backend


def _described(side: Which, result: Result, reason: str) -> StoredLeftOver:
    return StoredLeftOver(
        side=side,
        model=result.subject.model,
        batch_size=result.subject.batch_size,
        precision=result.subject.precision,
        backend=result.method.backend,
        device=result.method.device,
        reason=reason,
    )


def _nothing_aligned(baseline: Side, contender: Side) -> str:
    names = f"{baseline.name!r} and {contender.name!r}"
    for side in (baseline, contender):
        if not side.pools:
            why = "; ".join(dict.fromkeys(why_unusable(row.result) or "" for row in side.failed))
            return f"Nothing in {names} can be compared: no row of {side.name!r} has a time: {why}. Measure again."
    nearest = min(
        ((one, other) for one in _first(baseline.pools) for other in _first(contender.pools)),
        key=lambda both: len(_subject_differences(both[0].subject, both[1].subject)),
    )
    differences = _subject_differences(nearest[0].subject, nearest[1].subject)
    if not differences:
        what = "several backends ran it, and none is on both sides: " + " against ".join(
            ", ".join(dict.fromkeys(_placed_text(one.placement) for one in side.pools))
            for side in (baseline, contender)
        )
        return f"Nothing in {names} can be paired: {what}. Measure one of them on both sides."
    return (
        f"Nothing in {names} is about the same: {'; '.join(differences)}. "
        "Only results of the same model, weights, precision, batch size and shapes are compared."
    )


def _first(pools: Iterable[Pool]) -> list[Pool]:
    return list(islice(pools, _MOST_LOOKED_THROUGH))


def _subject_differences(mine: SubjectKey, theirs: SubjectKey) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {_value_text(name, one)} against {_value_text(name, other)}"
        for name, one, other in zip(SUBJECT_FIELDS, mine, theirs, strict=True)
        if one != other
    ]


def _value_text(name: str, value: object) -> str:
    if name == "weights":
        return "unknown" if value is None else f"{str(value)[:12]}..."
    if name == "shapes" and isinstance(value, tuple):
        return ", ".join(f"{key}:{'x'.join(map(str, shape)) or 'scalar'}" for key, shape in value)
    return str(value)


def _placed_text(place: Placement) -> str:
    backend, provider, device = place
    return " ".join(filter(None, (backend, provider, f"on {device}")))
