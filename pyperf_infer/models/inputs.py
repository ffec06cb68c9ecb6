# SPDX-License-Identifier: Apache-2.0
"""Input data: seeded, of any element type, the same for every backend."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from pyperf_infer.models.shapes import batch_of, named_shapes, parse_shape, parse_shapes, resolve_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pyperf_infer.models.spec import InputSpec

__all__ = ["batch_of", "make_inputs", "named_shapes", "parse_shape", "parse_shapes", "resolve_shapes"]


def make_inputs(
    specs: Sequence[InputSpec], resolved_shapes: Mapping[str, tuple[int, ...]], seed: int
) -> dict[str, NDArray[Any]]:
    """One array for each input, in the order of `specs`.

    Floats are standard normal. Integers are drawn evenly from 0 to `below` - 1 where the spec says so: tokens of a
    known vocabulary. Others, and bools, are 0 or 1 with equal chance: integers are mostly indices (tokens, classes,
    masks), and those two are valid in any vocabulary. Each input draws from a stream of its own (`seed` and
    its name), so that another input's shape does not change it.
    """
    return {spec.name: _draw(spec, resolved_shapes[spec.name], seed) for spec in specs}


def _draw(spec: InputSpec, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    random = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    if spec.dtype == "float64":
        return random.standard_normal(shape)
    if spec.dtype in ("float32", "float16", "bfloat16"):
        return np.asarray(random.standard_normal(shape, dtype=np.float32)).astype(_dtype(spec.dtype), copy=False)
    if spec.below is not None:
        return np.asarray(random.integers(0, spec.below, shape, dtype=np.int64)).astype(_dtype(spec.dtype))
    return np.asarray(random.integers(0, 2, shape, dtype=np.uint8)).astype(_dtype(spec.dtype))


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # comes with onnx

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)
