# SPDX-License-Identifier: Apache-2.0
"""What `pyperf-infer profile`'s per-layer mode costs, and whether its layers add up.

In one process, blocks of plain calls of ResNet-50, of the same calls with every layer watched, and of plain calls again
run in turn on the same module and tensors; the clock of the blocks is the script's own. Then the product profiles the
same model, and its table is held against its own whole and against the watched blocks.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import Claim, Ratios, Report, alternate, parser, too_noisy

MODEL = "resnet50"
COST = 1.05
APART = 0.03
ROUNDS = 15
BLOCK_CALLS = 10
SETTLE_CALLS = 5


def main() -> int:
    arguments = parser(__doc__).parse_args()
    report = Report("profile_cost")

    import torch

    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.inputs import make_inputs, resolve_shapes
    from pyperf_infer.profile.eager_model import open_eager
    from pyperf_infer.profile.layer_timer import LayerTimer
    from pyperf_infer.profile.layers import find_layers
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.profile.torch_profile import profile_torch

    loaded = resolve(MODEL).load(seed=42)
    shapes = resolve_shapes(loaded.inputs, 1)
    options = BackendOptions(threads=torch.get_num_threads())
    model = open_eager(loaded, make_inputs(loaded.inputs, shapes, seed=42), options)
    layers = find_layers(model.module).listed
    timer = LayerTimer(model, layers, len(layers))

    def watched() -> float:
        with timer.attached():
            return block_ms(timer.inference)

    def plain() -> float:
        return block_ms(model.call)

    with model.running():
        alternate([plain, watched, plain], 1)
        rounds = alternate([plain, watched, plain], ROUNDS)
    plain_ms, watched_ms = (statistics.median(column) for column in list(zip(*rounds, strict=True))[:2])
    report.say(
        f"{MODEL}, batch 1, {options.threads} threads, {len(layers)} layers: plain {plain_ms:.2f} ms, every layer "
        f"watched {watched_ms:.2f} ms ({ROUNDS} rounds of blocks of {BLOCK_CALLS} calls)"
    )
    itself = Ratios.of([(again, once) for once, _, again in rounds])
    report.say(f"plain / plain: {itself}")
    if (noise := too_noisy(itself, COST - 1)) is not None:
        report.say(noise)
    cost = Ratios.of([(ours, once) for once, ours, _ in rounds])
    report.claim(Claim("every layer watched / plain", cost.median, COST, spread=cost.quartiles))

    with tempfile.TemporaryDirectory(prefix="pyperf-infer-bench-") as folder:
        plan = ProfilePlan(memory=False, python=False, trace=False)
        profile = profile_torch(loaded, shapes, options, Path(folder), plan, seed=42)
    table = profile.tables[0]
    own = table.perturbation
    if own is not None:
        interval = "no interval" if own.interval is None else f"{own.interval[0]:.3f} to {own.interval[1]:.3f}"
        report.say(f"what the table itself states: {own.ratio:.3f} x ({interval}, {own.rounds} rounds)")
    layers_ms = sum(row.time_ms or 0.0 for row in table.rows)
    report.say(
        f"{len(table.rows)} rows {layers_ms:.3f} ms + rest {table.rest_ms:.3f} ms = whole {table.whole_ms:.3f} ms, "
        f"means over {table.inferences} inferences"
    )
    report.say(f"the rows' sum / the watched blocks above, another pass: {layers_ms / watched_ms:.3f} x")
    apart = abs(layers_ms - table.whole_ms) / table.whole_ms
    report.claim(Claim("the rows' sum from the instrumented whole, either way", apart, APART, unit="of it"))
    return report.finish(arguments.record)


def block_ms(call: Callable[[], object]) -> float:
    """The median of a block's calls, after some that are thrown away."""
    for _ in range(SETTLE_CALLS):
        call()
    samples = []
    for _ in range(BLOCK_CALLS):
        begin_ns = time.perf_counter_ns()
        call()
        samples.append((time.perf_counter_ns() - begin_ns) / 1e6)
    return statistics.median(samples)


if __name__ == "__main__":
    sys.exit(main())
