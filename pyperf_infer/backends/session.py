# SPDX-License-Identifier: Apache-2.0
"""An ONNX Runtime session as the user's options want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.ort_session import OnnxSession

if TYPE_CHECKING:
    from pathlib import Path

    from pyperf_infer.backends.base import BackendOptions


def open_session(
    model: Path,
    options: BackendOptions,
    provider: str,
    *,
    library: Path | None = None,
    profile_prefix: str | None = None,
) -> OnnxSession:
    """Loads `model`. Raises as OnnxSession."""
    return OnnxSession(
        model,
        threads=options.threads,
        inter_op_threads=options.inter_op_threads,
        opt_level=options.opt_level,
        execution_mode=options.execution_mode,
        provider=provider,
        provider_options=options.provider_options,
        session_options=options.session_options,
        library=library,
        profile_prefix=profile_prefix,
    )
