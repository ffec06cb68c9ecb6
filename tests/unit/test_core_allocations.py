# SPDX-License-Identifier: Apache-2.0
"""Nothing is allocated inside the measured loop: counted by a malloc that counts, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from native_build import compile_shared_library

COUNTER = Path(__file__).parents[1] / "helpers" / "count_mallocs.cpp"

PROGRAM = """
import ctypes, gc, json, os, sys
from pyperf_infer import _core

counted = ctypes.CDLL(None).counted_allocations
counted.restype = ctypes.c_long
gc.disable()

def allocations(calls, target, samples):
    before = counted()
    _core.run_batch(target, samples, calls)
    return counted() - before

def of_batches(target):
    counts = {}
    for calls in (1, 1_000, 100_000):
        samples = _core.Samples()
        counts[calls] = allocations(calls, target, samples)
    return counts

function = _core.CallableTarget(lambda: bytearray(100))
of_batches(_core.NoopTarget())  # the first of everything
print(json.dumps({"noop": of_batches(_core.NoopTarget()), "callable": of_batches(function)}))
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    if "LD_PRELOAD" in os.environ:
        pytest.skip("LD_PRELOAD is set already: a sanitizer counts and replaces malloc itself")
    library = compile_shared_library(COUNTER, tmp_path_factory.mktemp("malloc") / "count_mallocs.so")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def test_a_hundred_thousand_calls_allocate_as_often_as_one(counts: dict[str, dict[str, int]]) -> None:
    noop = counts["noop"]
    assert noop["1"] == noop["1000"] == noop["100000"]
    assert noop["1"] >= 1  # the room for the samples: the counter counts


def test_the_counter_sees_what_a_callable_allocates(counts: dict[str, dict[str, int]]) -> None:
    """The counter-proof: one bytearray a call is seen."""
    assert counts["callable"]["100000"] - counts["callable"]["1000"] >= 99_000
