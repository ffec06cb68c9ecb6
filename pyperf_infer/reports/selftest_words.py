# SPDX-License-Identifier: Apache-2.0
"""What the figures of a self-test mean, in two lines each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports.notes import Note
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import SelfTest

_TEXTS = (
    (
        "A/A",
        (
            "A/A: the same work is on both sides, so that faster and slower are false alarms: how often a "
            "difference that this tool reports on this machine is none."
        ),
    ),
    (
        "power",
        (
            "Power: the second side does a known share more work. How much of that is found, with the very "
            "settings of A/A, says which slow-downs a comparison of this length shows."
        ),
    ),
    (
        "power",
        (
            "Undecided stands beside both, because a tool that never decides makes no false alarm either. More "
            "time or a quieter machine makes it less."
        ),
    ),
    (
        "A/A",
        (
            "Gate: the whole interval lies beyond a slow-down of {gate}, so that --fail-if-slower would have "
            "failed a build of unchanged code."
        ),
    ),
    (
        "coverage",
        (
            "Made samples: their true value is known, and an interval should hold it about as often as it says. "
            "The exact share is what the ranks used cover by the binomial distribution; the stop rule ended each "
            "sample."
        ),
    ),
    (
        "precision",
        ("Time to 1%: what one waits for the median of 1 ms work with an interval within 1%, warm-up and all."),
    ),
    (
        "floor",
        (
            "Fresh processes of the same model differ by more than their samples explain, because each lies "
            "elsewhere in memory. compare calls a difference real only beyond that."
        ),
    ),
    (
        "timer",
        (
            "Timer: the step is the smallest difference that the clock can show; timing an empty call is what "
            "every sample holds beside the work."
        ),
    ),
)


def explanations(found: SelfTest) -> list[Note]:
    """Of the parts that have figures."""
    parts = {one.part for one in found.judgements}
    gate = format_percent(found.gate)
    return [Note("plain", text.format(gate=gate)) for part, text in _TEXTS if part in parts]
