# SPDX-License-Identifier: Apache-2.0
"""The work of PyTorch's operators, as they stand in an exported graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyperf_infer.roofline.tensors import tensors_in
from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import UNKNOWN, VIEW, Shape, Work
from pyperf_infer.roofline.work.torch_families import Arguments, of_family, sizes_of, writes

if TYPE_CHECKING:
    from torch import Tensor

_Formula = Callable[[Arguments, Any], Work]

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
        return UNKNOWN if writes(overload) else VIEW
    if package != "aten":
        return UNKNOWN
    return of_family(name, overload, given, outputs)


def _first(result: Any) -> Tensor:
    return next(tensors_in(result))


def _convolution(given: Arguments, result: Any) -> Work:
    return formulas.convolution(
        sizes_of(given["input"]),
        sizes_of(given["weight"]),
        sizes_of(_first(result)),
        transposed=bool(given.get("transposed", False)),
        bias=given.get("bias") is not None,
    )


def _transposed(given: Arguments, result: Any) -> Work:
    return _convolution({**given, "transposed": True}, result)


def _linear(given: Arguments, result: Any) -> Work:
    return formulas.matmul(sizes_of(given["input"]), sizes_of(_first(result)), bias=given.get("bias") is not None)


def _product(left: str, *, bias: str = "") -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        return formulas.matmul(
            sizes_of(given[left]), sizes_of(_first(result)), bias=bool(bias) and given[bias] is not None
        )

    return formula


def _addbmm(given: Arguments, result: Any) -> Work:
    batch, rows, inner = sizes_of(given["batch1"])
    columns = sizes_of(given["batch2"])[2]
    work = formulas.matmul((batch, rows, inner), (batch, rows, columns))
    return Work("matrix", work.macs, other_flops=math.prod(sizes_of(_first(result))), activations=work.activations)


def _bilinear(given: Arguments, result: Any) -> Work:
    output, weight = sizes_of(_first(result)), sizes_of(given["weight"])
    outputs = math.prod(output)
    macs = outputs * weight[2] * (weight[1] + 1)
    return Work("matrix", macs, other_flops=outputs if given.get("bias") is not None else 0, activations=outputs)


def _einsum(given: Arguments, result: Any) -> Work:
    operands = [sizes_of(one) for one in given["tensors"]]
    return formulas.einsum(given["equation"], operands)


def _attention(given: Arguments, result: Any) -> Work:
    masked = given.get("attn_mask") is not None or given.get("attn_bias") is not None or bool(given.get("is_causal"))
    query, key, value = (sizes_of(given[name]) for name in ("query", "key", "value"))
    rows = sizes_of(_first(result))[:-1]  # whose batch may be broadcast
    return formulas.attention((*rows, query[-1]), key[-2], value[-1], masked=masked)


def _multi_head(given: Arguments, result: Any) -> Work:
    """Projections of all three, attention of each head, and the projection of its result."""
    query, key = sizes_of(given["query"]), sizes_of(given["key"])
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
    source = sizes_of(given["src"])
    inner = sizes_of(given["ffn_weight_1"])[0]
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
        matrices = [sizes_of(one) for one in given["params"] if one.dim() == 2]
        layers = []
        # Of each layer and direction: input to hidden, hidden to hidden, and with a projection hidden to output.
        each = 3 if _is_projected(matrices, kind) else 2
        for first in range(0, len(matrices), each):
            part = matrices[first : first + each]
            hidden = part[0][0] // formulas.GATES[kind]
            layers.append((sum(map(math.prod, part)), hidden, part[2][0] if each == 3 else hidden))
        rows = math.prod(sizes_of(steps)[:-1])
        return formulas.recurrent(kind, rows, layers, bias=bool(given["has_biases"]))

    return formula


def _is_projected(matrices: list[Shape], kind: str) -> bool:
    """Then its third matrix is none of the gates, which all have the same number of rows."""
    return kind == "lstm" and len(matrices) > 2 and matrices[2][0] != matrices[0][0]


def _cell(kind: str) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        matrices = (sizes_of(given["w_ih"]), sizes_of(given["w_hh"]))
        hidden = matrices[1][1]
        rows = math.prod(sizes_of(given["input"])[:-1])
        layers = [(sum(map(math.prod, matrices)), hidden, hidden)]
        return formulas.recurrent(kind, rows, layers, bias=given.get("b_ih") is not None)

    return formula


def _batch_norm(given: Arguments, result: Any) -> Work:
    training = bool(given.get("training", given.get("train", False)))
    price = formulas.OWN_STATISTICS if training else formulas.KNOWN_STATISTICS
    return formulas.normalisation(sizes_of(given["input"]), affine=given.get("weight") is not None, price=price)


def _instance_norm(given: Arguments, result: Any) -> Work:
    own = bool(given.get("use_input_stats", True))
    price = formulas.OWN_STATISTICS if own else formulas.KNOWN_STATISTICS
    return formulas.normalisation(sizes_of(given["input"]), affine=given.get("weight") is not None, price=price)


def _own_norm(given: Arguments, result: Any) -> Work:
    return formulas.normalisation(sizes_of(given["input"]), affine=given.get("weight") is not None)


def _rms_norm(given: Arguments, result: Any) -> Work:
    affine = given.get("weight") is not None
    return formulas.normalisation(sizes_of(given["input"]), affine=affine, price=formulas.RMS, fvcore=False)


def _pooling(dimensions: int) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        kernel = given["kernel_size"]
        sizes = [kernel] if isinstance(kernel, int) else list(kernel)
        window = math.prod(int(size) for size in sizes * (dimensions if len(sizes) == 1 else 1))
        return formulas.pooling(sizes_of(_first(result)), window)

    return formula


def _adaptive(*, average: bool) -> _Formula:
    return lambda given, _: formulas.adaptive_pooling(
        sizes_of(next(tensors_in(tuple(given.values())))), average=average
    )


def _interpolation(name: str) -> _Formula:
    def formula(_: Arguments, result: Any) -> Work:
        return formulas.interpolation(
            sizes_of(_first(result)), _NEIGHBOURS[name], fvcore=_FVCORE_INTERPOLATIONS.get(name, 0)
        )

    return formula


def _grid_sampler(neighbours: int) -> _Formula:
    def formula(given: Arguments, result: Any) -> Work:
        taken = (neighbours, 1, neighbours**2)[given.get("interpolation_mode", 0)]  # linear, nearest, cubic
        return formulas.interpolation(sizes_of(_first(result)), taken, fvcore=4)

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
    left, outputs = sizes_of(given["self"]), math.prod(sizes_of(_first(result)))
    inner = math.prod(left[place] for place in given["dims_self"])
    return Work("matrix", outputs * inner, activations=outputs)


def _distances(given: Arguments, result: Any) -> Work:
    """A difference, a square and a sum for each coordinate of each pair."""
    return formulas.elementwise(sizes_of(_first(result)), 3 * sizes_of(given["x1"])[-1])


def _per_element(price: int) -> _Formula:
    return lambda _, result: formulas.elementwise(sizes_of(_first(result)), price)


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
    "col2im": lambda given, _: formulas.reduction(sizes_of(given["self"])),
    **{
        f"quantized_decomposed.{name}_per_{scope}": _per_element(2)
        for name in ("quantize", "dequantize")
        for scope in ("tensor", "channel", "token")
    },
}
