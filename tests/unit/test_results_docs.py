# SPDX-License-Identifier: Apache-2.0
"""docs/results.md names every field of the schema, so that it cannot fall behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pyperf_infer.results import schema

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
STRUCTS = [
    one
    for one in vars(schema).values()
    if isinstance(one, type) and issubclass(one, msgspec.Struct) and one.__module__.startswith("pyperf_infer.results.")
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_every_field_is_documented(struct: type[msgspec.Struct]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    words = set(page.replace("`", " ").replace(",", " ").replace("{", " ").replace("}", " ").split())
    assert {one.name for one in msgspec.structs.fields(struct)} <= words


def test_what_gpus_add_is_among_the_structs() -> None:
    assert {schema.Gpu, schema.GpuProcess, schema.GpuActivity, schema.GpuMethod, schema.Integrity} <= set(STRUCTS)
