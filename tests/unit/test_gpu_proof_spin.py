# SPDX-License-Identifier: Apache-2.0
"""The kernels that tell the time on the device compile for the devices there are; NVRTC needs no GPU for that."""

from __future__ import annotations

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from gpu.spin import compile_spin


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"])
def test_the_kernels_compile(architecture: str) -> None:
    try:
        code = compile_spin(architecture).code
    except RuntimeError as error:
        if "cuda.core, which does not load" not in str(error) and "could not be found" not in str(error):
            raise
        pytest.skip(f"no NVRTC here: {error}")
    assert code.startswith(b"\x7fELF")
    for kernel in (b"spin", b"wall_clock_steps"):
        assert kernel in code
