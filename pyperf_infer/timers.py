# SPDX-License-Identifier: Apache-2.0
"""Low-level timers: what a custom script imports.

Samples are int64 nanoseconds, one call a sample: of `std::chrono::steady_clock`, and of the device's own clock for what
is measured on a GPU. Importing this module imports neither torch nor onnxruntime nor onnx, and needs no GPU.

>>> from pyperf_infer import timers
>>> samples = timers.measure(lambda: sum(range(1000)), duration=0.1, max_duration=0.2)
>>> samples.ns.dtype, samples.median_ns > 0
(dtype('int64'), True)
"""

from __future__ import annotations

from pyperf_infer.aoti_model import AotiModel
from pyperf_infer.ort_session import OnnxSession
from pyperf_infer.timing.comparison import Comparison, compare, compare_all
from pyperf_infer.timing.cuda import CudaStream, EventTimer, cuda_graph, gpu_count, on_stream
from pyperf_infer.timing.measurement import Measurement, measure
from pyperf_infer.timing.samples import Samples
from pyperf_infer.timing.stopwatch import Stopwatch

__all__ = [
    "AotiModel",
    "Comparison",
    "CudaStream",
    "EventTimer",
    "Measurement",
    "OnnxSession",
    "Samples",
    "Stopwatch",
    "compare",
    "compare_all",
    "cuda_graph",
    "gpu_count",
    "measure",
    "on_stream",
]
