# SPDX-License-Identifier: Apache-2.0
"""PyTorch's operators that need no formula of their own: those that compute one thing an element, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyperf_infer.roofline.tensors import storage_of, tensors_in
from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, UNKNOWN, VIEW, Shape, Work

Arguments = Mapping[str, Any]  # of the operator, by the names of its schema

_COPIES = frozenset(
    """
    _to_copy _unsafe_view arange cat channel_shuffle clone constant_pad_nd contiguous empty expand_copy eye flip
    full im2col index index_put lift_fresh_copy linspace one_hot ones pad pixel_shuffle pixel_unshuffle
    reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d reshape roll rot90 scalar_tensor scatter slice_scatter select_scatter stack tile to tril triu
    zeros flatten unfold_copy type_as hstack vstack dstack column_stack concat concatenate index_copy scatter_reduce
    rand randn
    """.split()
)
# What has no tag of its own, or not in every release.
_ELEMENTWISE = frozenset(
    """
    __and__ __or__ __xor__ absolute floor_divide log_sigmoid greater less not_equal divide multiply subtract polar
    outer ger scatter_add index_add relu relu6 hardtanh hardswish hardsigmoid silu mish gelu elu celu selu
    leaky_relu prelu _prelu_kernel rrelu glu softplus logit clamp where masked_fill lerp addcmul addcdiv rsub square
    isnan isinf diff
    """.split()
)
# Of tensors that are made, and of those that are overwritten, nothing is read.
_READ_NOTHING = frozenset(
    """
    zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty fill zero copy
    """.split()
)
_DROPOUTS = frozenset({"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout"})
_VIEWS = frozenset({"detach", "unsqueeze", "squeeze", "t", "transpose", "meshgrid", "broadcast_tensors"})
_REDUCTIONS = frozenset(
    """
    sum mean amax amin max min prod norm linalg_vector_norm any all argmax argmin cumsum cumprod cummax cummin
    count_nonzero nansum nanmean aminmax
    """.split()
)
_VARIANCES = frozenset({"var", "std", "var_mean", "std_mean"})
_SOFTMAXES = frozenset({"softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax", "logsumexp"})


class DataDependentError(ValueError):
    """A size is known only when the values are."""


def sizes_of(tensor: Tensor) -> Shape:
    """Raises DataDependentError where one is no number."""
    if not all(isinstance(size, int) for size in tensor.shape):
        raise DataDependentError(f"its result has the shape {tuple(tensor.shape)}, which depends on values")
    return tuple(tensor.shape)


def of_family(name: str, overload: Any, given: Arguments, outputs: list[Tensor]) -> Work:
    """`name` without the underscore of those that work in place; UNKNOWN where it is of no family."""
    if name in _DROPOUTS:
        return formulas.elementwise(sizes_of(outputs[0])) if given.get("train") else VIEW
    if name in _VIEWS or (not writes(overload) and _shares_memory(given, outputs)):
        return VIEW
    if name in _READ_NOTHING:
        return Work("copy", read_bytes={0: 0})
    if name in _COPIES:  # clone has the tag of elementwise ones
        return COPY
    if name in _ELEMENTWISE or torch.Tag.pointwise in getattr(overload, "tags", ()):
        return formulas.elementwise(sizes_of(outputs[0]))
    first = next(tensors_in(tuple(given.values())), None)
    if first is None:
        return UNKNOWN
    if name in _REDUCTIONS or name in _VARIANCES:
        return formulas.reduction(sizes_of(first), formulas.VARIANCE if name in _VARIANCES else 1)
    if name in _SOFTMAXES:
        return formulas.reduction(sizes_of(first), formulas.SOFTMAX)
    return UNKNOWN


def writes(overload: Any) -> bool:
    schema = getattr(overload, "_schema", None)
    return schema is not None and any(one.alias_info and one.alias_info.is_write for one in schema.arguments)


def _shares_memory(given: Arguments, outputs: list[Tensor]) -> bool:
    """Its results lie where its first operand does."""
    operand = next(tensors_in(tuple(given.values())), None)
    return operand is not None and all(storage_of(one) == storage_of(operand) for one in outputs)
