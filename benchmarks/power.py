# SPDX-License-Identifier: Apache-2.0
"""Whether slower work is found: 1 ms work against work that is 2% slower, within 60 s each, and 5% slower, within 10 s.

The stop rule is on, so that most take less. Beside both stands identical work with the very same settings. It takes at
most two hours, and as a rule a quarter of that. Broken off, the same command goes on from where it was.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from common import Claim, Report, parser
from known_answers import clock_line, kept_trials, run_all, say_table, share_of, state_options

from pyperf_infer.selftest.plan import POWER_WORK_S, Cell, Step

if TYPE_CHECKING:
    from pyperf_infer.selftest.records import Trial

BUDGETS_S = {0.02: 60.0, 0.05: 10.0}
LEAST_FOUND = 0.9  # of the trials: 45 of 50


def steps_of(slow_down: float, trials: int, aa: int) -> list[Step]:
    """In turn, so that a machine that changes meanwhile changes for both."""
    budget_s = BUDGETS_S[slow_down]
    slower = Cell("power", POWER_WORK_S, slow_down, False)
    same = Cell("A/A", POWER_WORK_S, 0.0, False)
    both = [(number / trials, slower, number) for number in range(trials)]
    both += [(number / aa, same, number) for number in range(aa)]
    ordered = sorted(both, key=lambda one: (one[0], one[1].kind))
    return [Step(cell.kind, cell, "", number, budget_s) for _, cell, number in ordered]


def say(report: Report, slow_down: float, found: list[Trial]) -> Claim:
    budget_s = BUDGETS_S[slow_down]
    report.say(f"within {budget_s:g} s each:")
    say_table(report, found)
    power = [one for one in found if one.kind == "power"]
    slower = sum(one.verdict == "slower" for one in power)
    wrong = sum(one.verdict in ("faster", "same") for one in power)
    report.say(f"{slow_down:.0%} slower: found {share_of(slower, len(power))}")
    report.say(f"{slow_down:.0%} slower: called faster or same {share_of(wrong, len(power))}")
    walls = sorted(one.wall_s for one in power)
    report.say(f"{slow_down:.0%} slower: wall time median {median(walls):.2f} s, longest {walls[-1]:.2f} s")
    if same := [one for one in found if one.kind == "A/A"]:
        different = sum(one.verdict in ("faster", "slower") for one in same)
        report.say(f"identical work in the same time: called different {share_of(different, len(same))}")
    name = f"{slow_down:.0%} slow-down of 1 ms work found within {budget_s:g} s, of {len(power)}"
    return Claim(name, slower, LEAST_FOUND * len(power), at_most=False, unit="trials")


def main() -> int:
    made = state_options(parser(__doc__), "power")
    made.add_argument("--trials", type=int, default=50, help="at each slow-down")
    made.add_argument("--aa", type=int, default=25, help="comparisons of identical work in the same time")
    arguments = made.parse_args()
    report = Report("power")
    report.say(clock_line())
    claims = []
    for slow_down in BUDGETS_S:
        path = arguments.state.with_name(f"{arguments.state.stem}-{slow_down * 100:g}{arguments.state.suffix}")
        trials = kept_trials(path, {"budget_s": BUDGETS_S[slow_down]}, fresh=arguments.fresh)
        try:
            found = run_all(steps_of(slow_down, arguments.trials, arguments.aa), trials)
        except KeyboardInterrupt:
            print(f"broken off; the same command goes on from {path}")
            return 130
        claims.append(say(report, slow_down, found))
    for claim in claims:
        report.claim(claim)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
