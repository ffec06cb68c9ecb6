# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pyperf_infer.errors import OutOfMemoryError
from pyperf_infer.system.memory import PeakMemory, is_out_of_memory

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
MIB = 2**20


def run(script: str) -> str:
    """In a process of its own: the heap's state and the limits are the process's."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux
def test_an_allocation_shows_and_the_next_measurement_does_not_see_it() -> None:
    output = run(
        """
        from pyperf_infer.system.memory import PeakMemory
        with PeakMemory() as first:
            block = bytearray(b"x") * (200 * 2**20)
            del block
        with PeakMemory() as second:
            pass
        print(first.method, first.increase_bytes, second.method, second.increase_bytes, second.peak_bytes)
        """
    )
    method, first, second_method, second, peak = output.split()
    assert method == second_method == "VmHWM"
    assert 195 * MIB < int(first) < 260 * MIB
    assert int(second) < 5 * MIB
    assert int(peak) < 150 * MIB


@linux
def test_memory_that_the_heap_kept_is_not_used_again_unseen() -> None:
    """Many small blocks are kept by malloc when freed; the same work must cost the same the second time."""
    output = run(
        """
        import ctypes
        from pyperf_infer.system.memory import PeakMemory
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.free.argtypes = [ctypes.c_void_p]
        def work():
            blocks = []
            for _ in range(1001):
                block = libc.malloc(ctypes.c_size_t(64_000))
                ctypes.memset(block, 1, 64_000)
                blocks.append(block)
            for block in blocks[:-1]:  # the last lies on top of the heap, which cannot shrink by itself then
                libc.free(block)
        for _ in range(2):
            with PeakMemory() as peak:
                work()
            print(peak.increase_bytes)
        """
    )
    first, second = (int(line) for line in output.split())
    assert first > 55 * MIB
    assert second > 55 * MIB


def test_without_a_resettable_mark_the_process_peak_is_used_and_named(tmp_path: Path) -> None:
    with PeakMemory(process=tmp_path) as peak:
        pass
    assert peak.method == "getrusage"
    assert peak.peak_bytes >= peak.baseline_bytes > MIB
    assert peak.increase_bytes < 5 * MIB


@linux
def test_beyond_the_limit_an_allocation_raises_and_the_limit_is_taken_back() -> None:
    run(
        """
        import resource
        import numpy
        from pyperf_infer.system import memory
        memory.available_memory_bytes = lambda: 300 * 2**20
        before = resource.getrlimit(resource.RLIMIT_DATA)
        with memory.memory_limit() as allowed:
            assert allowed == 285 * 2**20, allowed
            numpy.ones(100 * 2**20, numpy.uint8)
            for allocate in (lambda: numpy.empty(400 * 2**20, numpy.uint8), lambda: bytearray(400 * 2**20)):
                try:
                    allocate()
                except MemoryError as error:
                    assert memory.is_out_of_memory(error)
                else:
                    raise SystemExit("the limit did not hold")
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
        numpy.ones(400 * 2**20, numpy.uint8)
        try:
            with memory.memory_limit():
                raise KeyError
        except KeyError:
            assert resource.getrlimit(resource.RLIMIT_DATA) == before
        """
    )


@linux
def test_a_tighter_limit_that_is_there_already_stays() -> None:
    run(
        """
        import resource
        from pyperf_infer.system import memory
        tight = 400 * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (tight, tight))
        assert memory.available_memory_bytes() < tight
        with memory.memory_limit():
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= tight
        assert resource.getrlimit(resource.RLIMIT_DATA) == (tight, tight)
        """
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("no room"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("Failed to allocate memory for requested buffer of size 4096"), True),
        (RuntimeError("std::bad_alloc"), True),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in"), True),
        (RuntimeError("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("memory format"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_measuring_leaves_the_limits_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with PeakMemory():
        pass
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
