# SPDX-License-Identifier: Apache-2.0
"""What is run on a GPU to find its ceilings: matrix products, and copies and triads of large arrays, by PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, OutOfMemoryError
from pyperf_infer.timing.cuda import cuda_graph, on_stream

if TYPE_CHECKING:
    import torch

    from pyperf_infer import _core

PRECISIONS = ("float32", "tf32", "bfloat16", "float16", "int8")
_AMPERE = (8, 0)  # the first with TF32 and bfloat16 in its matrix units
_TURING = (7, 5)  # the first with int8 in them
_ITEM = 4  # bytes of the float32 elements that are moved
_ARRAYS = {"copy": 2, "triad": 3}
_SEED = 42
_INT8_SPREAD = 32.0  # a standard deviation, of -128 to 127


@dataclass(frozen=True)
class Piece:
    """One call of what is timed: `amount` operations, or bytes that are read and written."""

    how: str  # "torch.mm 8192x8192x8192"
    amount: int
    call: Callable[[], object]


class GpuWork:
    """The GPU as torch sees it, with a stream of its own; all of it lies between `open` and its end.

    Raises:
        BackendError: this torch has no CUDA, or does not see the GPU.
    """

    def __init__(self, index: int) -> None:
        import torch

        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
            raise BackendError(
                f"Ceilings of cuda:{index} are measured with PyTorch, and torch {torch.__version__} ({built}) does not "
                "see that GPU. Install a torch with CUDA for this driver."
            )
        self.device = torch.device("cuda", index)
        self._stream: Any = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Makes the stream current; what torch keeps of memory is given back at the end."""
        import torch

        with ExitStack() as held:
            held.enter_context(torch.cuda.device(self.device))
            held.enter_context(torch.cuda.stream(self._stream))
            held.enter_context(torch.inference_mode())
            yield
        with suppress(RuntimeError):  # of a device that has failed, which has been said by then
            torch.cuda.empty_cache()

    @contextmanager
    def product(self, precision: str, size: int) -> Iterator[Piece]:
        """See `product_on`."""
        with self._memory(f"{precision} products of {size} x {size}"), product_on(self.device, precision, size) as made:
            yield made

    @contextmanager
    def moving(self, pattern: str, working_set_bytes: int) -> Iterator[list[Piece]]:
        """See `moving_on`."""
        with self._memory(f"a {pattern} of {working_set_bytes / 2**20:.0f} MiB"):
            yield moving_on(self.device, pattern, working_set_bytes)

    def queued(self, piece: Piece) -> _core.StreamTarget:
        """A target that calls it: for pieces that take the device longer than queueing takes the host."""
        return on_stream(piece.call, self._stream)

    def replayed(self, piece: Piece, times: int) -> _core.StreamTarget:
        """A target that runs it so many times, from a CUDA graph: the host takes no part in between."""
        import torch

        for _ in range(3):
            piece.call()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph, stream=self._stream):
            for _ in range(times):
                piece.call()
        graph.instantiate()
        return cuda_graph(graph.raw_cuda_graph_exec(), self._stream, keep=(graph, piece))

    @contextmanager
    def _memory(self, what: str) -> Iterator[None]:
        import torch

        try:
            yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{what}: what is free of {self.device}'s memory is too little. Stop what else uses it, and measure "
                "again."
            ) from error


@contextmanager
def product_on(device: torch.device, precision: str, size: int) -> Iterator[Piece]:
    """A product of two square matrices of normal data, 2 x size^3 operations; TF32 is off but for `precision` "tf32".

    int8 gives int32, of normal data of a standard deviation of 32, rounded and clamped; its second operand lies column
    by column, as the hardware wants it.
    """
    import torch

    generator = torch.Generator(device).manual_seed(_SEED)
    shape = (size, size)
    left, right = (torch.randn(shape, generator=generator, device=device) for _ in range(2))
    operations = 2 * size**3
    name = f"{size}x{size}x{size}"
    if precision == "int8":
        a, b = ((one * _INT8_SPREAD).round_().clamp_(-128, 127).to(torch.int8) for one in (left, right))
        del left, right
        turned = b.t()
        result = torch._int_mm(a, turned)
        yield Piece(f"torch._int_mm {name}", operations, lambda: torch._int_mm(a, turned, out=result))
        return
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision, torch.float32)
    a, b = left.to(dtype), right.to(dtype)
    del left, right
    out = torch.empty(shape, dtype=dtype, device=device)
    with _tf32(precision == "tf32"):
        yield Piece(f"torch.mm {name}", operations, lambda: torch.mm(a, b, out=out))


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    """In matrix products, until the block ends."""
    import torch

    switch: Any = torch.backends.cuda.matmul
    before, switch.fp32_precision = switch.fp32_precision, "tf32" if wanted else "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before


def moving_on(device: torch.device, pattern: str, working_set_bytes: int) -> list[Piece]:
    """Ways to read and write arrays of float32 that together take `working_set_bytes`.

    "copy" is b = a, by the driver and by a kernel: which is faster differs. "triad" is a = b + 3 c (McCalpin, STREAM).
    Every array is read or written once a call.
    """
    import torch

    elements = working_set_bytes // (_ITEM * _ARRAYS[pattern])
    generator = torch.Generator(device).manual_seed(_SEED)
    arrays = [torch.randn(elements, generator=generator, device=device) for _ in range(_ARRAYS[pattern])]
    amount = elements * _ITEM * _ARRAYS[pattern]
    if pattern == "copy":
        source, target = arrays
        return [
            Piece("Tensor.copy_", amount, lambda: target.copy_(source)),
            Piece("torch.mul by 1", amount, lambda: torch.mul(source, 1.0, out=target)),
        ]
    result, left, right = arrays
    return [Piece("torch.add", amount, lambda: torch.add(left, right, alpha=3.0, out=result))]


def why_not(precision: str, capability: tuple[int, int]) -> str | None:
    """Why the GPU has no products of this precision; None where it has."""
    needs = {"tf32": _AMPERE, "bfloat16": _AMPERE, "int8": _TURING}.get(precision)
    if needs is not None and capability < needs:
        return (
            f"{precision} products: they take a compute capability of {needs[0]}.{needs[1]}, and this GPU has "
            f"{capability[0]}.{capability[1]}"
        )
    if precision == "tf32" and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return "tf32 products: NVIDIA_TF32_OVERRIDE=0 keeps NVIDIA's libraries from using TF32"
    return None
