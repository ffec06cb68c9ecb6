# SPDX-License-Identifier: Apache-2.0
"""Native, high-precision timing of PyTorch and ONNX Runtime inference.

Importing this package imports nothing else: ``pyperf_infer.timers`` is the public low-level API, and the command
line (``pyperf-infer``) is the rest.
"""

__version__ = "0.1.0"
