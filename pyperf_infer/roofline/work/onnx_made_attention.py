# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for attentions: what comes out, and the caches of keys and values with the new tokens in them.

Caches are (batch, heads, tokens, width of a head). A cache that past and present share is as long as before. Where no
attribute or input tells that they do, ONNX Runtime does not know it of a file either: the present is a tensor of its
own then, longer by the new tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.roofline.work.onnx_made import Made, StandIn


def merged(like: int, *, past: int) -> StandIn:
    """Of one input: (batch, tokens, in) x (in, 3 x width), and of that the last width, the values'. The present is
    (2, batch, heads, tokens, width of a head)."""

    def make(made: Made) -> None:
        sizes = made.attribute("qkv_hidden_sizes")
        weight = made.sizes.get(made.input(1), ())
        width = int(sizes[2]) if sizes else int(weight[1]) // 3 if len(weight) == 2 else 0
        if not width:
            return
        projected = made.add("MatMul", [made.input(0), made.input(1)])
        made.cast_like(_slice(made, projected, 0, width, 2), made.input(like), made.output())
        if not made.output(1):
            return
        before = made.input(past)
        if before and made.attribute("past_present_share_buffer", 0):
            made.add("Identity", [before], made.output(1))
            return
        both = _slice(made, projected, 0, 2 * width, 2)
        apart = made.add("Reshape", [both, made.constant(0, 0, 2, int(made.attribute("num_heads")), -1)])
        turned = made.add("Transpose", [apart], perm=[2, 0, 3, 1, 4])
        new = made.cast_like(turned, made.input(like), None if before else made.output(1))
        if before:
            made.add("Concat", [before, new], made.output(1), axis=3)

    return make


def multi_head(made: Made) -> None:
    heads = int(made.attribute("num_heads"))
    if made.input(1) and made.input(2):
        # Values are (batch, tokens, width), or (batch, heads, tokens, width of a head) where they were kept.
        rank = len(made.sizes.get(made.input(2), ())) or 3
        if rank == 3:
            made.add("Einsum", [made.input(0), made.input(2)], made.output(), equation="bsh,blv->bsv")
            new = [_by_heads(made, made.input(place), heads) for place in (1, 2)]
        else:
            queries = made.add("Reshape", [made.input(0), made.constant(0, 0, heads, -1)])
            result = made.add("Einsum", [queries, made.input(2)], equation="bshd,bhlv->bshv")
            made.add("Reshape", [result, made.constant(0, 0, -1)], made.output())
            new = [made.input(1), made.input(2)]
    elif made.input(1):  # packed keys and values, whose width is the queries'
        made.add("Identity", [made.input(0)], made.output())
        new = [_by_heads(made, _slice(made, made.input(1), place, place + 1, 3), heads) for place in (0, 1)]
    else:  # (batch, tokens, heads, 3, width of a head)
        queries = _slice(made, made.input(0), 0, 1, 3)
        made.add("Reshape", [queries, made.constant(0, 0, -1)], made.output())
        new = [_by_heads(made, _slice(made, made.input(0), place, place + 1, 3), heads) for place in (1, 2)]
    for place, one in enumerate(new):
        _present(made, one, made.input(6 + place), made.output(1 + place), shared=bool(made.input(8)))


def grouped(made: Made) -> None:
    heads, shared_heads = int(made.attribute("num_heads")), int(made.attribute("kv_num_heads"))
    if made.input(1):
        made.add("Identity", [made.input(0)], made.output())
        new = [_by_heads(made, made.input(place), shared_heads) for place in (1, 2)]
    else:
        everything = heads + 2 * shared_heads
        apart = made.add("Reshape", [made.input(0), made.constant(0, 0, everything, -1)])
        queries = _slice(made, apart, 0, heads, 2)
        made.add("Reshape", [queries, made.constant(0, 0, -1)], made.output())
        starts = heads, heads + shared_heads
        new = [_by_heads(made, _slice(made, apart, start, start + shared_heads, 2), shared_heads) for start in starts]
    if made.attribute("kv_cache_bit_width", 0) == 4:  # two numbers in a byte
        new = [_slice(made, one, 0, 2**31 - 1, 3, 2) for one in new]
    shared = bool(made.attribute("sliding_window_cache", 0))
    for place, one in enumerate(new):
        _present(made, one, made.input(3 + place), made.output(1 + place), shared=shared)


def _present(made: Made, new: str, past: str, output: str, *, shared: bool) -> None:
    if not output:
        return
    if not past:
        made.add("Identity", [new], output)
    elif shared:
        made.add("Identity", [past], output)
    else:
        made.add("Concat", [past, made.cast_like(new, past)], output, axis=2)


def _by_heads(made: Made, name: str, heads: int) -> str:
    apart = made.add("Reshape", [name, made.constant(0, 0, heads, -1)])
    return made.add("Transpose", [apart], perm=[0, 2, 1, 3])


def _slice(made: Made, name: str, start: int, stop: int, axis: int, step: int = 1) -> str:
    bounds = [made.constant(number) for number in (start, stop, axis, step)]
    return made.add("Slice", [name, *bounds])
