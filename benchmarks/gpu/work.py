# SPDX-License-Identifier: Apache-2.0
"""Work for the rows that ask about the timing and not about a model. To be used where the GPU is current."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gpu.device import Gpu


def products(gpu: Gpu, *, size: int = 1024, count: int = 20) -> Callable[[], torch.Tensor]:
    """A chain of float16 matrix products of random data, some 100 us on a large GPU; its values stay in bounds."""
    draw = torch.Generator(gpu.device).manual_seed(42)
    first, second = (
        torch.randn(size, size, device=gpu.device, dtype=torch.float16, generator=draw) / size**0.5 for _ in range(2)
    )
    results = [torch.empty_like(first) for _ in range(2)]

    def call() -> torch.Tensor:
        value: torch.Tensor = first
        for number in range(count):
            value = torch.matmul(value, second, out=results[number % 2])
        return value

    return call


class Reads:
    """Adds 1 to `bytes_read` bytes of random numbers, into as many others: the memory's bandwidth limits it.

    What is written may stay in the L2 cache until after the work is done, so only what is read must come from memory.
    """

    def __init__(self, gpu: Gpu, bytes_read: int) -> None:
        draw = torch.Generator(gpu.device).manual_seed(42)
        self._from = torch.randn(bytes_read // 4, device=gpu.device, generator=draw)
        self._to = torch.empty_like(self._from)
        self.bytes_read = self._from.numel() * self._from.element_size()

    def __call__(self) -> torch.Tensor:
        return torch.add(self._from, 1.0, out=self._to)
