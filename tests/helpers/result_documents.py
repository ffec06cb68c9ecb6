# SPDX-License-Identifier: Apache-2.0
"""Made-up result documents. Numbers are plausible, not measured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pyperf_infer.results import schema
from pyperf_infer.results.quantity import PercentileNs, block_from_ns

SHA256 = "0123456789abcdef" * 4
MS = 1_000_000


def environment() -> schema.Environment:
    return schema.Environment(
        cpu_model="AMD EPYC 9654",
        architecture="x86_64",
        physical_cores=2,
        logical_cores=4,
        affinity=[0, 1],
        caches=[schema.Cache(level=1, kind="data", size_bytes=32768, shared_by_cpus=2)],
        governor=None,
        frequency_mhz=2400.0,
        frequency_min_mhz=None,
        frequency_max_mhz=3700.0,
        memory_total_bytes=16 << 30,
        memory_limit_bytes=None,
        cpu_limit_cores=2.0,
        os="Debian GNU/Linux 13",
        kernel="6.12.0",
        virtualised=True,
        hypervisor="kvm",
        python="3.11.2",
        libraries={"torch": "2.15.0", "onnxruntime-gpu": "1.31.0", "numpy": "2.4.6"},
    )


def block(p50_ms: float, *, count: int = 400, refused_p99: str | None = None) -> schema.QuantityBlock:
    p50 = p50_ms * MS
    p99 = PercentileNs(percent=99, refused=refused_p99)
    if refused_p99 is None:
        p99 = PercentileNs(percent=99, value_ns=p50 * 1.09, interval_ns=(p50 * 1.07, p50 * 1.14))
    return block_from_ns(
        count=count,
        mean_ns=p50 * 1.01,
        stddev_ns=p50 * 0.02,
        min_ns=p50 * 0.97,
        max_ns=p50 * 1.2,
        p50_ns=p50,
        p50_interval_ns=(p50 * 0.997, p50 * 1.004),
        percentiles=[
            PercentileNs(percent=50, value_ns=p50, interval_ns=(p50 * 0.997, p50 * 1.004)),
            PercentileNs(percent=90, value_ns=p50 * 1.03, interval_ns=(p50 * 1.02, p50 * 1.05)),
            p99,
        ],
        outliers=7,
        autocorrelation_lag1=0.12,
    )


def subject(model: str = "resnet50", batch_size: int = 1, asked: int | None = None) -> schema.Subject:
    return schema.Subject(
        model=model,
        source="built-in",
        weights=schema.Weights(source="random", seed=42, sha256=SHA256),
        parameters=25_557_032,
        batch_size=batch_size,
        requested_batch_size=asked or batch_size,
        shapes={"input": [batch_size, 3, 224, 224]},
        precision="float32",
    )


def method(backend: str, *, converged: bool = True, steady: bool = True) -> schema.Method:
    onnx = backend == "onnxruntime"
    return schema.Method(
        backend=backend,
        provider="CPUExecutionProvider" if onnx else None,
        device="cpu",
        mode="latency",
        clock="steady_clock",
        timer_overhead_ns=21.0,
        clock_step_ns=1.0,
        seed=42,
        threads=2,
        inter_op_threads=1,
        loop="native" if onnx else "native, Python callable",
        settings={"opt_level": "all", "spinning": True, "gc": None, "rate": 0.5, "rounds": 3},
        warmup=schema.Warmup(budget_ms=5000, min_iterations=3, iterations=32, duration_ms=1250.5, steady=steady),
        stop=schema.Stop(
            ci=0.01,
            confidence=0.95,
            min_iterations=30,
            min_duration_s=1,
            max_duration_s=20,
            reason="interval reached" if converged else "budget spent",
            looks=5,
            converged=converged,
        ),
        measured_duration_s=10.2,
        providers=schema.NodeAssignment(
            stage="before fusion",
            nodes=[schema.ProviderNodes(provider="CPUExecutionProvider", count=122, op_types=["Conv", "Relu"])],
        )
        if onnx
        else None,
    )


def parity(status: str = "equal", reason: str | None = None) -> schema.Parity:
    relative = {"equal": 1.2e-6, "different": 0.032}.get(status)
    output = schema.OutputParity(
        name="logits",
        largest_difference=None if relative is None else relative * 4,
        movement=4.0,
        relative=relative,
        status=status,  # type: ignore[arg-type]
    )
    return schema.Parity(
        status=status,  # type: ignore[arg-type]
        reference="torch",
        other="onnxruntime",
        outputs=[output],
        rtol=1e-3,
        atol=0,
        reason=reason,
    )


def result(
    model: str = "resnet50",
    batch_size: int = 1,
    backend: str = "torch",
    *,
    p50_ms: float = 52.31,
    count: int = 400,
    refused_p99: str | None = None,
    asked: int | None = None,
    converged: bool = True,
    steady: bool = True,
    warnings: Sequence[schema.Warning] = (),
) -> schema.Result:
    latency = block(p50_ms, count=count, refused_p99=refused_p99)
    return schema.Result(
        subject=subject(model, batch_size, asked),
        method=method(backend, converged=converged, steady=steady),
        summary=schema.Summary(
            latency=latency,
            throughput_per_s=1000 * batch_size / latency.mean_ms,
            session_create_s=0.412,
            first_inference_ms=p50_ms * 2.2,
            export_s=8.71 if backend == "onnxruntime" else None,
            peak_memory_bytes=412 << 20,
            memory_increase_bytes=145 << 20,
            memory_method="VmHWM after a reset",
        ),
        samples=None,
        activity=activity(),
        parity=parity() if backend == "onnxruntime" else None,
        warnings=list(warnings),
    )


def failed(model: str = "resnet50", batch_size: int = 1, backend: str = "torch", message: str = "No.") -> schema.Result:
    return schema.Result(
        subject=subject(model, batch_size),
        method=msgspec.structs.replace(method(backend), warmup=None, stop=None, measured_duration_s=None),
        summary=schema.Summary(),
        error=schema.Failure(kind="OutOfMemoryError", message=message, exit_code=5),
    )


def activity() -> schema.Activity:
    return schema.Activity(
        wall_ns=10_200 * MS,
        user_cpu_ns=20_000 * MS,
        system_cpu_ns=30 * MS,
        steal_ns=0,
        throttled_ns=None,
        throttled_periods=None,
        voluntary_switches=10,
        involuntary_switches=320,
        minor_faults=1000,
        major_faults=0,
        other_cpu_ns=50 * MS,
        frequency_mhz_min=None,
        frequency_mhz_max=None,
        cpus=2,
    )


def comparison(
    model: str = "resnet50",
    batch_size: int = 1,
    *,
    verdict: str = "faster",
    ratio: float = 2.104,
    interval: tuple[float, float] | None = (2.093, 2.115),
    reason: str | None = None,
) -> schema.Comparison:
    return schema.Comparison(
        model=model,
        batch_size=batch_size,
        baseline="torch",
        contender="onnxruntime",
        ratio=ratio,
        interval=interval,
        confidence=0.95,
        margin=0.01,
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
        rounds=24,
        discarded_calls=96,
    )


def document(
    results: Sequence[schema.Result] | None = None,
    comparisons: Sequence[schema.Comparison] | None = None,
    **fields: object,
) -> schema.Document:
    """The typical run: one model, one batch, two backends."""
    pair = [result(), result(backend="onnxruntime", p50_ms=24.86, count=900)]
    whole = schema.Document(
        tool_version="0.1.0",
        command=["pyperf-infer", "run", "resnet50"],
        created_utc="2026-01-02T03:04:05Z",
        status="complete",
        environment=environment(),
        results=pair if results is None else list(results),
        comparisons=([comparison()] if results is None else []) if comparisons is None else list(comparisons),
        phases=[schema.Phase(name="import", seconds=2.1)],
    )
    return msgspec.structs.replace(whole, **fields)
