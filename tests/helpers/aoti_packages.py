# SPDX-License-Identifier: Apache-2.0
"""Packages that AOTInductor really compiled, each once a session. They take 5 s each, the first some more.

package = compiled("serving")
model = AotiModel(package.path)
wanted = package.module(*package.inputs(batch=3))
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import torch
from torch._inductor import config
from torch._inductor.utils import fresh_cache

# Quick to compile, with nothing kept in the home folder. With several threads an index that is out of range would end
# the process: the exception is thrown where OpenMP lets none out.
_OPTIONS = {"compile_threads": 1, "aot_inductor.compile_wrapper_opt_level": "O0", "cpp.threads": 1,
            "aot_inductor.precompile_headers": False}  # fmt: skip

CHECK_INPUTS = "AOTI_RUNTIME_CHECK_INPUTS"
_TEMPORARY = tempfile.gettempdir()  # a test may have it elsewhere for its own time


class Serving(torch.nn.Module):
    """Tokens and features of any one batch size; the sum, its largest place, and a mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(10, 4)
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        total = self.layer(features) + self.embedding(tokens)
        return total, total.argmax(1), total.mean(0)


class Perceptron(torch.nn.Module):
    """Two by eight in; out come a product, the same in bfloat16, and a transposed view of a sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        product = self.layer(x).relu()
        return product, product.to(torch.bfloat16), (product + 1).t()


class Proxied(torch.nn.Module):
    """Of this operator AOTInductor has no C function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        counts: torch.Tensor = torch.unique(x, return_counts=True)[1]
        return counts


@dataclass(frozen=True)
class Compiled:
    path: Path
    module: torch.nn.Module

    def inputs(self, batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
        return _inputs(self.module, batch, seed)

    def eager(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode():
            return list(self.module(*inputs))


def assert_same(outputs: list[Any], wanted: list[torch.Tensor]) -> None:
    """In type, shape and value, as far as another order of sums gives."""
    for output, tensor in zip(outputs, wanted, strict=True):
        assert output.dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert output.shape == tuple(tensor.shape)
        values = output.astype(np.float32) if output.dtype == ml_dtypes.bfloat16 else output
        expected = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-5, atol=1e-5)


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[Path]:
    """Packages are unpacked in `folder`, a new one, where nothing stays; and the process is in the end as it was."""
    folder.mkdir()
    error_output = os.fstat(2)
    with mock.patch.object(tempfile, "tempdir", str(folder)), mock.patch.dict(os.environ):
        os.environ.pop(CHECK_INPUTS, None)
        yield folder
        if any(folder.iterdir()):
            gc.collect()
        assert list(folder.iterdir()) == []
        assert CHECK_INPUTS not in os.environ
        assert os.path.samestat(os.fstat(2), error_output)


def _inputs(module: torch.nn.Module, batch: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, 8, generator=generator)
    if isinstance(module, Serving):
        return torch.randint(0, 10, (batch,), generator=generator), features
    return (features,)


@functools.cache
def compiled(name: str) -> Compiled:
    """ "serving" (a batch of 2 to 64), "perceptron" or "proxied"."""
    module = {"serving": Serving, "perceptron": Perceptron, "proxied": Proxied}[name]().eval()
    inputs = _inputs(module, 3 if name == "serving" else 2, 0)
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = ({0: batch}, {0: batch}) if name == "serving" else None
    path = _folder() / f"{name}.pt2"
    options = {option: value for option, value in _OPTIONS.items() if _has(config, option)}
    with mock.patch.dict(os.environ), fresh_cache(), torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=shapes)
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    return Compiled(path, module)


def _has(config: Any, option: str) -> bool:
    for part in option.split("."):
        if not hasattr(config, part):
            return False
        config = getattr(config, part)
    return True


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aoti-packages-", dir=_TEMPORARY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
