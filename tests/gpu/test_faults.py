# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a GPU: memory that is full, a callable that raises, work that fails or hangs. What leaves the GPU
of a process unusable runs in another process.
"""

from __future__ import annotations

import pytest
import torch
from gpu_torch import graph_target, in_another_process, on_new_stream, take

from pyperf_infer import timers
from pyperf_infer.errors import OutOfMemoryError
from pyperf_infer.timing.cuda import open_gpu

LEFT_BYTES = 24 << 20  # torch takes memory in pieces of up to 20 MiB

FAILING_WORK = """
import torch
from pyperf_infer import _core, timers
from pyperf_infer.errors import MeasurementError
from pyperf_infer.timing.cuda import open_gpu

stream = torch.cuda.Stream(0)
with torch.cuda.stream(stream):
    x, far = torch.zeros(4, device="cuda"), torch.full((4,), 1 << 20, device="cuda")
    target = timers.on_stream(lambda: x.index_select(0, far), stream)
    try:
        timers.measure(target, duration=0.0, iterations=5, max_duration=10.0)
    except (MeasurementError, RuntimeError) as error:
        print(type(error).__name__)
try:
    _core.GpuStream(open_gpu(0)).synchronize()
except MeasurementError as error:
    print("refused:", error)
print("lost" if open_gpu(0).is_lost else "usable")
"""

HANGING_WORK = """
import torch
from pyperf_infer import timers
from pyperf_infer.errors import MeasurementError
from pyperf_infer.timing.cuda import open_gpu

context = open_gpu(0)
stream = torch.cuda.Stream(0)
with torch.cuda.stream(stream):
    target = timers.on_stream(lambda: torch.cuda._sleep(6_000_000_000), stream, timeout=0.5, wait={wait!r})
    try:
        timers.measure(target, duration=0.0, iterations=2, max_duration=10.0)
    except MeasurementError as error:
        print(error)
print("lost" if context.is_lost else "usable")
"""


def test_memory_that_is_full_is_its_own_error_and_the_gpu_stays_usable() -> None:
    context = open_gpu(0)
    if 2 * context.facts.l2_bytes <= LEFT_BYTES:
        pytest.skip("the L2 cache is so small that its flush fits in what torch cannot fill")
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        target = graph_target(lambda: torch.add(x, 1.0, out=x), stream)
        take(target, 5)
        blocks = fill_memory()
        try:
            with pytest.raises(OutOfMemoryError, match="out of memory"):
                take(target, 5, "cold")  # the flush takes twice the L2 cache
        finally:
            blocks.clear()
            torch.cuda.empty_cache()
        assert not context.is_lost
        assert len(take(target, 5)) == 5
        assert len(take(target, 5, "cold")) == 5


def fill_memory() -> list[torch.Tensor]:
    """All but a little of what is free, in blocks."""
    blocks, size = [], torch.cuda.mem_get_info(0)[0]
    while size > LEFT_BYTES // 2:
        try:
            blocks.append(torch.empty(size, dtype=torch.uint8, device="cuda:0"))
        except torch.OutOfMemoryError:
            size //= 2
    return blocks


def test_what_a_callable_raises_comes_through_and_the_target_runs_on() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        raises = [False]

        def call() -> None:
            if raises[0]:
                raise LookupError("the callable's own")
            torch.add(x, 1.0, out=x)

        target = timers.on_stream(call, stream)
        take(target, 5)
        raises[0] = True
        with pytest.raises(LookupError, match="the callable's own"):
            take(target, 5)
        raises[0] = False
        assert len(take(target, 5)) == 5


def test_work_that_fails_is_an_error_and_ends_no_process() -> None:
    said = in_another_process(FAILING_WORK).splitlines()
    assert said[0] in {"MeasurementError", "AcceleratorError", "RuntimeError"}
    assert said[1].startswith("refused: ")
    assert said[-1] == "lost"


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_work_that_hangs_is_given_up_after_the_timeout(wait: str) -> None:
    said = in_another_process(HANGING_WORK.format(wait=wait)).splitlines()
    assert "has not finished its work after 500 ms" in said[0]
    assert said[-1] == "lost"
