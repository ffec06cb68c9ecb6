# SPDX-License-Identifier: Apache-2.0
"""How much memory each layer needs at once: a pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from torch.profiler import record_function

from pyperf_infer.profile.instrument import Instrument
from pyperf_infer.profile.kineto import Recording, annotate, read_trace, recorded, why_not
from pyperf_infer.profile.memory_peaks import WHOLE, CudaLevels, Peaks, peaks_of, range_name

if TYPE_CHECKING:
    from pyperf_infer.profile.eager_model import EagerModel
    from pyperf_infer.profile.layers import Layer

INFERENCES = 3
BLOCK_NS = 10_000_000  # of calls between two switches: a recording of more takes long to end

_ON_CPU = (
    "what PyTorch's allocator for the CPU gave out, as its profiler records it, the largest of three inferences; "
    "memory that oneDNN, MKL and others take from the system for themselves is not seen"
)
_ON_GPU = "torch.cuda.max_memory_allocated, reset at every layer's begin and end, the largest of three inferences"


class MemoryMeter:
    """An instrument for memory. `inference` is one inference, to be called while it is on."""

    def __init__(self, model: EagerModel, layers: Sequence[Layer]) -> None:
        self._on_gpu = model.gpu_index is not None
        self.method = _ON_GPU if self._on_gpu else _ON_CPU
        self._peaks = Peaks()
        self._recording: Recording | None = None
        whole = model.whole(model.call)
        self.inference: Callable[[], object]
        if self._on_gpu:
            levels = CudaLevels(self._peaks)
            self._instrument = Instrument(layers, levels.around)
            self.inference = levels.around(None, whole)
        else:
            self._instrument = annotate(layers, [range_name(number) for number in range(len(layers))])

            def named() -> None:
                with record_function(WHOLE):
                    whole()

            self.inference = named

    def measure(self) -> Peaks:
        """Of a few inferences. To be called inside of `model.running`."""
        if not self._on_gpu and (missing := why_not()) is not None:
            return Peaks(missing=missing)
        with self._instrument.attached():
            self.inference()  # the first call by another way may make what stays
            if self._on_gpu:
                self._peaks.layers.clear()
                self._peaks.whole = None
                self._run()
                return self._peaks
            recording = Recording(memory=True)
            missing = recorded(self._run, recording)
        if missing is not None:
            return Peaks(missing=missing)
        try:
            return peaks_of(read_trace(recording.trace()))
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            return Peaks(missing=f"PyTorch's profiler wrote a trace that cannot be read: {error}")

    def _run(self) -> None:
        for _ in range(INFERENCES):
            self.inference()

    def on(self) -> None:
        self._instrument.attach()
        if not self._on_gpu:
            self._recording = Recording(memory=True)
            self._recording.start()

    def off(self) -> None:
        recording, self._recording = self._recording, None
        self._instrument.detach()
        if recording is not None:
            recording.stop()
