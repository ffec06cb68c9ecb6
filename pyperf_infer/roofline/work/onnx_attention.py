# SPDX-License-Identifier: Apache-2.0
"""The work of ONNX Runtime's attentions, with what is fused into them: projections, biases, norms and rotations.

How many keys there are is not always in the shapes: a cache may be as long as the tokens so far, or a buffer of the
longest sequence that it ever holds, of which the past and the present are one tensor. See :func:`_keys`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import Value, Work
from pyperf_infer.roofline.work.onnx_formulas import Attributes, Formula, Operands, needed, optional

_ROTATION = 3  # see RotaryEmbedding in onnx_formulas


def _keys(new: int, past: int, *, shared: bool, masks: Sequence[Value | None]) -> int:
    """A mask over all keys is as long as they are; else a buffer that is shared counts as full, the new tokens in it,
    and any other cache as the earlier tokens."""
    for mask in masks:
        if mask is not None and len(mask.shape) > 1 and mask.shape[-1] > 1:
            return mask.shape[-1]
    return max(new, past) if shared else past + new


def merged(mask: int, past: int, bias: int | None = None) -> Formula:
    """com.microsoft.Attention and QAttention: the three projections of one input, and the attention of its heads.

    Positions of inputs; past is (2, batch, heads, tokens, width), `bias` is added to the scores. A mask of rank 2 or 3
    ends in the number of keys; of rank 1 it holds lengths, of rank 4 it is as long as the longest sequence.
    """

    def formula(inputs: Operands, _: Sequence[Value], attributes: Attributes) -> Work:
        source, weight = needed(inputs, 0).shape, needed(inputs, 1).shape
        sizes = attributes.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
        heads = int(attributes["num_heads"])
        before, hidden = optional(inputs, past), optional(inputs, mask)
        added = optional(inputs, bias) if bias is not None else None
        keys = _keys(
            source[1],
            before.shape[3] if before is not None and len(before.shape) == 5 else 0,
            shared=bool(attributes.get("past_present_share_buffer")),
            masks=(added, hidden if hidden is not None and len(hidden.shape) < 4 else None),
        )
        projected = formulas.matmul(source, (*source[:2], weight[1]), bias=optional(inputs, 2) is not None)
        masked = bool(attributes.get("unidirectional")) or hidden is not None or added is not None
        core = formulas.attention(
            (source[0], heads, source[1], sizes[0] // heads), keys, sizes[2] // heads, masked=masked
        )
        rotated = 0
        if attributes.get("do_rotary"):
            width = int(attributes.get("rotary_embedding_dim") or sizes[0] // heads)
            rotated = _ROTATION * 2 * math.prod(source[:2]) * heads * width
        return Work(
            "matrix",
            projected.macs + core.macs,
            other_flops=projected.other_flops + core.other_flops + rotated,
            activations=projected.activations + core.activations,
        )

    return formula


def multi_head(inputs: Operands, _: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.MultiHeadAttention: projected already, packed into one or not; input 3 is the projections' bias."""
    query, key, value = needed(inputs, 0).shape, optional(inputs, 1), optional(inputs, 2)
    heads = int(attributes["num_heads"])
    mask, added, past = optional(inputs, 4), optional(inputs, 5), optional(inputs, 6)
    if key is None:  # (batch, tokens, heads, 3, width of a head)
        new, width, biased = query[1], math.prod(query[2:]) // (3 * heads), math.prod(query)
        each = width
    elif value is None or len(key.shape) == 5:  # keys and values in one, heads in front of the two
        new, width, biased = key.shape[1], query[-1] // heads, math.prod(query) + key.count
        each = width
    elif len(key.shape) == 4:  # kept from an earlier call, with its bias
        new, width, each, biased = key.shape[2], query[-1] // heads, value.shape[-1], math.prod(query)
    else:
        new, width, each = key.shape[1], query[-1] // heads, value.shape[-1] // heads
        biased = math.prod(query) + key.count + value.count
    keys = _keys(
        new,
        past.shape[2] if past is not None and len(past.shape) == 4 else 0,
        shared=optional(inputs, 8) is not None,  # says how much of the buffer is used
        masks=(added, mask if mask is not None and len(mask.shape) == 3 else None),
    )
    masked = bool(attributes.get("unidirectional")) or mask is not None or added is not None
    work = formulas.attention((query[0], heads, query[1], width), keys, each, masked=masked)
    return _plus(work, biased if optional(inputs, 3) is not None else 0)


def grouped(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.GroupQueryAttention: projected already, in one or not, and with a mask unless it is not causal.

    Input 7 is the table of cosines, half as wide as what is rotated of a head; 10 is added to the scores; 14 and 15
    are the weights of the norms of queries and keys.
    """
    query, key = needed(inputs, 0).shape, optional(inputs, 1)
    heads, shared_heads = int(attributes["num_heads"]), int(attributes["kv_num_heads"])
    width = query[-1] // (heads if key is not None else heads + 2 * shared_heads)
    new = key.shape[1] if key is not None else query[1]
    past, added = optional(inputs, 3), optional(inputs, 10)
    present = outputs[1].shape if len(outputs) > 1 else None
    keys = _keys(
        new,
        past.shape[2] if past is not None and len(past.shape) == 4 else 0,
        shared=past is not None and present == past.shape,
        masks=(added,),
    )
    masked = bool(attributes.get("causal", 1)) or added is not None
    work = formulas.attention((query[0], heads, query[1], width), keys, width, masked=masked)
    vectors = query[0] * (query[1] * heads + new * shared_heads)  # of queries and of new keys
    more = 0
    if attributes.get("do_rotary"):
        cosines = optional(inputs, 7)
        more += _ROTATION * vectors * (min(width, 2 * cosines.shape[-1]) if cosines is not None else width)
    if optional(inputs, 14) is not None:
        more += formulas.RMS * vectors * width
    return _plus(work, more)


def _plus(work: Work, flops: int) -> Work:
    return replace(work, other_flops=work.other_flops + flops)
