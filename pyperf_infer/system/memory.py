# SPDX-License-Identifier: Apache-2.0
"""How much memory there is, how much a piece of work took, and a limit that makes an allocation fail in time."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from pyperf_infer.system import cgroup
from pyperf_infer.system.files import read_kib

# Left to the system of what memory_limit may hand out: the kernel's own tables for it, and what others ask meanwhile.
_LIMIT_SHARE = 0.95
# How the libraries here say that an allocation failed, when it is not a MemoryError; compared in lower case.
_EXHAUSTED = (
    "can't allocate memory",  # torch's CPU allocator
    "cannot allocate memory",  # strerror(ENOMEM)
    "bad_alloc",
    "bad allocation",
    "failed to allocate memory",  # ONNX Runtime's arena
    "could not allocate",  # pybind11, of a bytes object, with a capital letter
    "cuda out of memory",  # torch's allocator on a GPU
    "cuda error: out of memory",  # torch, of what it asks the CUDA runtime for past its allocator
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


class PeakMemory:
    """Resident memory of this process inside a ``with`` block.

    Before it begins, what earlier work has freed is given back to the kernel, so that it is not used again unseen.
    After it has ended:

    - ``baseline_bytes``: resident at the beginning,
    - ``peak_bytes``: the most that was resident at any moment,
    - ``increase_bytes``: the difference,
    - ``method``: where the peak comes from. "VmHWM" is the kernel's mark, reset at the beginning. Where it cannot be
      reset (another system than Linux, a hardened kernel) "getrusage" is the peak since the process began, and the
      increase is how much that grew: at least what the work took beyond all before it.
    """

    def __init__(self, process: Path = Path("/proc/self")) -> None:
        self._process = process
        self.method = ""
        self.baseline_bytes = 0
        self.peak_bytes = 0

    @property
    def increase_bytes(self) -> int:
        return self.peak_bytes - self.baseline_bytes

    def __enter__(self) -> PeakMemory:
        _give_back_freed_memory()
        resident = self._reset_mark()
        if resident is not None:
            self.method, self.baseline_bytes = "VmHWM", resident
        else:
            self.method, self.baseline_bytes = "getrusage", _peak_since_start_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        peak = read_kib(self._process / "status", "VmHWM") if self.method == "VmHWM" else _peak_since_start_bytes()
        self.peak_bytes = max(peak or 0, self.baseline_bytes)

    def _reset_mark(self) -> int | None:
        """Sets the kernel's peak mark to what is resident now and returns that (proc(5), clear_refs)."""
        try:
            (self._process / "clear_refs").write_text("5")
        except OSError:
            return None
        if read_kib(self._process / "status", "VmHWM") is None:
            return None
        return read_kib(self._process / "status", "VmRSS")


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What can still be allocated: the least of the machine's, the control groups' and this process's own limits."""
    bounds = [group.available_bytes for group in cgroup.memory_groups(root)]
    machine = read_kib(root / "proc/meminfo", "MemAvailable")
    if machine is None:
        import psutil

        machine = int(psutil.virtual_memory().available)
    bounds.append(machine)
    for limit, use in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            bounds.append(max(0, soft - (read_kib(root / "proc/self/status", use) or 0)))
    return min(bounds)


@contextlib.contextmanager
def memory_limit() -> Iterator[int | None]:
    """While the block runs, private memory beyond 95% of what is available cannot be allocated.

    An allocation then fails with an error that is_out_of_memory knows, where the kernel would have granted it and
    ended the process when it was used. Yields how many bytes may be added, None where the system has no such limit.
    The limit (RLIMIT_DATA) is on reserved and not on used memory and holds for all threads. It is the soft limit, so
    that it can be taken back; a tighter one that is there already stays.
    """
    in_use = read_kib(Path("/proc/self/status"), "VmData")
    if in_use is None:
        yield None
        return
    allowed = int(available_memory_bytes() * _LIMIT_SHARE)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (in_use + allowed, before[1]))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, torch, ONNX Runtime or CUDA means that an allocation failed, on either side."""
    from pyperf_infer.errors import OutOfMemoryError

    # Where torch has not been imported, the error is none of its own.
    of_torch = getattr(sys.modules.get("torch"), "OutOfMemoryError", MemoryError)
    kinds = (MemoryError, OutOfMemoryError, of_torch)
    return isinstance(error, kinds) or any(text in str(error).lower() for text in _EXHAUSTED)


def _give_back_freed_memory() -> None:
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    # glibc's alone; musl keeps little and has no such call.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _peak_since_start_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
