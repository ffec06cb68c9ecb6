# SPDX-License-Identifier: Apache-2.0
"""What a PyTorch module must at least read, write and compute in one call: a bound that is never too high.

The module is run once, in the precision it is in, and every operator that it calls is looked at. Counted is only what
an operator is known to do whole: a weight counts where a convolution, a matrix product, a normalisation or a recurrent
layer reads it, not where an embedding looks up rows of it; memory that is read twice, or by two names, counts once.
What does not depend on the inputs does not count, as a compiler would work it out once. An operator that is not known
does not count either.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyperf_infer.roofline.convolution import WINOGRAD_SAVING, Convolution, FastAlgorithm
from pyperf_infer.roofline.least import LeastBytes, LeastFlops, LeastWork
from pyperf_infer.roofline.shadow import shadow
from pyperf_infer.roofline.tensors import (
    covered_bytes,
    distinct_bytes,
    extent,
    is_plain,
    storage_of,
    tensors_in,
    weak_reference,
)

# Operators, and those of their arguments that they read whole. In inference mode a dispatch mode sees them as they are
# written (linear, lstm), so the names do not depend on the device.
_READS: Mapping[str, tuple[str, ...]] = {
    "convolution": ("input", "weight", "bias"),
    "linear": ("input", "weight", "bias"),
    "mm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "mv": ("self", "vec"),
    "_int_mm": ("self", "mat2"),
    "layer_norm": ("input", "weight", "bias"),
    "group_norm": ("input", "weight", "bias"),
    "rms_norm": ("input", "weight"),
    "lstm": ("input", "data", "params"),
    "gru": ("input", "data", "params"),
    "rnn_tanh": ("input", "data", "params"),
    "rnn_relu": ("input", "data", "params"),
    "embedding": ("indices",),
    "embedding_bag": ("indices", "offsets"),
    # What PyTorch's attention and encoder layers call when nobody asks for gradients.
    "_native_multi_head_attention": (
        *("query", "key", "value", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias"),
    ),
    "_transformer_encoder_layer_fwd": (
        *("src", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias"),
        *("norm_weight_1", "norm_bias_1", "norm_weight_2", "norm_bias_2"),
        *("ffn_weight_1", "ffn_bias_1", "ffn_weight_2", "ffn_bias_2"),
    ),
}  # fmt: skip
# The same, of operators that a compiler may fold into the weights of a neighbour.
_FOLDABLE_READS: Mapping[str, tuple[str, ...]] = {
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var"),
    "instance_norm": ("input", "weight", "bias"),
    "_to_copy": ("self",),
    "clone": ("self",),
    **dict.fromkeys(("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"), ("self", "other")),
}
_PRODUCTS = {name: _READS[name] for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "_int_mm")}
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_ATTENTION = "scaled_dot_product_attention"

_WINOGRAD_NOTE = (
    f"convolutions of up to 3x3 at stride 1 count 1/{WINOGRAD_SAVING} of their FLOPs, as Winograd's F(4x4, 3x3) takes"
)
_LARGE_KERNEL_NOTE = "convolutions at stride 1 with larger kernels do not count, as FFT may save any share of them"
_ATTENTION_NOTE = "products of activations with a mask, or with the attention written out, do not count"


def least_work(
    module: nn.Module, inputs: Sequence[Tensor], *, compiled: bool = False, element_bytes: int | None = None
) -> LeastWork | None:
    """What `module(*inputs)` must at least do. Runs it once, in inference mode; None where that fails.

    On the meta device where that works, which computes nothing and leaves the module alone; else where the module is.

    `compiled`: something optimised the module as a whole, so weights that may be folded into others (of batch
    normalisation, of elementwise operators) do not count. `element_bytes`: the most that an element of a weight or an
    output takes, where it is kept in fewer bytes than the module has it in (2 under autocast).
    """
    on_meta = _attempt(lambda: _watch(*shadow(module, inputs), compiled, element_bytes))
    return on_meta or _attempt(lambda: _watch(module, inputs, compiled, element_bytes))


def _attempt(run: Callable[[], LeastWork]) -> LeastWork | None:
    try:
        return run()
    except Exception:  # whatever a module raises: then there is no bound, and no reason to end a run
        return None


def _watch(module: nn.Module, inputs: Sequence[Tensor], compiled: bool, element_bytes: int | None) -> LeastWork:
    watcher = _Watcher(module, inputs, compiled=compiled)
    with torch.inference_mode(), watcher:
        outputs = module(*inputs)
    return LeastWork(bytes=watcher.least_bytes(list(tensors_in(outputs)), element_bytes), flops=watcher.least_flops())


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of one call.

    A storage is known by its address (`_cdata`), which is its own as long as a weak reference to it is held.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], *, compiled: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._compiled = compiled
        self._inputs = {storage_of(tensor) for tensor in inputs if is_plain(tensor)}
        weights = (*module.parameters(), *module.buffers())
        self._weights = {storage_of(tensor) for tensor in weights if is_plain(tensor)} - self._inputs
        # Storages whose content depends on the inputs.
        self._dependent = {storage_of(tensor): weak_reference(tensor) for tensor in inputs if is_plain(tensor)}
        self._read: dict[int, set[tuple[int, int]]] = defaultdict(set)  # storage -> ranges of bytes
        self._item_bytes: dict[int, int] = {}
        self._total_macs = self._least_macs = 0
        self._precisions: set[str] = set()
        self._notes: dict[str, None] = {}  # in the order in which they came up

    def least_bytes(self, outputs: Sequence[Tensor], element_bytes: int | None) -> LeastBytes:
        written: dict[int, int] = {}
        for tensor in outputs:
            storage = storage_of(tensor) if is_plain(tensor) else None
            if storage is not None and storage not in self._inputs | self._weights:
                count = _kept(distinct_bytes(tensor), tensor.element_size(), element_bytes)
                written[storage] = max(count, written.get(storage, 0))
        read = {storage: covered_bytes(ranges) for storage, ranges in self._read.items()}
        return LeastBytes(
            weights=sum(_kept(read.get(at, 0), self._item_bytes.get(at, 1), element_bytes) for at in self._weights),
            inputs=sum(read.get(storage, 0) for storage in self._inputs),
            outputs=sum(written.values()),
        )

    def least_flops(self) -> LeastFlops:
        return LeastFlops(
            total=2 * self._total_macs,
            floor=2 * self._least_macs,
            precisions=frozenset(self._precisions),
            notes=tuple(self._notes),
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        known = name in _READS or name in _FOLDABLE_READS or name == _ATTENTION
        if not known:  # written in terms of others (conv2d, matmul, einsum)? They are seen then.
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)}
        given |= kwargs or {}
        tensors = list(tensors_in(tuple(given.values())))
        if any(self._depends(tensor) for tensor in tensors):
            for tensor in tensors_in(result):
                if is_plain(tensor):
                    self._dependent.setdefault(storage_of(tensor), weak_reference(tensor))
            if known and all(is_plain(tensor) for tensor in tensors):  # else it is not what its shape says it is
                self._note_macs(name, given, result)
                self._note_reads(name, given, result)
        return result

    def _depends(self, tensor: Tensor) -> bool:
        return is_plain(tensor) and storage_of(tensor) in self._dependent

    def _note_reads(self, name: str, given: Mapping[str, Any], result: Any) -> None:
        foldable = name in _FOLDABLE_READS
        sources = self._inputs if foldable and self._compiled else self._inputs | self._weights
        whole = (_FOLDABLE_READS if foldable else _READS).get(name, ())
        if name == "convolution" and not _convolution(given, result).needs_whole_weight:
            whole = ("input", "bias")
        for argument in whole:
            for tensor in tensors_in(given.get(argument)):
                storage = storage_of(tensor)
                filled = extent(tensor)
                if storage in sources and filled is not None:
                    self._read[storage].add(filled)
                    self._item_bytes[storage] = max(tensor.element_size(), self._item_bytes.get(storage, 1))

    def _note_macs(self, name: str, given: Mapping[str, Any], result: Any) -> None:
        if name == "convolution":
            macs, least = self._convolution(_convolution(given, result))
        elif name == "linear":
            macs = given["input"].numel() * math.prod(given["weight"].shape[:-1])
            least = self._unless_both_depend(given["input"], given["weight"], macs)
        elif name in _PRODUCTS:
            left, right = (given[argument] for argument in _PRODUCTS[name])
            macs = result.numel() * left.shape[-1]
            least = self._unless_both_depend(left, right, macs)
        elif name in _RECURRENT:
            macs = least = _recurrent_macs(given)
        elif name == _ATTENTION:
            macs, least = self._attention(given, result)
        else:
            return
        self._total_macs += macs
        self._least_macs += least
        operands = (given.get(argument) for argument in ("weight", *_PRODUCTS.get(name, ()), "params", "query"))
        self._precisions |= {str(tensor.dtype).removeprefix("torch.") for tensor in tensors_in(tuple(operands))}

    def _convolution(self, convolution: Convolution) -> tuple[int, int]:
        if convolution.fast_algorithm is FastAlgorithm.WINOGRAD:
            self._notes[_WINOGRAD_NOTE] = None
        elif convolution.fast_algorithm is FastAlgorithm.UNBOUNDED:
            self._notes[_LARGE_KERNEL_NOTE] = None
        return convolution.macs, convolution.least_macs

    def _attention(self, given: Mapping[str, Any], output: Tensor) -> tuple[int, int]:
        query, key, value = given["query"], given["key"], given["value"]
        queries, keys = query.shape[-2], key.shape[-2]
        each = math.prod(output.shape[:-2]) * (query.shape[-1] + value.shape[-1])
        if given.get("attn_mask") is not None:
            self._notes[_ATTENTION_NOTE] = None
            return each * queries * keys, 0
        if not given.get("is_causal", False):
            return each * queries * keys, each * queries * keys
        square = min(queries, keys)  # query i sees the keys up to i
        return each * queries * keys, each * (square * (square + 1) // 2 + (queries - square) * keys)

    def _unless_both_depend(self, left: Tensor, right: Tensor, macs: int) -> int:
        """Attention written out is a product of activations: where most of it is masked, a compiler may skip that."""
        if self._depends(left) and self._depends(right):
            self._notes[_ATTENTION_NOTE] = None
            return 0
        return macs


def _convolution(given: Mapping[str, Any], output: Tensor) -> Convolution:
    weight = given["weight"]
    dimensions = weight.dim() - 2

    def each(name: str) -> tuple[int, ...]:
        return tuple(given[name]) * (dimensions if len(given[name]) == 1 else 1)

    return Convolution(
        input=tuple(given["input"].shape),
        weight=tuple(weight.shape),
        output=tuple(output.shape),
        stride=each("stride"),
        padding=each("padding"),
        dilation=each("dilation"),
        transposed=given["transposed"],
    )


def _recurrent_macs(given: Mapping[str, Any]) -> int:
    """Every matrix of every layer and direction is applied once to every step of every sequence."""
    steps = given["data"] if "data" in given else given["input"]
    rows = steps.numel() // steps.shape[-1]
    return int(rows * sum(weight.numel() for weight in given["params"] if weight.dim() == 2))


def _kept(size: int, item_bytes: int, element_bytes: int | None) -> int:
    return size if element_bytes is None else size * min(item_bytes, element_bytes) // item_bytes
