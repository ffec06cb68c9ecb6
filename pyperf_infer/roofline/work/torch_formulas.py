# SPDX-License-Identifier: Apache-2.0
"""The work of PyTorch's operators, as they stand in an exported graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pyperf_infer.roofline.tensors import storage_of, tensors_in
from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, UNKNOWN, VIEW, Shape, Work

Arguments = Mapping[str, Any]  # of the operator, by the names of its schema
_Formula = Callable[[Arguments, Any], Work]

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
    isnan isinf
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
_NEIGHBOURS = {
    "upsample_linear1d": 2, "upsample_bilinear2d": 4, "_upsample_bilinear2d_aa": 4, "upsample_trilinear3d": 8,
    "upsample_bicubic2d": 16, "_upsample_bicubic2d_aa": 16, "upsample_nearest1d": 1, "upsample_nearest2d": 1,
    "upsample_nearest3d": 1, "_upsample_nearest_exact1d": 1, "_upsample_nearest_exact2d": 1,
    "_upsample_nearest_exact3d": 1,
}  # fmt: skip
_FVCORE_INTERPOLATIONS = {"upsample_nearest2d": 1, "upsample_bilinear2d": 4}
# Attention that PyTorch has fused already; some hold heads next to the width, and some hand on more than the output.
_FUSED_ATTENTION = frozenset(
    """
    scaled_dot_product_attention _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math flex_attention
    """.split()
)


class DataDependentError(ValueError):
    """A size is known only when the values are."""


def torch_work(op: str, overload: Any, given: Arguments, result: Any) -> Work:
    """Of one operator, "aten.conv2d" for example. `overload` is what the graph calls, `result` what that returns.

    Operators of other packages are not known by the names of PyTorch's: whatever they do, they are listed.

    Raises:
        DataDependentError: a size is no number.
    """
    package, _, name = op.partition(".")
    if package == "aten":
        name = name.removesuffix("_") if not name.endswith("__") else name
        formula = _FORMULAS.get(op) or _FORMULAS.get(name)
    else:
        formula = _FORMULAS.get(op) if "." in op or op == "flex_attention" else None
    if formula is not None:
        return formula(given, result)
    outputs = list(tensors_in(result))
    if not outputs:  # a size, or a check; unless it writes to what it is given
        return UNKNOWN if _writes(overload) else VIEW
    if package != "aten":
        return UNKNOWN
    return _of_family(name, overload, given, outputs)


def _of_family(name: str, overload: Any, given: Arguments, outputs: list[Tensor]) -> Work:
    if name in _DROPOUTS:
        return formulas.elementwise(_shape(outputs[0])) if given.get("train") else VIEW
    if name in _VIEWS or (not _writes(overload) and _shares_memory(given, outputs)):
        return VIEW
    if name in _READ_NOTHING:
        return Work("copy", read_bytes={0: 0})
    if name in _COPIES:  # clone has the tag of elementwise ones
        return COPY
    if name in _ELEMENTWISE or torch.Tag.pointwise in getattr(overload, "tags", ()):
        return formulas.elementwise(_shape(outputs[0]))
    first = next(tensors_in(tuple(given.values())), None)
    if first is None:
        return UNKNOWN
    if name in _REDUCTIONS or name in _VARIANCES:
        return formulas.reduction(_shape(first), formulas.VARIANCE if name in _VARIANCES else 1)
    if name in _SOFTMAXES:
        return formulas.reduction(_shape(first), formulas.SOFTMAX)
    return UNKNOWN


def _writes(overload: Any) -> bool:
    schema = getattr(overload, "_schema", None)
    return schema is not None and any(one.alias_info and one.alias_info.is_write for one in schema.arguments)


def _shares_memory(given: Arguments, outputs: list[Tensor]) -> bool:
    """Its results lie where its first operand does."""
    operand = next(tensors_in(tuple(given.values())), None)
    return operand is not None and all(storage_of(one) == storage_of(operand) for one in outputs)


def _shape(tensor: Tensor) -> Shape:
    return sizes_of(tensor)


def sizes_of(tensor: Tensor) -> Shape:
    """Raises DataDependentError where one is no number."""
    if not all(isinstance(size, int) for size in tensor.shape):
        raise DataDependentError(f"its result has the shape {tuple(tensor.shape)}, which depends on values")
    return tuple(tensor.shape)


def _first(result: Any) -> Tensor:
    return next(tensors_in(result))


def _convolution(given: Arguments, result: Any) -> Work:
    return formulas.convolution(
        _shape(given["input"]),
        _shape(given["weight"]),
        _shape(_first(result)),
        transposed=bool(given.get("transposed", False)),
        bias=given.get("bias") is not None,
    )


def _transposed(given: Arguments, result: Any) -> Work:
    return _convolution({**given, "transposed": True}, result)


def _linear(given: Arguments, result: Any) -> Work:
    return formulas.matmul(_shape(given["input"]), _shape(_first(result)), bias=given.get("bias") is not None)


def _product(left: str, *, bias: str = "") -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        return formulas.matmul(_shape(given[left]), _shape(_first(result)), bias=bool(bias) and given[bias] is not None)

    return formula


def _addbmm(given: Arguments, result: Any) -> Work:
    batch, rows, inner = _shape(given["batch1"])
    columns = _shape(given["batch2"])[2]
    work = formulas.matmul((batch, rows, inner), (batch, rows, columns))
    return Work("matrix", work.macs, other_flops=math.prod(_shape(_first(result))), activations=work.activations)


def _bilinear(given: Arguments, result: Any) -> Work:
    output, weight = _shape(_first(result)), _shape(given["weight"])
    outputs = math.prod(output)
    macs = outputs * weight[2] * (weight[1] + 1)
    return Work("matrix", macs, other_flops=outputs if given.get("bias") is not None else 0, activations=outputs)


def _einsum(given: Arguments, result: Any) -> Work:
    operands = [_shape(one) for one in given["tensors"]]
    return formulas.einsum(given["equation"], operands)


def _attention(given: Arguments, result: Any) -> Work:
    masked = given.get("attn_mask") is not None or given.get("attn_bias") is not None or bool(given.get("is_causal"))
    query, key, value = (_shape(given[name]) for name in ("query", "key", "value"))
    rows = _shape(_first(result))[:-1]  # whose batch may be broadcast
    return formulas.attention((*rows, query[-1]), key[-2], value[-1], masked=masked)


def _multi_head(given: Arguments, result: Any) -> Work:
    """Projections of all three, attention of each head, and the projection of its result."""
    query, key = _shape(given["query"]), _shape(given["key"])
    width, heads = int(given["embed_dim"]), int(given["num_head"])
    rows, keys = math.prod(query[:-1]), math.prod(key[:-1])
    core = formulas.attention((query[0], heads, query[1], width // heads), key[1], width // heads)
    projections = (rows + 2 * keys + rows) * width
    return Work(
        "matrix",
        core.macs + projections * width,
        other_flops=core.other_flops + projections,
        activations=core.activations + projections,
    )


def _encoder_layer(given: Arguments, result: Any) -> Work:
    source = _shape(given["src"])
    inner = _shape(given["ffn_weight_1"])[0]
    attention = _multi_head({"query": given["src"], "key": given["src"], **_heads(given)}, result)
    rows, width = math.prod(source[:-1]), source[-1]
    hidden, elements = rows * inner, rows * width
    # Two biases, the activation, two sums, two normalisations.
    other = 2 * hidden + elements + 2 * elements + 2 * formulas.OWN_STATISTICS * elements
    return Work(
        "matrix",
        attention.macs + 2 * hidden * width,
        other_flops=attention.other_flops + other,
        fvcore_other_flops=2 * 5 * elements,
        activations=attention.activations + hidden + elements,
    )


def _heads(given: Arguments) -> dict[str, Any]:
    return {"embed_dim": given["embed_dim"], "num_head": given["num_heads"]}


def _recurrent(kind: str) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        packed = "data" in given
        steps = given["data"] if packed else given["input"]
        matrices = [_shape(one) for one in given["params"] if one.dim() == 2]
        layers = []
        # Of each layer and direction: input to hidden, hidden to hidden, and with a projection hidden to output.
        each = 3 if _is_projected(matrices, kind) else 2
        for first in range(0, len(matrices), each):
            part = matrices[first : first + each]
            hidden = part[0][0] // formulas.GATES[kind]
            layers.append((sum(map(math.prod, part)), hidden, part[2][0] if each == 3 else hidden))
        rows = math.prod(_shape(steps)[:-1])
        return formulas.recurrent(kind, rows, layers, bias=bool(given["has_biases"]))

    return formula


def _is_projected(matrices: list[Shape], kind: str) -> bool:
    """Then its third matrix is none of the gates, which all have the same number of rows."""
    return kind == "lstm" and len(matrices) > 2 and matrices[2][0] != matrices[0][0]


def _cell(kind: str) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        matrices = (_shape(given["w_ih"]), _shape(given["w_hh"]))
        hidden = matrices[1][1]
        rows = math.prod(_shape(given["input"])[:-1])
        layers = [(sum(map(math.prod, matrices)), hidden, hidden)]
        return formulas.recurrent(kind, rows, layers, bias=given.get("b_ih") is not None)

    return formula


def _batch_norm(given: Arguments, result: Any) -> Work:
    training = bool(given.get("training", given.get("train", False)))
    price = formulas.OWN_STATISTICS if training else formulas.KNOWN_STATISTICS
    return formulas.normalisation(_shape(given["input"]), affine=given.get("weight") is not None, price=price)


def _instance_norm(given: Arguments, result: Any) -> Work:
    own = bool(given.get("use_input_stats", True))
    price = formulas.OWN_STATISTICS if own else formulas.KNOWN_STATISTICS
    return formulas.normalisation(_shape(given["input"]), affine=given.get("weight") is not None, price=price)


def _own_norm(given: Arguments, result: Any) -> Work:
    return formulas.normalisation(_shape(given["input"]), affine=given.get("weight") is not None)


def _rms_norm(given: Arguments, result: Any) -> Work:
    affine = given.get("weight") is not None
    return formulas.normalisation(_shape(given["input"]), affine=affine, price=formulas.RMS, fvcore=False)


def _pooling(dimensions: int) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        kernel = given["kernel_size"]
        sizes = [kernel] if isinstance(kernel, int) else list(kernel)
        window = math.prod(int(size) for size in sizes * (dimensions if len(sizes) == 1 else 1))
        return formulas.pooling(_shape(_first(result)), window)

    return formula


def _adaptive(*, average: bool) -> _Formula:
    return lambda given, _: formulas.adaptive_pooling(_shape(next(tensors_in(tuple(given.values())))), average=average)


def _interpolation(name: str) -> _Formula:
    def formula(_: Arguments, result: Any) -> Work:
        return formulas.interpolation(
            _shape(_first(result)), _NEIGHBOURS[name], fvcore=_FVCORE_INTERPOLATIONS.get(name, 0)
        )

    return formula


def _grid_sampler(neighbours: int) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        taken = (neighbours, 1, neighbours**2)[given.get("interpolation_mode", 0)]  # linear, nearest, cubic
        return formulas.interpolation(_shape(_first(result)), taken, fvcore=4)

    return formula


def _table(table: str) -> _Formula:
    """An embedding: reads of its table what it hands on."""

    def formula(given: Arguments, result: Any) -> Work:
        first = _first(result)
        place = [id(one) for one in tensors_in(tuple(given.values()))].index(id(given[table]))
        return formulas.gather(first.numel() * first.element_size(), place)

    return formula


def _embedding_bag(given: Arguments, result: Any) -> Work:
    weight = given["weight"]
    taken = given["indices"].numel() * weight.shape[-1]
    return Work("reduction", other_flops=taken, read_bytes={0: taken * weight.element_size()})


def _tensordot(given: Arguments, result: Any) -> Work:
    left, outputs = _shape(given["self"]), math.prod(_shape(_first(result)))
    inner = math.prod(left[place] for place in given["dims_self"])
    return Work("matrix", outputs * inner, activations=outputs)


def _distances(given: Arguments, result: Any) -> Work:
    """A difference, a square and a sum for each coordinate of each pair."""
    return formulas.elementwise(_shape(_first(result)), 3 * _shape(given["x1"])[-1])


def _per_element(price: int) -> _Formula:
    return lambda _, result: formulas.elementwise(_shape(_first(result)), price)


_FORMULAS: Mapping[str, _Formula] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "torchvision.deform_conv2d": _convolution,
    "linear": _linear,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "matmul", "_int_mm", "_scaled_mm", "vdot", "inner"), _product("self")),
    **dict.fromkeys(("_weight_int8pack_mm", "_weight_int4pack_mm"), _product("self")),
    "addmm": _product("mat1", bias="self"),
    "_addmm_activation": _product("mat1", bias="self"),
    "baddbmm": _product("batch1", bias="self"),
    "addmv": _product("mat", bias="self"),
    "addbmm": _addbmm,
    "bilinear": _bilinear,
    "einsum": _einsum,
    **dict.fromkeys(_FUSED_ATTENTION, _attention),
    "_native_multi_head_attention": _multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "lstm": _recurrent("lstm"),
    "gru": _recurrent("gru"),
    "rnn_tanh": _recurrent("rnn"),
    "rnn_relu": _recurrent("rnn"),
    "lstm_cell": _cell("lstm"),
    "gru_cell": _cell("gru"),
    "rnn_tanh_cell": _cell("rnn"),
    "rnn_relu_cell": _cell("rnn"),
    **dict.fromkeys(("batch_norm", "native_batch_norm", "cudnn_batch_norm"), _batch_norm),
    "_native_batch_norm_legit_no_training": _batch_norm,
    "instance_norm": _instance_norm,
    **dict.fromkeys(("layer_norm", "native_layer_norm", "group_norm", "native_group_norm"), _own_norm),
    **dict.fromkeys(("rms_norm", "_fused_rms_norm"), _rms_norm),
    **{f"{kind}_pool{rank}d": _pooling(rank) for kind in ("max", "avg") for rank in (1, 2, 3)},
    **{f"max_pool{rank}d_with_indices": _pooling(rank) for rank in (1, 2, 3)},
    **{f"adaptive_avg_pool{rank}d": _adaptive(average=True) for rank in (1, 2, 3)},
    **{f"_adaptive_avg_pool{rank}d": _adaptive(average=True) for rank in (2, 3)},
    **{f"adaptive_max_pool{rank}d": _adaptive(average=False) for rank in (1, 2, 3)},
    **{name: _interpolation(name) for name in _NEIGHBOURS},
    "grid_sampler": _grid_sampler(4),
    "grid_sampler_2d": _grid_sampler(4),
    "grid_sampler_3d": _grid_sampler(8),
    "tensordot": _tensordot,
    **dict.fromkeys(("cdist", "_cdist_forward"), _distances),
    "_weight_norm": _per_element(3),
    "addr": _per_element(2),
    "embedding": _table("weight"),
    "embedding_bag": _embedding_bag,
    "_embedding_bag": _embedding_bag,
    **dict.fromkeys(("index_select", "gather", "index"), _table("self")),
    "col2im": lambda given, _: formulas.reduction(_shape(given["self"])),
    **{
        f"quantized_decomposed.{name}_per_{scope}": _per_element(2)
        for name in ("quantize", "dequantize")
        for scope in ("tensor", "channel", "token")
    },
}
