# SPDX-License-Identifier: Apache-2.0
"""What the product says of a GPU, against torch and against the driver itself."""

from __future__ import annotations

import pytest
import torch
from gpu_presence import look

from pyperf_infer import timers
from pyperf_infer.errors import BackendError
from pyperf_infer.timing.cuda import open_gpu

BLOCK_BYTES = 256 << 20


def test_the_facts_are_those_that_torch_reads() -> None:
    facts = open_gpu(0).facts
    properties = torch.cuda.get_device_properties(0)
    assert facts.name == properties.name
    assert facts.memory_bytes == properties.total_memory
    assert facts.multiprocessors == properties.multi_processor_count
    assert (facts.compute_major, facts.compute_minor) == (properties.major, properties.minor)
    assert facts.l2_bytes == properties.L2_cache_size
    assert facts.uuid == f"GPU-{properties.uuid}"


def test_the_facts_that_bounds_are_made_of_are_known() -> None:
    facts = open_gpu(0).facts
    assert facts.sm_clock_khz > 0
    assert facts.memory_bandwidth_bytes_per_s > 10e9  # no GPU of the last ten years has less


def test_every_gpu_that_the_driver_counts_is_seen() -> None:
    seen = look()
    assert timers.gpu_count() == len(seen.gpus) == torch.cuda.device_count()
    assert tuple(open_gpu(index).facts.name for index in range(len(seen.gpus))) == seen.gpus


def test_the_driver_version_is_the_drivers() -> None:
    version = open_gpu(0).driver_version
    assert f"{version // 1000}.{version % 1000 // 10}" == look().cuda


def test_a_gpu_that_is_not_there_is_refused_by_number() -> None:
    with pytest.raises(BackendError, match=r"no GPU 99; this process sees"):
        open_gpu(99)


def test_the_context_is_the_one_that_torch_uses() -> None:
    torch.cuda.init()
    torch.zeros(1, device="cuda:0")
    torch.cuda.empty_cache()
    context = open_gpu(0)
    before = context.used_memory_bytes()
    block = torch.empty(BLOCK_BYTES, dtype=torch.uint8, device="cuda:0")
    assert context.used_memory_bytes() - before >= BLOCK_BYTES // 2  # others may free meanwhile
    free, total = torch.cuda.mem_get_info(0)
    assert context.facts.memory_bytes == total
    assert abs(context.free_memory_bytes() - free) < BLOCK_BYTES // 2
    del block
    torch.cuda.empty_cache()


@pytest.mark.skipif("torch.cuda.device_count() < 2")
def test_the_second_gpu_is_another_one_with_streams_of_its_own() -> None:
    first, second = open_gpu(0), open_gpu(1)
    assert first.facts.uuid != second.facts.uuid
    stream = torch.cuda.Stream(1)
    with torch.cuda.device(1), torch.cuda.stream(stream):
        x = torch.ones(1024, device="cuda:1")
        target = timers.on_stream(lambda: torch.add(x, 1.0, out=x), stream)
        samples = timers.measure(target, duration=0.0, iterations=30, max_duration=5.0)
        stream.synchronize()
    assert len(samples.ns) >= 30
    assert float(x[0]) >= 31
