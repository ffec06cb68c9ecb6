# SPDX-License-Identifier: Apache-2.0
"""Outliers by class and the effective count, from samples to the block of a result, the table and the CSV."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import result_documents as made
from msgspec.structs import replace

from pyperf_infer.measure.entry import block_of
from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.results import schema
from pyperf_infer.timing.samples import Samples

CLASSES = schema.Outliers(low_severe=0, low_mild=1, high_mild=4, high_severe=2)


def _block(values: Any) -> schema.QuantityBlock:
    samples = Samples(
        columns={"latency": np.array(values, np.int64)},
        stop_reason="converged",
        looks=2,
        duration_ns=int(sum(values)),
        warmup=None,
        confidence=0.95,
        batched_ns_per_call=None,
    )
    plan: Any = SimpleNamespace(shown_percentiles=(50.0, 90.0, 99.0))
    return block_of(samples, plan, "latency")


def _document(**changes: Any) -> schema.Document:
    one = made.result()
    assert one.summary.latency is not None
    summary = replace(one.summary, latency=replace(one.summary.latency, **changes))
    return made.document([replace(one, summary=summary)])


def test_a_result_says_which_samples_are_outliers_and_what_its_samples_are_worth() -> None:
    """Levels in long turns, and one sample far off."""
    values = np.repeat(np.array([1_000_000, 1_100_000] * 20), 50) + np.arange(2000) % 7
    values[700] = 9_000_000
    block = _block(values)
    assert block.outlier_classes == schema.Outliers(low_severe=0, low_mild=0, high_mild=0, high_severe=1)
    assert block.outliers == 1
    assert block.effective_count is not None
    assert block.effective_count < 1000
    assert all(one.effective_count is not None and one.effective_count <= 2000 for one in block.percentiles)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "400 (7 outliers)"),  # a document from before they were told apart
        ({"outlier_classes": CLASSES, "effective_count": 400.0}, "400 (7 outliers, 2 severe)"),
        ({"outlier_classes": CLASSES, "effective_count": 380.0}, "400 (7 outliers, 2 severe)"),
        (
            {"outlier_classes": CLASSES, "effective_count": 51.4},
            "(7 outliers, 2 severe; worth 51 independent ones)",
        ),
        ({"outliers": 0, "effective_count": 51.4}, "400 (worth 51 independent ones)"),
        ({"outliers": 0, "effective_count": 400.0}, "400"),
    ],
)
def test_the_table_tells_what_samples_are_worth_where_they_depend(changes: dict[str, Any], said: str) -> None:
    assert said in run_markdown(_document(**changes))


def test_csv_has_a_column_for_each_class() -> None:
    (row,) = csv.DictReader(io.StringIO(run_csv(_document(outlier_classes=CLASSES, effective_count=51.5))))
    classes = [row[f"outliers_{name}"] for name in ("low_severe", "low_mild", "high_mild", "high_severe")]
    assert classes == ["0", "1", "4", "2"]
    assert row["effective_count"] == "51.5"
    (older,) = csv.DictReader(io.StringIO(run_csv(_document())))
    assert (older["outliers"], older["outliers_high_severe"], older["effective_count"]) == ("7", "", "")
