# SPDX-License-Identifier: Apache-2.0
"""What an instrument costs the whole model: the same inference with it and without, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.profile.inference_loop import SHARE_OF_INFERENCES, SHARE_OF_WARM_UP
from pyperf_infer.results.profile_schema import Perturbation
from pyperf_infer.statistics.compare import compare_rounds
from pyperf_infer.timing.comparison import block_length_ns
from pyperf_infer.timing.target import garbage_collection, to_ns

if TYPE_CHECKING:
    from pyperf_infer.profile.plan import ProfilePlan

_ROUNDS = 8  # the fewest that it is judged by
_BLOCK_CALLS = 10
_JITTER_NS = 10_000_000
_DISCARDED = 3  # calls at least, after a switch
_STRETCH = 1.6  # what blocks and switches take beyond the calls that count

NO_ROUND = "what the instrument itself costs: no round of it was complete in the time given"


class Switched:
    """The same inference with an instrument and without, of which the first call after a switch turns it on or off."""

    def __init__(
        self, plain: Callable[[], object], instrumented: Callable[[], object],
        on: Callable[[], object], off: Callable[[], object],
    ) -> None:  # fmt: skip
        self._plain, self._instrumented = plain, instrumented
        self._on, self._off = on, off
        self._is_on = False

    def plain(self) -> None:
        if self._is_on:
            self.end()
        self._plain()

    def instrumented(self) -> None:
        if not self._is_on:
            self._is_on = True  # also where it fails: whatever is half on is to be turned off
            self._on()
        self._instrumented()

    def end(self) -> None:
        if self._is_on:
            self._is_on = False
            self._off()


def perturbation(
    both: Switched, call_ns: float, plan: ProfilePlan, *, most_block_ns: int | None = None
) -> Perturbation | None:
    """What the instrument costs the whole inference, from interleaved blocks; None where no round was complete in time.

    Args:
        call_ns: about how long one inference takes. Where the budget has no room for blocks of 10, they are shorter.
        most_block_ns: of an instrument that collects, so that what is collected stays small.
    """
    budget_ns = to_ns("max_duration_s", plan.max_duration_s * (1 - SHARE_OF_INFERENCES - SHARE_OF_WARM_UP))
    length_ns = block_length_ns(budget_ns, 2)
    block_ns = length_ns if most_block_ns is None else min(length_ns, most_block_ns)
    room = budget_ns / (_STRETCH * 2 * _ROUNDS * max(1.0, call_ns))
    schedule = _core.SchedulePlan(
        min_block_calls=max(1, min(_BLOCK_CALLS, int(room) - _DISCARDED)),
        min_block_ns=block_ns,
        max_jitter_ns=min(_JITTER_NS, block_ns // 4),
        min_rounds=_ROUNDS,
        max_duration_ns=budget_ns,
        relative_half_width=plan.ci,
        confidence=plan.confidence,
        seed=plan.seed,
    )
    targets = [_core.CallableTarget(both.plain), _core.CallableTarget(both.instrumented)]
    try:
        with garbage_collection(enabled=False):
            outcome = _core.interleave(targets, schedule, [_core.Samples() for _ in targets], progress=plan.progress)
    finally:
        both.end()
    if outcome.rounds == 0:
        return None
    medians: list[list[int]] = [[1] * outcome.rounds for _ in targets]
    for block in outcome.blocks:
        medians[block.target][block.round] = max(1, block.median_ns)
    plain_ns, instrumented_ns = medians
    found = compare_rounds(instrumented_ns, plain_ns, confidence=plan.confidence)
    return Perturbation(
        plain_ms=statistics.median(plain_ns) / 1e6,
        instrumented_ms=statistics.median(instrumented_ns) / 1e6,
        ratio=found.ratio,
        interval=found.interval,
        rounds=found.rounds,
    )
