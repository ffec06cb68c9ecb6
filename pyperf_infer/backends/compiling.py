# SPDX-License-Identifier: Apache-2.0
"""What surrounds a compile: a fresh cache, no chatter, no processes left behind, and words for what failed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from pyperf_infer.backends.torch_common import first_line
from pyperf_infer.convert import cxx
from pyperf_infer.errors import BackendError, MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.system.memory import is_out_of_memory

_KILLING_S = 1.0  # threads of Inductor's may start one compiler more while the first is being ended
_QUIET_S = 0.1
_TEMPORARY = "TMPDIR"
_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


@contextlib.contextmanager
def compilers_end_with_this() -> Iterator[None]:
    """Ends the compilers that were started in the block where Ctrl-C ends it.

    They run in threads and processes that know nothing of it, and a process does not end before its threads. Those
    whose parent (the compiler's driver) has ended already are adopted, to be found.
    """
    before = _descendants()
    _adopt_orphans(True)
    try:
        yield
    except KeyboardInterrupt:
        _forget_what_waits()
        _end(before)
        raise
    finally:
        _adopt_orphans(False)


def _adopt_orphans(on: bool) -> None:
    """Whether descendants of this process become its children when their parents end, and not those of process 1."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), *[ctypes.c_ulong(0)] * 3)


def _forget_what_waits() -> None:
    """Inductor's threads would start a compiler for each kernel that is still to come."""
    module = sys.modules.get("torch._inductor.async_compile")
    with contextlib.suppress(AttributeError):  # where a version of torch keeps its threads elsewhere
        pool = module.AsyncCompile.pool  # type: ignore[union-attr]
        if pool.cache_info().currsize:
            pool().shutdown(wait=False, cancel_futures=True)
            pool.cache_clear()


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(spared: set[psutil.Process]) -> None:
    """Kills until nothing new has come up for a while."""
    begin_s = last_s = time.monotonic()
    while (now_s := time.monotonic()) - last_s < _QUIET_S and now_s - begin_s < _KILLING_S:
        if found := _descendants() - spared:
            last_s = now_s
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=_QUIET_S)  # which also takes them from the process table
        time.sleep(_QUIET_S / 10)


@contextlib.contextmanager
def fresh_inductor_cache(folder: Path) -> Iterator[None]:
    """Inductor finds nothing of earlier compiles in the block, so that what it takes is a compile's time.

    What it makes stays in `folder`, which must outlive what was compiled: kernels may be loaded from there later. So do
    the temporary files of compilers that were killed.
    """
    from torch._inductor.utils import fresh_cache

    before = os.environ.get(_TEMPORARY)
    os.environ[_TEMPORARY] = str(folder)  # for compilers; this process made its mind up when it made `folder`
    try:
        with fresh_cache(dir=str(folder), delete=False), _headers_in(folder / "headers"):
            yield
    finally:
        os.environ.pop(_TEMPORARY)
        if before is not None:
            os.environ[_TEMPORARY] = before


@contextlib.contextmanager
def _headers_in(folder: Path) -> Iterator[None]:
    """Inductor compiles headers into `folder`: its own choice is one that all programs of a user share.

    There a compile may find them or not, and one that is killed may leave half of one. (Versions of torch that have no
    such headers, or keep them elsewhere, are left alone.)
    """
    from torch._inductor import codecache

    module: Any = codecache
    kept = {name: getattr(module, name, None) for name in ("_HEADER_DIR", "_HEADER_LOCK_DIR")}
    forget = getattr(getattr(module, "_precompile_header", None), "cache_clear", None)
    if forget is None or None in kept.values():
        yield
        return
    forget()
    module._HEADER_DIR, module._HEADER_LOCK_DIR = str(folder), str(folder / "locks")
    try:
        yield
    finally:
        module._HEADER_DIR, module._HEADER_LOCK_DIR = kept.values()
        forget()


def try_instructions() -> None:
    """Has Inductor try which vector instructions the compiler knows, which it does once a process, before a compile."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    pick_vec_isa()


@contextlib.contextmanager
def no_workers_left() -> Iterator[None]:
    """Ends Inductor's pool of processes after the block: it would wait beside whatever is timed."""
    try:
        yield
    finally:
        from torch._inductor.async_compile import shutdown_compile_workers

        shutdown_compile_workers()


@contextlib.contextmanager
def compile_explained(model: str) -> Iterator[None]:
    """Turns what torch.compile raises into an error that says what to do.

    Raises:
        OutOfMemoryError, BackendError, MeasurementError: in place of what the block raises, but for errors of this
            package.
    """
    try:
        yield
    except PyperfInferError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"  # Inductor wraps some of its errors, whose names are then in the text
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"PyTorch ran out of memory while compiling {model}: {first_line(error)}") from error
        if "InvalidCxxCompiler" in said:
            raise BackendError(f"torch.compile found no C++ compiler that works for {model}: {cxx.INSTALL}") from error
        if "CppCompileError" in said:
            raise cxx.failed(f"what torch.compile made of {model}", said.partition("Output:")[2]) from error
        if "TritonMissing" in said:
            raise BackendError(
                f"torch.compile needs Triton for {model} on a GPU, and it is not there: pip install triton"
            ) from error
        raise MeasurementError(
            f"torch.compile failed on {model}: {type(error).__name__}: {first_line(error)}; --backend torch runs it "
            "without compiling"
        ) from error
