# SPDX-License-Identifier: Apache-2.0
"""A fresh process that measures one ONNX model and says what it found, as a program::

    python -P -m pyperf_infer.selftest.floor_child MODEL SECONDS CONFIDENCE

It prints one JSON line: median_ns, interval_ns, samples.
"""

from __future__ import annotations

import json
import signal
import sys

import numpy as np

from pyperf_infer import timers


def main(model: str, seconds: float, confidence: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    session = timers.OnnxSession(model)
    generator = np.random.default_rng(42)
    shapes = {one.name: tuple(int(size or 1) for size in one.shape) for one in session.inputs}
    session.bind({name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()})
    # An interval so wide that time alone ends it: every process measures as long as the others, but one that was
    # starved, which goes on until it has samples enough to say anything.
    found = timers.measure(session, duration=seconds, max_duration=10 * seconds, ci=0.5, confidence=confidence)
    print(  # noqa: T201  the answer
        json.dumps({"median_ns": found.median_ns, "interval_ns": found.interval_ns, "samples": len(found.ns)})
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
