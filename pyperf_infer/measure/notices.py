# SPDX-License-Identifier: Apache-2.0
"""The warnings of one row: what makes its number worth less, or another than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyperf_infer.measure.steadiness import steadiness_notices
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.advice import ResultFacts, advise
from pyperf_infer.system.gpu_advice import advise_gpu

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Contestant, Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Result, Subject


def notices_of(result: Result, one: Contestant, around: Surroundings) -> list[Notice]:
    """All of a row that was timed to the end."""
    plan, side = around.plan, around.gpu
    notices = advise(ResultFacts.of(result), around.environment, result.activity, plan.flags)
    if side is not None:
        notices += advise_gpu(result.gpu_activity, side.described, plan.flags, gpus=side.count)
    compiled = [*_nothing_compiled(result), *_recompiled(result), *_rebuilt(result)]
    numbers = [*_casts(result), *_other_types(result)]
    return [
        *steadiness_notices(result),
        *notices,
        *_asynchrony(result, plan),
        *_no_graph(one),
        *compiled,
        *numbers,
        *_log(one),
        *_threads(result, plan),
    ]


def not_together(case: Case) -> Notice:
    """For the rows of backends that the GPU's memory does not hold at the same time."""
    return Notice(
        code="not_together",
        message=f"The backends of {case.model.name} at batch {case.batch_size} did not fit in the GPU's memory "
        "together; they were timed one after the other, without a speed-up.",
        remedy="Use a smaller --batch-size to have them compared, or one --backend.",
    )


def batch_halved(subject: Subject) -> Notice:
    return Notice(
        code="batch_halved",
        message=(
            f"Batch {subject.requested_batch_size} of {subject.model} did not fit in memory; "
            f"measured with {subject.batch_size}."
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


def _nothing_compiled(result: Result) -> Iterator[Notice]:
    method = result.method
    if method.settings.get("graphs") == 0:
        yield Notice(
            code="nothing_compiled",
            message=f"torch.compile made no graph of the model: {method.backend} ran it eagerly.",
            remedy="See the graph breaks for what stood in its way, and whether TORCH_COMPILE_DISABLE, "
            "TORCHDYNAMO_DISABLE or TORCHDYNAMO_SUPPRESS_ERRORS is set.",
        )


def _recompiled(result: Result) -> Iterator[Notice]:
    settings, backend = result.method.settings, result.method.backend
    times, why = settings.get("recompiled"), settings.get("recompiled_because")
    if isinstance(times, int) and times > 0:
        yield Notice(
            code="recompiled",
            message=f"torch.compile compiled {times} time{'s' * (times != 1)} more while {backend} was warmed up and "
            "timed: samples hold compiling, or eager calls after it gave up."
            + (f" What no longer held: {why}." if why else ""),
            remedy="Take out of the model what it changes of itself from call to call, or keep it in a tensor.",
        )


def _rebuilt(result: Result) -> Iterator[Notice]:
    why = result.method.settings.get("package_rebuilt")
    if isinstance(why, str):
        yield Notice(
            code="package_rebuilt",
            message=f"The compiled package of {result.subject.model} was compiled again: {first_line(why)}.",
            remedy="Nothing is to be done. Where the same damage comes up again, the disk of the cache is at fault.",
        )


def _casts(result: Result) -> Iterator[Notice]:
    casts = result.method.settings.get("casts")
    if isinstance(casts, str):
        yield Notice(
            code="casts_inserted",
            message=f"{result.method.provider or result.method.backend} computes little or nothing in float16: "
            f"{casts}.",
            remedy="Its weights are float32 in memory as well. Use --precision float32, which spares the Casts, or "
            "--backend torch.",
        )


def _other_types(result: Result) -> Iterator[Notice]:
    types, precision = result.method.settings.get("float_types"), result.subject.precision
    wanted = precision if precision in ("float16", "bfloat16") else "float32"
    if isinstance(types, str) and types and wanted not in types.split(", "):
        yield Notice(
            code="other_precision",
            message=f"{result.subject.model} holds {types} numbers, which an ONNX file keeps whatever --precision "
            f"says; this row's precision, {precision}, is what was asked for.",
            remedy=f"Give --precision {types}."
            if types in ("float16", "bfloat16")
            else "Read the row as one of the file's own types.",
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
