# SPDX-License-Identifier: Apache-2.0
"""How often identical work is called different: 1000 comparisons of a second each, half of them beside a process that
keeps a CPU busy, of work of several lengths, two of them in step with the kernel's timer tick.

It takes some 20 minutes. Broken off, the same command goes on from where it was.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from common import Claim, Report, parser
from known_answers import GATE, clock_line, kept_trials, run_all, say_table, share_of, state_options

from pyperf_infer.selftest.plan import SelfTestPlan, steps
from pyperf_infer.selftest.trials import gate_fires
from pyperf_infer.selftest.work import timer_tick_s

if TYPE_CHECKING:
    from pyperf_infer.selftest.records import Trial

MOST_DIFFERENT = 5.0  # percent, as all below
MOST_UNDECIDED_QUIET = 30.0
MOST_GATES = 1.0


def different_share(trials: list[Trial]) -> float:
    return sum(one.verdict in ("faster", "slower") for one in trials) / len(trials)


def main() -> int:
    made = state_options(parser(__doc__), "aa")
    made.add_argument("--trials", type=int, default=1000)
    made.add_argument("--seconds", type=float, default=1.0, help="of one comparison")
    arguments = made.parse_args()
    tick_s = timer_tick_s()
    plan = SelfTestPlan(aa=arguments.trials, trial_s=arguments.seconds, power=0, coverage=0, precision=0, processes=0)
    settings = {"seconds": arguments.seconds, "tick_s": tick_s}
    trials = kept_trials(arguments.state, settings, fresh=arguments.fresh)
    report = Report("aa")
    try:
        found = run_all(steps(plan, tick_s=tick_s, neighbour=True), trials)
    except KeyboardInterrupt:
        print(f"broken off; the same command goes on from {arguments.state}")
        return 130
    tick = "not known" if tick_s is None else f"{tick_s * 1e3:g} ms"
    report.say(f"{len(found)} comparisons of {arguments.seconds:g} s; timer tick {tick}; {clock_line()}")
    say_table(report, found)
    for where, some in (
        ("quiet", [one for one in found if not one.neighbour]),
        ("beside a busy neighbour", [one for one in found if one.neighbour]),
        ("all", found),
    ):
        if some:
            different = sum(one.verdict in ("faster", "slower") for one in some)
            undecided = sum(one.verdict == "undecided" for one in some)
            fired = sum(gate_fires(one, GATE) for one in some)
            report.say(f"{where}: called different {share_of(different, len(some))}")
            report.say(f"{where}: undecided {share_of(undecided, len(some))}")
            report.say(f"{where}: gate at {GATE:.0%} fires {share_of(fired, len(some))}")
    quiet = [one for one in found if not one.neighbour]
    for name, share, bound in (
        ("identical work called faster or slower, of all", different_share(found), MOST_DIFFERENT),
        ("undecided when quiet", sum(one.verdict == "undecided" for one in quiet) / len(quiet), MOST_UNDECIDED_QUIET),
        (f"the gate at {GATE:.0%} fires, of all", sum(gate_fires(one, GATE) for one in found) / len(found), MOST_GATES),
    ):
        report.claim(Claim(name, share * 100, bound, unit="%"))
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
