# SPDX-License-Identifier: Apache-2.0
"""Something put around every call of every layer, and taken away again.

Hooks would not do: modules such as nn.TransformerEncoderLayer look for them and leave their fast path where they find
any. An attribute `forward` of the object goes before that of its class, and nothing looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyperf_infer.profile.layers import Layer

Call = Callable[..., Any]


class Instrument:
    """`around(number, call)` makes what is called in place of `call`, for the layer of that number."""

    def __init__(self, layers: Sequence[Layer], around: Callable[[int, Call], Call]) -> None:
        # The attributes are written past __setattr__, which modules may define.
        self._places: list[tuple[dict[str, Any], str, Call]] = []
        self._before: list[tuple[bool, Any]] = []
        for number, layer in enumerate(layers):
            attributes = vars(layer.module)
            self._places.append((attributes, layer.entry, around(number, getattr(layer.module, layer.entry))))
            self._before.append((layer.entry in attributes, attributes.get(layer.entry)))
        self._is_attached = False

    def attach(self) -> None:
        self._is_attached = True
        for attributes, entry, call in self._places:
            attributes[entry] = call

    def detach(self) -> None:
        """Leaves every module as it was, however often it is called."""
        if not self._is_attached:
            return
        for (attributes, entry, call), (was_there, before) in zip(self._places, self._before, strict=True):
            if attributes.get(entry) is not call:  # the model has put another in its place, which stays
                continue
            if was_there:
                attributes[entry] = before
            else:
                del attributes[entry]
        self._is_attached = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        try:
            self.attach()
            yield
        finally:
            self.detach()
