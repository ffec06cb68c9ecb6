# SPDX-License-Identifier: Apache-2.0
"""Capturing what a call queues in a CUDA graph, and what is left to do and to say where that fails."""

from __future__ import annotations

import contextlib
import linecache
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyperf_infer.backends.torch_common import first_line
from pyperf_infer.timing.target import garbage_collection

_READS_BACK = "reads a value back from the GPU"
_SIZE_DEPENDS = "makes a result whose size depends on values on the GPU"
_COPIES = "copies a tensor between CPU and GPU"
# What operations that wait for the GPU do, by torch's name.
_WAITING = {
    **dict.fromkeys(("item", "_local_scalar_dense", "is_nonzero", "equal", "allclose"), _READS_BACK),
    **dict.fromkeys(
        ("nonzero", "argwhere", "index", "index_put", "index_put_", "masked_select", "unique", "_unique2", "bincount"),
        _SIZE_DEPENDS,
    ),
    **dict.fromkeys(("to", "_to_copy", "copy_", "cpu", "lift_fresh"), _COPIES),
}
_OWN_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))

# torch's allocators go on referring to a graph whose capture failed.
_failed: list[torch.cuda.CUDAGraph] = []


def capture(call: Callable[[], object], stream: torch.cuda.Stream, index: int) -> tuple[torch.cuda.CUDAGraph, object]:
    """What `call` queues on `stream`, as an instantiated graph with memory of its own, and what the call returned.

    Raises:
        What the call or the capture raises; the stream and the GPU's memory are then as they were before.
    """
    torch.cuda.synchronize(index)
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    pool = torch.cuda.graph_pool_handle()
    # No collection: what it frees may be somebody's graph or stream, and freeing those can break a capture.
    with torch.cuda.stream(stream), garbage_collection(enabled=False):
        try:
            # Of this thread alone: what others do, such as those of another library, is no part of it.
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            result = call()
            graph.capture_end()
            graph.instantiate()
        except BaseException:
            _abandon(graph, pool, stream, index)
            raise
    return graph, result


def _abandon(graph: torch.cuda.CUDAGraph, pool: Any, stream: torch.cuda.Stream, index: int) -> None:
    """Ends a capture that went wrong, on its stream. Every step may find that torch has taken it already."""
    _failed.append(graph)
    with contextlib.suppress(RuntimeError):
        graph.capture_end()  # which ends the stream's capture also where it raises, as it does when that is broken
    with contextlib.suppress(RuntimeError):
        graph.reset()
    # Up to torch 2.11 a broken capture leaves its pool open, and the allocator in the belief that it goes on.
    with contextlib.suppress(RuntimeError):
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)
    with contextlib.suppress(RuntimeError):
        torch.cuda.synchronize(index)
        torch.cuda.empty_cache()
        _end_generator_capture(stream)


def _end_generator_capture(stream: torch.cuda.Stream) -> None:
    """Up to torch 2.11 the generator of random numbers refuses to work after a broken capture, until one ends well."""
    graph = torch.cuda.CUDAGraph()
    scratch = torch.zeros(1, device=stream.device)
    graph.capture_begin(pool=torch.cuda.graph_pool_handle(), capture_error_mode="thread_local")
    scratch.zero_()
    graph.capture_end()
    graph.reset()


def why_it_failed(error: BaseException, call: Callable[[], object]) -> str:
    """One line in the user's terms: which line does what, and torch's own message.

    `error` is what `capture` raised. Where the call runs eagerly, and torch tells which operation waits for the GPU,
    that is named; it runs once more for that.
    """
    said = f"{type(error).__name__}: {first_line(error)}"
    found = _first_wait(call)
    if found is None:
        where = _place_of(error)
        return said if where is None else f"{where}: {said}"
    operation, wait = found
    where = _place_of(wait) or "the model"
    name = operation.rpartition(".")[2]
    return f"{where} {_WAITING.get(name, 'waits for the GPU')} ({operation}): {said}"


class _LastOperation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers torch's name for the operation that is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = "an operation"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.name = str(func.overloadpacket)
        return func(*args, **(kwargs or {}))


def _first_wait(call: Callable[[], object]) -> tuple[str, Exception] | None:
    """The first operation of an eager call that waits for the GPU, and torch's complaint of it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        with _LastOperation() as last:
            call()
    except Exception as error:
        if "synchronizing" in str(error):
            return last.name, error
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None


def _place_of(error: BaseException) -> str | None:
    """The model's own line that raised: "`n = x.sum().item()` (model.py:12)"."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", *_OWN_FOLDERS))
    ]
    if not frames:
        return None
    frame = frames[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    place = f"{frame.filename}:{frame.lineno}"
    return f"`{line}` ({place})" if line else place
