# SPDX-License-Identifier: Apache-2.0
"""The warnings of one row: what makes its number worth less, or another than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.advice import ResultFacts, advise
from pyperf_infer.system.gpu_advice import advise_gpu

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Contestant, Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Result


def notices_of(result: Result, one: Contestant, around: Surroundings) -> list[Notice]:
    """All of a row that was timed to the end."""
    plan, side = around.plan, around.gpu
    notices = advise(ResultFacts.of(result), around.environment, result.activity, plan.flags)
    if side is not None:
        notices += advise_gpu(result.gpu_activity, side.described, plan.flags, gpus=side.count)
    return [*notices, *_asynchrony(result, plan), *_no_graph(one), *_log(one), *_threads(result, plan)]


def not_together(case: Case) -> Notice:
    """For the rows of backends that the GPU's memory does not hold at the same time."""
    return Notice(
        code="not_together",
        message=f"The backends of {case.model.name} at batch {case.batch_size} did not fit in the GPU's memory "
        "together; they were timed one after the other, without a speed-up.",
        remedy="Use a smaller --batch-size to have them compared, or one --backend.",
    )


def batch_halved(case: Case) -> Notice:
    return Notice(
        code="batch_halved",
        message=(
            f"Batch {case.requested_batch_size} of {case.model.name} did not fit in memory; "
            f"measured with {case.batch_size}."
        ),
        remedy="Use a smaller --batch-size, or --no-retry to make this an error.",
    )


def _asynchrony(result: Result, plan: RunPlan) -> Iterator[Notice]:
    gpu = result.method.gpu
    if plan.mode != "throughput" or gpu is None or gpu.asynchronous != "unknown":
        return
    yield Notice(
        code="asynchrony_unknown",
        message=f"Whether calls of {result.method.backend} were in flight together is not known: "
        f"{gpu.asynchrony_evidence}.",
        remedy="Set it beside --mode latency: where that gives as many items a second, nothing was in flight."
        if plan.options.gate
        else "Leave --no-gate away: a call that returns behind the closed gate is a proof.",
    )


def _no_graph(one: Contestant) -> Iterator[Notice]:
    if (why := one.no_graph) is not None:
        yield Notice(
            code="eager_fallback",
            message=f"{one.name} was timed eagerly, as the capture of its graph {first_line(why)}",
            remedy="Leave --allow-eager-fallback away to make this an error, or use --backend torch.",
        )


def _log(one: Contestant) -> Iterator[Notice]:
    for line in dict.fromkeys(one.prepared.facts.log):
        yield Notice(
            code="backend_log",
            message=f"{one.name} said while loading: {first_line(line)}",
            remedy="Look it up in the backend's documentation; it may mean slower kernels or an ignored option.",
        )


def _threads(result: Result, plan: RunPlan) -> Iterator[Notice]:
    if result.method.threads != plan.options.threads:
        yield Notice(
            code="threads_changed",
            message=f"{plan.options.threads} threads were asked for, and the model's own code set "
            f"{result.method.threads}.",
            remedy="Take torch.set_num_threads out of the model; --threads sets it for both backends.",
        )


def first_line(text: object) -> str:
    return str(text).strip().split("\n", 1)[0]
