# SPDX-License-Identifier: Apache-2.0
"""The schema takes every document it describes, back and forth, and no damaged one."""

from __future__ import annotations

from typing import Any

import gpu_documents as gpus
import msgspec
import pytest
import result_documents as made
from hypothesis import HealthCheck, given, settings
from struct_strategies import documents

from pyperf_infer.results import schema
from pyperf_infer.results.quantity import PercentileNs, block_from_ns


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents())
def test_any_document_survives_writing_and_reading(document: schema.Document) -> None:
    assert msgspec.json.decode(msgspec.json.encode(document), type=schema.Document) == document


def as_json(document: schema.Document) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document))


@pytest.mark.parametrize(
    ("where", "value", "path"),
    [
        (["results", 1, "summary", "latency", "p50_ms"], "52", "$.results[1].summary.latency.p50_ms"),
        (["results", 0, "summary", "latency", "p50_ms"], None, "$.results[0].summary.latency.p50_ms"),
        (
            ["results", 0, "summary", "latency", "p50_interval_ms"],
            [1.0],
            "$.results[0].summary.latency.p50_interval_ms",
        ),
        (["results", 0, "summary", "latency", "count"], 1.5, "$.results[0].summary.latency.count"),
        (["results", 0, "subject", "batch_size"], 0, "$.results[0].subject.batch_size"),
        (["results", 0, "subject", "shapes", "input"], [1, -3], "$.results[0].subject.shapes[...][1]"),
        (["results", 0, "subject", "weights", "sha256"], "XYZ", "$.results[0].subject.weights.sha256"),
        (["results", 0, "method", "stop", "converged"], 1, "$.results[0].method.stop.converged"),
        (["results", 1, "method", "providers", "stage"], "during", "$.results[1].method.providers.stage"),
        (["results", 0, "method", "settings", "gc"], [], "$.results[0].method.settings[...]"),
        (["results", 1, "parity", "outputs", 0, "movement"], -1, "$.results[1].parity.outputs[0].movement"),
        (["results", 0, "activity", "wall_ns"], -1, "$.results[0].activity.wall_ns"),
        (["comparisons", 0, "verdict"], "better", "$.comparisons[0].verdict"),
        (["comparisons", 0, "ratio"], 0, "$.comparisons[0].ratio"),
        (["status"], "done", "$.status"),
        (["created_utc"], "yesterday", "$.created_utc"),
        (["environment", "affinity", 0], "0", "$.environment.affinity[0]"),
        (["phases", 0, "seconds"], -0.1, "$.phases[0].seconds"),
    ],
)
def test_a_damaged_field_is_refused_by_its_path(where: list[Any], value: object, path: str) -> None:
    refuse(made.document(), where, value, path)


def refuse(document: schema.Document, where: list[Any], value: object, path: str) -> None:
    data = as_json(document)
    holder = data
    for step in where[:-1]:
        holder = holder[step]
    assert where[-1] in holder or isinstance(holder, list)
    holder[where[-1]] = value
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(data), type=schema.Document)
    assert f"`{path}`" in str(caught.value)


@pytest.mark.parametrize(
    ("where", "value", "path"),
    [
        (["environment", "gpus", 0, "mig"], "off", "$.environment.gpus[0].mig"),
        (["results", 0, "method", "gpu", "wait"], "sleep", "$.results[0].method.gpu.wait"),
        (["results", 0, "method", "gpu", "asynchronous"], True, "$.results[0].method.gpu.asynchronous"),
        (["results", 0, "method", "gpu", "streams"], 0, "$.results[0].method.gpu.streams"),
        (["results", 0, "method", "gpu", "gate_timeouts"], -1, "$.results[0].method.gpu.gate_timeouts"),
        (["results", 0, "summary", "gpu", "p50_ms"], None, "$.results[0].summary.gpu.p50_ms"),
        (["results", 0, "summary", "gpu_busy_ms"], -1, "$.results[0].summary.gpu_busy_ms"),
        (
            ["results", 0, "gpu_activity", "throttle_reasons"],
            {"a": 1.1},
            "$.results[0].gpu_activity.throttle_reasons[...]",
        ),
        (["results", 0, "gpu_activity", "readings"], 1.5, "$.results[0].gpu_activity.readings"),
        (["results", 0, "integrity", "status"], "fine", "$.results[0].integrity.status"),
        (["results", 0, "integrity", "bandwidth_bytes_per_s"], 0, "$.results[0].integrity.bandwidth_bytes_per_s"),
        (["results", 0, "samples", "quantity"], "a b", "$.results[0].samples.quantity"),
        (["results", 0, "samples", "more_ns"], {"=SUM(A1)": [1]}, "key` in `$.results[0].samples.more_ns"),
        (["results", 0, "samples", "more_ns"], {"gpu": [-1]}, "$.results[0].samples.more_ns[...][0]"),
    ],
)
def test_a_damaged_field_of_a_gpu_is_refused_by_its_path(where: list[Any], value: object, path: str) -> None:
    row = gpus.gpu_result()
    row.samples = schema.SampleData(count=1, latency_ns=[1], more_ns={"gpu": [1]})
    refuse(gpus.gpu_document([row]), where, value, path)


