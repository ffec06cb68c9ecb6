# SPDX-License-Identifier: Apache-2.0
"""The row of the GPU proof that sets ceilings against the datasheet, and ResNet-50 against the ceilings."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import gpu_proof  # noqa: F401  finds the modules of benchmarks
import msgspec
import pytest
from ceilings import make_ceilings
from gpu import roofline
from gpu.common import Row
from gpu.figures import Figure, status_of
from roofline_documents import document, layer
from roofline_documents import roofline as made


def found(**more: Any) -> dict[str, Any]:
    ceilings = make_ceilings({"bfloat16": 700e12, "float16": 700e12}, {"memory": 3.0e12}, threads=1, device="cuda:0")
    for compute in ceilings.compute:
        compute.datasheet_flops_per_s = 990e12
    ceilings.memory[0].pattern = "copy"
    ceilings.memory[0].datasheet_bytes_per_s = 3.35e12
    values: dict[str, Any] = json.loads(msgspec.json.encode(document([made(**more)], ceilings=[ceilings])))
    return values


def named(figures: list[Figure], name: str) -> Figure:
    (one,) = [figure for figure in figures if figure.name == name]
    return one


def run(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], missing: str | None = None) -> list[Figure]:
    asked: list[list[str]] = []

    def answer(arguments: list[str], *, timeout_s: float) -> dict[str, Any]:
        asked.append(arguments)
        return said

    monkeypatch.setattr(roofline, "pyperf_infer", answer)
    monkeypatch.setattr(roofline, "provider_of_onnxruntime", lambda: missing)
    row = Row()
    roofline.run(row, Namespace(core=False, device=1, precision="float16", timeout=10.0))
    (arguments,) = asked
    assert arguments[:4] == ["roofline", "resnet50", "--device", "cuda:1"]
    assert arguments.count("-b") == 2
    assert ("onnxruntime" in arguments) == (missing is None)
    return list(row.figures)


def test_ceilings_within_the_datasheet_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = run(monkeypatch, found(), missing="no provider")
    assert named(figures, "copy, memory: share of the datasheet").value == pytest.approx(100 * 3.0 / 3.35)
    assert named(figures, "products of bfloat16: share of the datasheet").status == "fail"  # 71 percent
    assert named(figures, "products of bfloat16: share of the datasheet, not above").status == "pass"
    assert named(figures, "onnxruntime").status == "not yet"
    assert named(figures, "torch, batch 1, float32: share of the roof").value == pytest.approx(21.0)


def test_a_layer_above_its_roof_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    said = found(layers=[layer("head", share_of_roof=1.4, reason="a nearer cache")])
    figure = named(run(monkeypatch, said), "torch, batch 1, float32: layers above 105% of their roof")
    assert (figure.status, figure.reason) == ("fail", "head 140%: a nearer cache")


def test_what_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    said = found(measured_ms=None, share_of_roof=None)
    said["ceilings"][0]["not_measured"] = ["int8: not supported"]
    said["ceilings"][0]["compute"][0]["datasheet_flops_per_s"] = None
    said["warnings"] = [{"code": "roofline_failed", "message": "out of memory", "remedy": ""}]
    figures = run(monkeypatch, said)
    assert named(figures, "a ceiling").reason == "int8: not supported"
    assert named(figures, "products of bfloat16: share of the datasheet").status == "not yet"
    assert named(figures, "torch, batch 1, float32: share of the roof").status == "not yet"
    assert named(figures, "a roofline").status == "fail"
    assert status_of(figures) == "fail"
