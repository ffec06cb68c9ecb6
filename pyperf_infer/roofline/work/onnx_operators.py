# SPDX-License-Identifier: Apache-2.0
"""From an ONNX operator's name to its work: a formula of its own, or a family of those that compute alike."""

from __future__ import annotations

from collections.abc import Sequence

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, UNKNOWN, VIEW, Value, Work
from pyperf_infer.roofline.work.onnx_formulas import FORMULAS, Attributes, Operands
from pyperf_infer.roofline.work.onnx_fused import FUSED

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_VIEWS = frozenset(
    (
        "Constant ConstantOfShape Dropout Flatten Identity Range Reshape Shape Size Squeeze Unsqueeze "
        "OptionalGetElement"
    ).split()
)
_COPIES = frozenset(
    (
        "Cast CastLike CenterCropPad Concat DepthToSpace Expand EyeLike OneHot Pad RandomNormal RandomNormalLike "
        "RandomUniform RandomUniformLike ReverseSequence ScatterElements ScatterND SpaceToDepth Split Tile Transpose "
        "TensorScatter Trilu"
    ).split()
)
_ELEMENTWISE = frozenset(
    (
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu "
        "Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN "
        "LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuickGelu Reciprocal Relu Round "
        "Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"
    ).split()
)
_REDUCTIONS = frozenset(
    (
        "ArgMax ArgMin CumSum CumProd GlobalAveragePool GlobalMaxPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
        "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
    ).split()
)


def onnx_work(op: str, inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """Of one node. `op` is its type, with its domain in front where that is not ONNX's own."""
    fused = FUSED.get(op)
    if fused is not None:
        return fused(inputs, outputs, attributes)
    domain, _, name = op.rpartition(".")
    if domain not in ("", "com.microsoft"):  # whose operators may have the names of these and do something else
        return UNKNOWN
    formula = FORMULAS.get(name)
    if formula is not None:
        return formula(inputs, outputs, attributes)
    if name in _VIEWS:
        return VIEW
    if name in _COPIES:
        return COPY
    if name in _ELEMENTWISE:
        return formulas.elementwise(outputs[0].shape)
    first = next((one for one in inputs if one is not None), None)
    if first is not None and name in _REDUCTIONS:
        return formulas.reduction(first.shape)
    return UNKNOWN