def test_a_document_of_before_there_were_gpus_reads_with_none() -> None:
    data = as_json(made.document())
    added = {"gpu", "gpu_activity", "integrity", "h2d", "d2h", "quantity", "more_ns", "columns"}
    launch = {"launch_bound", "launch_bound_evidence", "gpu_busy_ms", "gpu_busy_method"}
    device = {"device_peak_memory_bytes", "device_memory_increase_bytes", "device_memory_method"}
    old = without(data, added | launch | device)
    del old["comparisons"][0]["precision"]
    assert old != data
    assert msgspec.json.decode(msgspec.json.encode(old), type=schema.Document) == made.document()


def without(data: Any, names: set[str]) -> Any:
    if isinstance(data, dict):
        return {name: without(value, names) for name, value in data.items() if name not in names}
    return [without(one, names) for one in data] if isinstance(data, list) else data


def test_what_a_row_is_judged_by() -> None:
    for mode, quantity in (("latency", "latency"), ("throughput", "period"), ("cold", "gpu")):
        summary = gpus.gpu_result(mode=mode).summary
        assert summary.timing is getattr(summary, quantity) is not None
    assert schema.Summary().timing is None


def required(struct: type[msgspec.Struct]) -> list[str]:
    return [one.name for one in msgspec.structs.fields(struct) if one.required]


@pytest.mark.parametrize("name", required(schema.Document))
def test_a_missing_field_is_refused_by_name(name: str) -> None:
    data = as_json(made.document())
    del data[name]
    with pytest.raises(msgspec.ValidationError, match=f"`{name}`"):
        msgspec.json.decode(msgspec.json.encode(data), type=schema.Document)


def test_fields_of_a_newer_minor_version_are_ignored() -> None:
    document = made.document()
    data = as_json(document)
    data["colour"] = data["results"][0]["summary"]["npu"] = {"p50_ms": 1}
    assert msgspec.json.decode(msgspec.json.encode(data), type=schema.Document) == document


def in_a_file(**fields: Any) -> schema.SampleData:
    return schema.SampleData(count=2, file="a.npy", sha256=made.SHA256, **fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schema.Percentile(percent=99), "p99 must have"),
        (lambda: schema.Percentile(percent=99, value_ms=1, refused="few"), "p99 must have"),
        (lambda: schema.Percentile(percent=99, value_ms=1, interval_ms=(2, 1)), "interval_ms runs backwards"),
        (
            lambda: schema.Percentile(percent=99, value_ms=1, interval_ms=(float("nan"), 1)),
            "interval_ms runs backwards",
        ),
        (lambda: schema.SampleData(count=2), "one of them only"),
        (lambda: schema.SampleData(count=2, latency_ns=[1, 2], file="a.npy"), "one of them only"),
        (lambda: schema.SampleData(count=2, latency_ns=[1]), "holds 1"),
        (lambda: schema.SampleData(count=2, file="a.npy"), "sha256"),
        (lambda: schema.SampleData(count=1, latency_ns=[1], more_ns={"gpu": [1, 2]}), "gpu holds 2"),
        (lambda: schema.SampleData(count=1, quantity="gpu", latency_ns=[1], more_ns={"gpu": [1]}), "holds already"),
        (lambda: schema.SampleData(count=1, latency_ns=[1], columns=["latency", "gpu"]), "columns are a file's"),
        (lambda: in_a_file(more_ns={"gpu": [1]}), "no more_ns"),
        (lambda: in_a_file(columns=["latency"]), "two or more"),
        (lambda: in_a_file(columns=[]), "two or more"),
        (lambda: in_a_file(columns=["gpu", "latency"]), "latency first"),
        (lambda: in_a_file(columns=["latency", "gpu", "gpu"]), "each once"),
        (lambda: schema.Summary(launch_bound=False), "needs its evidence"),
        (lambda: gpus.gpu_method(gated=False), "needs the reason in gate_reason"),
        (lambda: gpus.gpu_method(gated=True, gate_reason="it synchronises"), "says why not"),
        (lambda: gpus.gpu_activity(readings=0), "needs the reason in missing"),
        (lambda: gpus.integrity("impossible"), "'impossible' needs its reason"),
        (lambda: gpus.integrity("not checked"), "'not checked' needs its reason"),
        (lambda: made.comparison(verdict="same", interval=None), "'same' needs an interval"),
        (lambda: made.comparison(interval=(2.0, 1.0)), "interval runs backwards"),
        (lambda: msgspec.structs.replace(made.block(5.0), p50_ms=99.0), "outside"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_nanoseconds_become_milliseconds_once() -> None:
    block = block_from_ns(
        count=40,
        mean_ns=2_500_000,
        stddev_ns=None,
        min_ns=1_000_000,
        max_ns=9_000_000,
        p50_ns=2_000_000,
        p50_interval_ns=(1_900_000, 2_200_000),
        percentiles=[
            PercentileNs(percent=90, value_ns=4_000_000, interval_ns=(3_000_000, 5_000_000)),
            PercentileNs(percent=99, refused="40 of 368 samples"),
        ],
        outliers=1,
        autocorrelation_lag1=None,
    )
    assert (block.mean_ms, block.p50_ms, block.p50_interval_ms) == (2.5, 2.0, (1.9, 2.2))
    assert (block.p90_ms, block.p95_ms, block.p99_ms) == (4.0, None, None)
    assert block.percentiles[0].interval_ms == (3.0, 5.0)
    assert block.percentiles[1].refused == "40 of 368 samples"


def test_the_moment_reads_back() -> None:
    assert msgspec.json.decode(msgspec.json.encode(schema.utc_now()), type=schema.UtcTime)
