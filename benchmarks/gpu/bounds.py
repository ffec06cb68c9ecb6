# SPDX-License-Identifier: Apache-2.0
"""The bounds that a row's time is a share of: what the model must move at the memory's bandwidth, and what it computes
at the datasheet's dense peak. Warm times may lie below the first, since the L2 cache holds what was read before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer.models.inputs import make_inputs, resolve_shapes
from pyperf_infer.roofline.gpu_peaks import most_bytes_per_s, peaks_of
from pyperf_infer.roofline.least_work import least_work

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

ELEMENT_BYTES = {"float16": 2}


class Bound(NamedTuple):
    """A time in milliseconds, None where it is not known, and how it is made or why it is not."""

    ms: float | None
    reason: str


class Bounds(NamedTuple):
    """Of one model at one batch size and precision on one device."""

    memory: Bound
    compute: Bound


def bounds_of(
    model: LoadedModel, batch: int, precision: str, device_name: str, theoretical_bytes_per_s: float
) -> Bounds:
    """What a call of a built-in model takes at least. Runs it on the meta device."""
    import torch

    arrays = make_inputs(model.inputs, resolve_shapes(model.inputs, batch), seed=42)
    inputs = [torch.from_numpy(array) for array in arrays.values()]
    element_bytes = ELEMENT_BYTES.get(precision)
    work = None if model.module is None else least_work(model.module, inputs, element_bytes=element_bytes)
    if work is None:
        missing = Bound(None, "what the model must do is not known")
        return Bounds(missing, missing)
    peaks = peaks_of(device_name)
    read_bytes = work.bytes.weights + work.bytes.outputs + work.bytes.inputs * (element_bytes or 4) // 4
    flops_per_s = None if peaks is None else peaks.flops_per_s.get(precision)
    return Bounds(
        memory=_bound(read_bytes, most_bytes_per_s(peaks, theoretical_bytes_per_s or None), "B"),
        compute=_bound(work.flops.total, flops_per_s, "FLOP"),
    )


def _bound(amount: int, per_s: float | None, unit: str) -> Bound:
    if per_s is None:
        return Bound(None, f"the device's {unit}/s are not known")
    return Bound(1e3 * amount / per_s, f"{amount / 1e9:.4g} G{unit} at {per_s / 1e12:.4g} T{unit}/s")
