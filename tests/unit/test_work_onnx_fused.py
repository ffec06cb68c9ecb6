# SPDX-License-Identifier: Apache-2.0
"""Operators that ONNX Runtime puts in place of ONNX's: their work by hand, their results' shapes inferred."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pyperf_infer.models.spec import ModelStructure
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.counts import ModelWork  # noqa: TC001
from pyperf_infer.roofline.work.onnx_fused import FUSED
from pyperf_infer.roofline.work.onnx_stand_ins import _STAND_INS

MS, BLOCKED, NHWC = "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"
F, U8, I8, I32 = np.float32, np.uint8, np.int8, np.int32
Sizes = tuple[int, ...]


def counted(
    path: Path,
    op: str,
    domain: str,
    operands: Sequence[Any],
    *,
    outputs: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> ModelWork:
    """Of a model of one node. An operand is (element type, sizes...), or a constant; all but the first are weights."""
    names = [f"x{place}" if one is not None else "" for place, one in enumerate(operands)]
    made = helper.make_node(op, names, [f"y{place}" for place in range(outputs)], "it", domain=domain, **attributes)
    (element, *sizes) = operands[0] or (F,)
    weights = [
        numpy_helper.from_array(one if isinstance(one, np.ndarray) else np.ones(one[1:], one[0]), name)
        for name, one in list(zip(names, operands, strict=True))[1:]
        if one is not None
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
    graph = helper.make_graph(
        [made],
        "one",
        [helper.make_tensor_value_info("x0", kind, ["batch", *sizes[1:]])],
        [onnx.ValueInfoProto(name=f"y{place}") for place in range(outputs)],
        weights,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path / "m.onnx")
    return count(ModelStructure("m.onnx", (), 0, None, path / "m.onnx"), {"x0": tuple(sizes)})


S = (F,)  # a scale
Z = (U8,)  # a zero point
IMAGE, LAST = (F, 2, 6, 5, 7), (F, 2, 5, 7, 6)
# op, domain, operands, attributes; macs, the other FLOPs, the result's shape
CASES: dict[str, tuple[str, str, list[Any], dict[str, Any], int, int, Sizes]] = {
    "conv with sum and activation": (
        "FusedConv", MS, [IMAGE, (F, 4, 6, 3, 3), (F, 4), (F, 2, 4, 3, 5)], {"activation": "Relu"},
        2 * 4 * 15 * 54, 3 * 120, (2, 4, 3, 5),
    ),
    "conv in NHWC": (
        "NhwcFusedConv", MS, [LAST, (F, 4, 6, 3, 3)], {"strides": [2, 2]}, 2 * 4 * 6 * 54, 0, (2, 2, 3, 4),
    ),
    "internal NHWC": (
        "Conv", NHWC, [LAST, (F, 6, 1, 3, 3), (F, 6)], {"group": 6, "pads": [1, 1, 1, 1]}, 2 * 6 * 35 * 9, 420,
        (2, 5, 7, 6),
    ),
    "internal NHWC pool": (
        "MaxPool", NHWC, [LAST], {"kernel_shape": [2, 2]}, 0, 2 * 4 * 6 * 6 * 4, (2, 4, 6, 6),
    ),
    "quantised conv, channels last": (
        "QLinearConv", MS, [(U8, 2, 5, 7, 6), S, Z, (I8, 4, 6, 3, 3), S, (I8,), S, Z, (I32, 4)], {"channels_last": 1},
        2 * 4 * 15 * 54, 120, (2, 3, 5, 4),
    ),
    "pool in NHWC": (
        "NhwcMaxPool", MS, [(U8, 2, 5, 7, 6)], {"kernel_shape": [3, 3], "strides": [2, 2]}, 0, 2 * 2 * 3 * 6 * 9,
        (2, 2, 3, 6),
    ),
    "blocked conv": (
        "Conv", BLOCKED, [(F, 1, 16, 4, 4), (F, 32, 16, 1, 1), (F, 32), (F, 1, 32, 4, 4)], {"activation": "Relu"},
        32 * 16 * 16, 3 * 512, (1, 32, 4, 4),
    ),
    "blocked pool": (
        "AveragePool", BLOCKED, [(F, 1, 16, 4, 4)], {"kernel_shape": [2, 2]}, 0, 16 * 9 * 4, (1, 16, 3, 3),
    ),
    "blocked global pool": ("GlobalAveragePool", BLOCKED, [(F, 1, 16, 4, 4)], {}, 0, 256, (1, 16, 1, 1)),
    "blocked upsample": (
        "Upsample", BLOCKED, [(F, 1, 16, 2, 2)], {"scales": [1, 1, 2, 2], "mode": "linear"}, 0, 16 * 16 * 7,
        (1, 16, 4, 4),
    ),
    "out of blocks": ("ReorderOutput", BLOCKED, [(F, 1, 16, 4, 5)], {"channels": 10}, 0, 0, (1, 10, 4, 5)),
    "out of blocks to NHWC": (
        "ReorderOutput", BLOCKED, [(F, 1, 16, 4, 5)], {"channels": 10, "channels_last": 1}, 0, 0, (1, 4, 5, 10),
    ),
    "into blocks of NHWC": ("ReorderInput", BLOCKED, [(F, 1, 4, 5, 16)], {"channels_last": 1}, 0, 0, (1, 16, 4, 5)),
    "product": ("FusedMatMul", MS, [(F, 2, 3, 8), (F, 2, 8, 5)], {}, 2 * 3 * 5 * 8, 0, (2, 3, 5)),
    "product with a factor": ("FusedMatMul", MS, [(F, 2, 3, 8), (F, 2, 8, 5)], {"alpha": 0.5}, 240, 30, (2, 3, 5)),
    "product of a batch with the transposed": (
        "FusedMatMul", MS, [(F, 2, 3, 8), (F, 5, 8)], {"transB": 1}, 2 * 3 * 5 * 8, 0, (2, 3, 5),
    ),
    "product with batches behind": (
        "FusedMatMul", MS, [(F, 3, 2, 7, 8), (F, 8, 2, 7, 5)], {"transBatchA": 1, "transBatchB": 1}, 14 * 3 * 5 * 8, 0,
        (2, 7, 3, 5),
    ),
    "product of the transposed with batches behind": (
        "FusedMatMul", MS, [(F, 8, 2, 3), (F, 5, 2, 8)],
        {"transBatchA": 1, "transA": 1, "transBatchB": 1, "transB": 1}, 2 * 3 * 5 * 8, 0, (2, 3, 5),
    ),
    "product with a vector": ("FusedMatMul", MS, [(F, 2, 3, 8), (F, 8)], {"transB": 1}, 48, 0, (2, 3)),
    "product of the transposed": (
        "FusedMatMul", MS, [(F, 2, 8, 3), (F, 2, 5, 8)], {"transA": 1, "transB": 1}, 2 * 3 * 5 * 8, 0, (2, 3, 5),
    ),
    "gemm with activation": (
        "FusedGemm", MS, [(F, 3, 8), (F, 5, 8), (F, 5)], {"transB": 1, "activation": "Tanh"}, 120, 30, (3, 5),
    ),
    "quantised gemm": (
        "QGemm", MS, [(U8, 3, 8), S, Z, (I8, 5, 8), S, (I8,), (I32, 5), S, Z], {"transB": 1}, 120, 15, (3, 5),
    ),
    "quantised gemm into floats": ("QGemm", MS, [(U8, 3, 8), S, Z, (I8, 8, 5), S, (I8,)], {}, 120, 0, (3, 5)),
    "product quantised on the way": ("DynamicQuantizeMatMul", MS, [(F, 2, 3, 8), (I8, 8, 5), S], {}, 240, 0, (2, 3, 5)),
    "integers to floats": (
        "MatMulIntegerToFloat", MS, [(U8, 2, 3, 8), (I8, 8, 5), S, S, Z, (I8,), (F, 5)], {}, 240, 30, (2, 3, 5),
    ),
    "weights of four bits": (
        "MatMulNBits", MS, [(F, 2, 3, 32), (U8, 5, 1, 16), (F, 5)], {"K": 32, "N": 5, "bits": 4, "block_size": 32},
        2 * 3 * 5 * 32, 0, (2, 3, 5),
    ),
    "weights in one piece": (
        "MatMulFpQ4", MS, [(F, 2, 3, 32), (U8, 100), np.array([32, 5], np.int64)], {"blk_quant_type": 0},
        2 * 3 * 5 * 32, 0, (2, 3, 5),
    ),
    # 2 texts of 5 tokens; 6 wide, projected to 3 x 8; 2 heads, each 4 wide: 5 * 5 scores each.
    "attention": (
        "Attention", MS, [(F, 2, 5, 6), (F, 6, 24), (F, 24)], {"num_heads": 2}, 2 * 5 * 6 * 24 + 2 * 2 * 25 * 8,
        2 * 5 * 24 + 2 * 2 * 25 * 6, (2, 5, 8),
    ),
    "attention of unequal widths": (
        "Attention", MS, [(F, 2, 5, 6), (F, 6, 20), (F, 20)],
        {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4], "unidirectional": 1},
        2 * 5 * 6 * 20 + 2 * 2 * 25 * (4 + 2), 2 * 5 * 20 + 2 * 2 * 25 * 7, (2, 5, 4),
    ),
    "quantised attention": (
        "QAttention", MS, [(U8, 2, 5, 6), (I8, 6, 24), (F, 24), S, S, (I32, 2), Z, (I8,)], {"num_heads": 2},
        2 * 5 * 6 * 24 + 2 * 2 * 25 * 8, 2 * 5 * 24 + 2 * 2 * 25 * 7, (2, 5, 8),
    ),
    "heads of queries, keys, values": (
        "MultiHeadAttention", MS, [(F, 2, 5, 8), (F, 2, 7, 8), (F, 2, 7, 4)], {"num_heads": 2},
        2 * 2 * 5 * 7 * (4 + 2), 2 * 2 * 35 * 6, (2, 5, 4),
    ),
    "heads in one": ("MultiHeadAttention", MS, [(F, 2, 5, 2, 3, 4)], {"num_heads": 2}, 2 * 2 * 25 * 8, 600, (2, 5, 8)),
    "shared heads": (
        "GroupQueryAttention", MS, [(F, 2, 5, 16), (F, 2, 5, 4), (F, 2, 5, 4)], {"num_heads": 4, "kv_num_heads": 1},
        2 * 4 * 25 * 8, 2 * 4 * 25 * 7, (2, 5, 16),
    ),
    "shared heads in one": (
        "GroupQueryAttention", MS, [(F, 2, 5, 24), None, None], {"num_heads": 4, "kv_num_heads": 1},
        2 * 4 * 25 * 8, 2 * 4 * 25 * 7, (2, 5, 16),
    ),
    "heads with the projections' bias": (
        "MultiHeadAttention", MS, [(F, 2, 5, 8), (F, 2, 7, 8), (F, 2, 7, 4), (F, 20)], {"num_heads": 2},
        2 * 2 * 5 * 7 * (4 + 2), 2 * 2 * 35 * 6 + 2 * (5 * 8 + 7 * 8 + 7 * 4), (2, 5, 4),
    ),
    "heads in one with a bias": (
        "MultiHeadAttention", MS, [(F, 2, 5, 2, 3, 4), None, None, (F, 24)], {"num_heads": 2}, 2 * 2 * 25 * 8,
        600 + 2 * 5 * 24, (2, 5, 8),
    ),
    "heads of keys that were kept": (
        "MultiHeadAttention", MS, [(F, 2, 5, 8), (F, 2, 2, 7, 4), (F, 2, 2, 7, 4), (F, 24)], {"num_heads": 2},
        2 * 2 * 35 * 8, 2 * 2 * 35 * 6 + 2 * 5 * 8, (2, 5, 8),
    ),
    "attention with rotation": (
        "Attention", MS, [(F, 2, 5, 6), (F, 6, 24), (F, 24)], {"num_heads": 2, "do_rotary": 1},
        2 * 5 * 6 * 24 + 2 * 2 * 25 * 8, 2 * 5 * 24 + 2 * 2 * 25 * 6 + 3 * 2 * (2 * 5 * 8), (2, 5, 8),
    ),
    "shared heads with rotation": (
        "GroupQueryAttention", MS,
        [(F, 2, 5, 16), (F, 2, 5, 4), (F, 2, 5, 4), None, None, (I32, 2), (I32,), (F, 9, 2), (F, 9, 2)],
        {"num_heads": 4, "kv_num_heads": 1, "do_rotary": 1}, 2 * 4 * 25 * 8, 2 * 4 * 25 * 7 + 3 * 2 * 5 * (16 + 4),
        (2, 5, 16),
    ),
    "shared heads in one, half of each rotated": (
        "GroupQueryAttention", MS,
        [(F, 2, 5, 24), None, None, None, None, (I32, 2), (I32,), (F, 9, 1), (F, 9, 1)],
        {"num_heads": 4, "kv_num_heads": 1, "do_rotary": 1}, 2 * 4 * 25 * 8, 2 * 4 * 25 * 7 + 3 * 2 * 5 * (4 + 1) * 2,
        (2, 5, 16),
    ),
    "shared heads that look both ways, with norms": (
        "GroupQueryAttention", MS,
        [(F, 2, 5, 16), (F, 2, 5, 4), (F, 2, 5, 4), *[None] * 2, (I32, 2), (I32,), *[None] * 7, (F, 4), (F, 4)],
        {"num_heads": 4, "kv_num_heads": 1, "causal": 0}, 2 * 4 * 25 * 8, 2 * 4 * 25 * 6 + 4 * 2 * 5 * (16 + 4),
        (2, 5, 16),
    ),
    "quantised LSTM": (
        "DynamicQuantizeLSTM", MS, [(F, 5, 2, 3), (I8, 2, 3, 16), (I8, 2, 4, 16), (F, 2, 32)],
        {"hidden_size": 4, "direction": "bidirectional"}, 5 * 2 * 2 * 16 * 7, 5 * 2 * 2 * 4 * 21, (5, 2, 2, 4),
    ),
    "embedding and norm": (
        "EmbedLayerNormalization", MS, [(I32, 2, 5), (I32, 2, 5), (F, 90, 8), (F, 16, 8), (F, 2, 8), (F, 8), (F, 8)],
        {}, 0, 80 * 7, (2, 5, 8),
    ),
    "sum and norm": ("SkipLayerNormalization", MS, [(F, 2, 5, 8), (F, 2, 5, 8), (F, 8)], {}, 0, 80 * 6, (2, 5, 8)),
    "sum and RMS norm": (
        "SkipSimplifiedLayerNormalization", MS, [(F, 2, 5, 8), (F, 2, 5, 8), (F, 8)], {}, 0, 80 * 5, (2, 5, 8),
    ),
    "rotation": ("RotaryEmbedding", MS, [(F, 2, 5, 8), (np.int64, 1), (F, 9, 4), (F, 9, 4)], {}, 0, 240, (2, 5, 8)),
    "bias and GELU": ("BiasGelu", MS, [(F, 2, 8), (F, 8)], {}, 0, 32, (2, 8)),
    "fast GELU": ("FastGelu", MS, [(F, 2, 8)], {}, 0, 16, (2, 8)),
    "quick GELU": ("QuickGelu", MS, [(F, 2, 8)], {}, 0, 16, (2, 8)),
    "bias and softmax": ("BiasSoftmax", MS, [(F, 2, 8), (F, 2, 8)], {"axis": 1}, 0, 16 * 6, (2, 8)),
    "group norm": (
        "GroupNorm", MS, [(F, 2, 4, 4, 8), (F, 8), (F, 8)], {"groups": 2, "activation": 1}, 0, 256 * 6, (2, 4, 4, 8),
    ),
    "quantised sum": ("QLinearAdd", MS, [(U8, 2, 8), S, Z, (U8, 1, 8), S, Z, S, Z], {}, 0, 16, (2, 8)),
    "quantised mean": (
        "QLinearGlobalAveragePool", MS, [(U8, 2, 4, 5, 6), S, Z, S, Z], {"channels_last": 1}, 0, 240, (2, 1, 1, 6),
    ),
    "quantised mean over some": (
        "QLinearReduceMean", MS, [(U8, 2, 4, 5, 6), S, Z, S, Z], {"axes": [2, 3], "keepdims": 0}, 0, 240, (2, 4),
    ),
    "quantised mean over all": ("QLinearReduceMean", MS, [(U8, 2, 4, 5, 6), S, Z, S, Z], {}, 0, 240, (1, 1, 1, 1)),
    "quantised pool": (
        "QLinearAveragePool", MS, [(U8, 2, 6, 4, 4), S, Z, S, Z], {"kernel_shape": [2, 2]}, 0, 2 * 6 * 9 * 4,
        (2, 6, 3, 3),
    ),
    "quantised sigmoid": ("QLinearSigmoid", MS, [(U8, 2, 8), S, Z, S, Z], {}, 0, 16, (2, 8)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fused_operators_count_as_their_parts(tmp_path: Path, case: str) -> None:
    op, domain, operands, attributes, macs, other, shape = CASES[case]
    work = counted(tmp_path, op, domain, operands, **attributes)
    (operation,) = work.operations
    assert operation.outputs[0].shape == shape
    assert (work.macs, work.flops_all - 2 * work.macs) == (macs, other)
    assert not work.unknown_ops


def test_the_newest_operators_find_shapes_as_well(tmp_path: Path) -> None:
    operands: list[Any] = [(U8, 2, 4, 5, 6), S, Z, S, Z]
    work = counted(tmp_path, "QLinearReduceMean", MS, operands, opset=21, axes=[2, 3])
    assert work.operations[0].outputs[0].shape == (2, 4, 1, 1)


QKV: list[Any] = [(F, 2, 5, 8), (F, 2, 5, 8), (F, 2, 5, 8)]
GROUPED: list[Any] = [(F, 2, 5, 16), (F, 2, 5, 4), (F, 2, 5, 4)]
LENGTHS: list[Any] = [
    np.full(2, 4, I32),
    np.array(5, I32),
]  # of all tokens, without the last; values, which no count depends on
CACHE, BUFFER = [(F, 2, 2, 3, 4)] * 2, [(F, 2, 2, 9, 4)] * 2
# op, operands, attributes, outputs; how many keys, and the present's shape
CACHES: dict[str, tuple[str, list[Any], dict[str, Any], int, int, Sizes]] = {
    "no past": ("MultiHeadAttention", QKV, {}, 3, 5, (2, 2, 5, 4)),
    "past": ("MultiHeadAttention", [*QKV, None, None, None, *CACHE], {}, 3, 8, (2, 2, 8, 4)),
    "past, and keys in one with values": (
        "MultiHeadAttention", [(F, 2, 5, 8), (F, 2, 5, 2, 2, 4), *[None] * 4, *CACHE], {}, 3, 8, (2, 2, 8, 4),
    ),
    "past, and all in one": (
        "MultiHeadAttention", [(F, 2, 5, 2, 3, 4), *[None] * 5, *CACHE], {}, 3, 8, (2, 2, 8, 4),
    ),
    "a buffer": ("MultiHeadAttention", [*QKV, *[None] * 3, *BUFFER, (I32, 1)], {}, 3, 9, (2, 2, 9, 4)),
    "a buffer, with a bias of scores": (
        "MultiHeadAttention", [*QKV, None, None, (F, 1, 1, 5, 8), *BUFFER, (I32, 1)], {}, 3, 8, (2, 2, 9, 4),
    ),
    "merged": ("Attention", [(F, 2, 5, 6), (F, 6, 24), (F, 24)], {}, 2, 5, (2, 2, 2, 5, 4)),
    "merged with past": (
        "Attention", [(F, 2, 5, 6), (F, 6, 24), (F, 24), None, (F, 2, 2, 2, 3, 4)], {}, 2, 8, (2, 2, 2, 8, 4),
    ),
    "merged with a buffer": (
        "Attention", [(F, 2, 5, 6), (F, 6, 24), (F, 24), None, (F, 2, 2, 2, 9, 4), None, (I32,)],
        {"past_present_share_buffer": 1}, 2, 9, (2, 2, 2, 9, 4),
    ),
    "merged with a buffer and a mask": (
        "Attention", [(F, 2, 5, 6), (F, 6, 24), (F, 24), (I32, 2, 7), (F, 2, 2, 2, 9, 4), None, (I32,)],
        {"past_present_share_buffer": 1}, 2, 7, (2, 2, 2, 9, 4),
    ),
    "shared heads": ("GroupQueryAttention", [*GROUPED, None, None, *LENGTHS], {}, 3, 5, (2, 1, 5, 4)),
    "shared heads with past": (
        "GroupQueryAttention", [*GROUPED, *[(F, 2, 1, 3, 4)] * 2, *LENGTHS], {}, 3, 8, (2, 1, 8, 4),
    ),
    "shared heads in one with past": (
        "GroupQueryAttention", [(F, 2, 5, 24), None, None, *[(F, 2, 1, 3, 4)] * 2, *LENGTHS], {}, 3, 8, (2, 1, 8, 4),
    ),
    "shared heads with a past of 4 bits": (
        "GroupQueryAttention", [*GROUPED, *[(U8, 2, 1, 3, 2)] * 2, *LENGTHS], {"kv_cache_bit_width": 4}, 3, 8,
        (2, 1, 8, 2),
    ),
    "shared heads with a window": (
        "GroupQueryAttention", [*GROUPED, *[(F, 2, 1, 9, 4)] * 2, *LENGTHS],
        {"sliding_window_cache": 1, "local_window_size": 9}, 3, 9, (2, 1, 9, 4),
    ),
    "shared heads with a bias of scores": (
        "GroupQueryAttention", [*GROUPED, *[(F, 2, 1, 9, 4)] * 2, *LENGTHS, *[None] * 3, (F, 1, 1, 5, 8)], {}, 3, 8,
        (2, 1, 14, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CACHES)
def test_keys_of_earlier_tokens_and_the_caches_that_come_out(tmp_path: Path, case: str) -> None:
    op, operands, attributes, outputs, keys, present = CACHES[case]
    heads = {"num_heads": 4, "kv_num_heads": 1} if op == "GroupQueryAttention" else {"num_heads": 2}
    work = counted(tmp_path, op, MS, operands, outputs=outputs, **heads, **attributes)
    (operation,) = work.operations
    projections = 2 * 5 * 6 * 24 if op == "Attention" else 0
    assert work.macs - projections == 2 * heads["num_heads"] * 5 * keys * 8
    assert [one.shape for one in operation.outputs[1:]] == [present] * (outputs - 1)
    item = np.dtype(operands[3][0] if "4 bits" in case else F).itemsize
    result = 2 * 5 * heads["num_heads"] * 4 * 4
    assert work.output_bytes == result + (outputs - 1) * math.prod(present) * item


@pytest.mark.parametrize(
    "case",
    [
        *("no past", "past", "merged", "merged with past", "shared heads"),
        *("product of the transposed with batches behind", "product with batches behind", "product of the transposed"),
        "heads of keys that were kept",
    ],
)
def test_shapes_are_those_that_come_out_of_the_runtime(tmp_path: Path, case: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if case in CACHES and case != "shared heads":
        op, operands, attributes, outputs, *_ = CACHES[case]
        attributes = {**attributes, "num_heads": 2}
    elif case == "shared heads":  # 8 wide, as the runtime wants them
        op, outputs, attributes = "GroupQueryAttention", 3, {"num_heads": 4, "kv_num_heads": 1}
        lengths = np.full(1, 3, I32), np.array(4, I32)  # 3 earlier tokens and one new
        operands = [(F, 1, 1, 32), *[(F, 1, 1, 8)] * 2, *[(F, 1, 1, 3, 8)] * 2, *lengths]
    else:
        op, _, operands, attributes, *_ = CASES[case]
        outputs = 1
    work = counted(tmp_path, op, MS, operands, outputs=outputs, **attributes)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (element, *sizes) = operands[0]
    found = session.run(None, {"x0": np.ones(sizes, element)})
    assert [one.shape for one in work.operations[0].outputs] == [one.shape for one in found]


def test_every_formula_is_of_an_operator_that_the_runtime_has_and_whose_shapes_are_found() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    known = {f"{one.domain}.{one.name}" for one in state.get_all_operator_schema()}
    made = {f"{domain}.{name}" for domain, names in _STAND_INS.items() for name in names}
    assert not FUSED.keys() - known
    assert not made - known
    assert not FUSED.keys() - made


@pytest.mark.parametrize(("zero_point", "item"), [(True, 1), (False, 4)])
def test_a_quantised_gemm_writes_what_it_is_told_to(tmp_path: Path, zero_point: bool, item: int) -> None:
    operands: list[Any] = [(U8, 3, 8), S, Z, (I8, 8, 5), S, (I8,), None]
    work = counted(tmp_path, "QGemm", MS, [*operands, S, Z] if zero_point else operands)
    assert work.output_bytes == 3 * 5 * item


def test_rows_of_the_tables_are_read_and_not_the_tables(tmp_path: Path) -> None:
    op, domain, operands, attributes, *_ = CASES["embedding and norm"]
    (kernel,) = counted(tmp_path, op, domain, operands, **attributes).kernels
    taken = 3 * 2 * 5 * 8 * 4  # of each table a row of 8 floats for each of 2 x 5 tokens; ids, gamma and beta beside
    tables = 90 * 32, 16 * 32, 2 * 32
    assert kernel.read_bytes == sum(min(table, taken // 3) for table in tables) + 2 * 40 + 2 * 32


@pytest.mark.parametrize("op", ["QAttention", "QGemm", "MatMulNBits"])
def test_shapes_are_found_in_files_of_old_operators(tmp_path: Path, op: str) -> None:
    case = next(one for one in CASES.values() if one[0] == op)
    work = counted(tmp_path, op, case[1], case[2], opset=12, **case[3])
    assert work.operations[0].outputs[0].shape == case[6]


def test_another_domain_with_the_same_names_is_not_known(tmp_path: Path) -> None:
    operands = [IMAGE, (F, 4, 6, 3, 3)]
    conv = counted(tmp_path, "Conv", NHWC, [LAST, operands[1]])
    assert conv.macs > 0
    with pytest.raises(Exception, match="is not known"):
        counted(tmp_path, "Conv", "com.example", operands)
