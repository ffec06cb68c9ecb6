# SPDX-License-Identifier: Apache-2.0
"""The table of what each tool said, with exact binomial intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from peer_tools.trial import Found, Trial

DIFFERENT = ("faster", "slower")


class Row(NamedTuple):
    """One rule's record over all trials."""

    rule: str
    pairs: int
    called_different: int  # identical work
    undecided_alike: int
    found: int  # the slower one called slower
    wrong_way: int
    undecided_slower: int
    wall_s: float  # median of a pair
    ratio: float  # median of what it measured of the slower pairs


def tally(rule: str, trials: Sequence[Trial]) -> Row:
    """Raises ValueError without trials."""
    if not trials:
        raise ValueError("there are no trials")
    alike = [trial.alike.verdicts[rule] for trial in trials]
    slower = [trial.slower.verdicts[rule] for trial in trials]
    pairs: list[Found] = [pair for trial in trials for pair in trial]
    return Row(
        rule,
        len(trials),
        sum(verdict in DIFFERENT for verdict in alike),
        alike.count("undecided"),
        slower.count("slower"),
        slower.count("faster"),
        slower.count("undecided"),
        statistics.median(pair.wall_s for pair in pairs),
        statistics.median(trial.slower.ratio for trial in trials),
    )


def exact_interval(count: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    from scipy.stats import binomtest

    interval = binomtest(count, of).proportion_ci(confidence_level=0.95, method="exact")
    return float(interval.low), float(interval.high)


def share(count: int, of: int) -> str:
    low, high = exact_interval(count, of)
    return f"{count}/{of} ({low:.0%} to {high:.0%})"


def render(rows: Sequence[Row], slower: float) -> list[str]:
    """Columns of text, the widths of what is in them."""
    head = (
        "rule",
        "A/A called different",
        "undecided",
        f"{slower:.0%} slower found",
        "called faster",
        "undecided",
        "a pair takes",
        "ratio measured",
    )
    cells = [head]
    for row in rows:
        cells.append(  # noqa: PERF401  reads better than one expression
            (
                row.rule,
                share(row.called_different, row.pairs),
                str(row.undecided_alike),
                share(row.found, row.pairs),
                str(row.wrong_way),
                str(row.undecided_slower),
                f"{row.wall_s:.2f} s",
                f"{row.ratio:.4f}",
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
