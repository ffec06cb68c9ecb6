# SPDX-License-Identifier: Apache-2.0
"""A few inferences as a Chrome trace, for chrome://tracing or ui.perfetto.dev."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import msgspec
from torch.profiler import record_function

from pyperf_infer.profile.kineto import Recording, annotate, read_trace, recorded, why_not
from pyperf_infer.results.atomic import resolve_target, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pyperf_infer.profile.eager_model import EagerModel
    from pyperf_infer.profile.layers import Layer

INFERENCES = 3
WHAT = "PyTorch's operators and the layers around them, over time, of three inferences; opens in ui.perfetto.dev"


def write_trace(model: EagerModel, layers: Sequence[Layer], ran: Collection[int], path: Path) -> str | None:
    """Records inside of `model.running` and writes to `path`. Returns why there is no trace, None where there is.

    Raises:
        InputError: the file cannot be written.
    """
    if (reason := why_not()) is not None:
        return reason
    names = [layer.path or f"{layer.kind}, the whole model" for layer in layers]
    whole = model.whole(model.call)

    def run() -> None:
        for number in range(INFERENCES):
            with record_function(f"inference {number + 1}"):
                whole()

    recording = Recording(shapes=True, gpu=model.gpu_index is not None)
    with annotate(layers, names).attached():
        whole()  # the first call by another way is not like those after it
        reason = recorded(run, recording)
    if reason is not None:
        return reason
    data = recording.trace()
    try:
        found = {event.name for event in read_trace(data)}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"PyTorch's profiler wrote no JSON: {error}"
    if not found.issuperset(names[number] for number in ran):
        return "PyTorch's profiler left out layers that ran"
    write_atomically(resolve_target(path), data)
    return None
