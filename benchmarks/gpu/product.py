# SPDX-License-Identifier: Apache-2.0
"""The command line of the product, as a user runs it, and what its result document says."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu.common import last_lines

# 1: done, and outputs differ, a comparison is bad; its document is there and says so. 5: a row failed.
WITH_DOCUMENT = (0, 1, 4, 5)


def pyperf_infer(arguments: Sequence[str], *, timeout_s: float) -> dict[str, Any]:
    """The result document of `pyperf-infer run ...`.

    Raises:
        RuntimeError: it wrote none; with the end of what it said.
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-gpu-") as folder:
        results = Path(folder) / "results.json"
        start = "import sys; from pyperf_infer.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-P", "-c", start, *arguments, "-q", "--results-file", str(results)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode not in WITH_DOCUMENT or not results.exists():
            said = last_lines(done.stderr or done.stdout, 3)
            raise RuntimeError(f"pyperf-infer {' '.join(arguments)} ended with {done.returncode}: {said}")
        document: dict[str, Any] = json.loads(results.read_text())
    return document


def provider_of_onnxruntime() -> str | None:
    """None where the ONNX Runtime that the product finds has the CUDA provider beside it; else what is missing."""
    from pyperf_infer.errors import BackendError
    from pyperf_infer.ort_session import find_library

    try:
        library = find_library()
    except BackendError as error:
        return str(error)
    provider = library.with_name("libonnxruntime_providers_cuda.so")
    return None if provider.exists() else f"{library} has no {provider.name} beside it; give one with --ort-capi"
