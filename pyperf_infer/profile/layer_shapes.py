# SPDX-License-Identifier: Apache-2.0
"""What goes in and out of every layer, looked at in an inference of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.compiler import is_compiling

from pyperf_infer.profile.instrument import Call, Instrument
from pyperf_infer.profile.tensors import bytes_of, shapes_of, tensors_in

if TYPE_CHECKING:
    from pyperf_infer.profile.eager_model import EagerModel
    from pyperf_infer.profile.layers import Layer


@dataclass
class Seen:
    """Of one layer: the shapes of its first call that returned, and calls and output bytes of the inference."""

    inputs: list[list[int]]
    outputs: list[list[int]]
    calls: int = 0
    output_bytes: int = 0


@dataclass(frozen=True)
class Look:
    """`seen` is by the layer's number, in the order of first calls. `compiled` has the layers that torch.compile has
    taken into its code: what is put around their calls would be compiled with them, into other code than the model's.
    """

    seen: dict[int, Seen]
    compiled: set[int]


def look(model: EagerModel, layers: Sequence[Layer]) -> Look:
    """One inference. To be called inside of `model.running`."""
    seen: dict[int, Seen] = {}
    compiled: set[int] = set()

    def around(number: int, call: Call) -> Call:
        def looked_at(*args: Any, **kwargs: Any) -> Any:
            if is_compiling():  # a constant to the compiler, which makes adding to the set part of its code
                compiled.add(number)
                return call(*args, **kwargs)
            own = seen.setdefault(number, Seen([], []))
            is_first = own.calls == 0
            own.calls += 1
            if is_first:
                own.inputs = shapes_of(tensors_in((args, kwargs)))
            result = call(*args, **kwargs)
            tensors = tensors_in(result)
            if is_first:
                own.outputs = shapes_of(tensors)
            own.output_bytes += bytes_of(tensors)
            return result

        return looked_at

    with Instrument(layers, around).attached():
        model.whole(model.call)()
    return Look(seen, compiled)
