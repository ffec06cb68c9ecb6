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
    optimized_path: str | None = None,
    cuda_graph: bool = False,
) -> OnnxSession:
    """Loads `model`, on a GPU on a stream of its own. Raises as OnnxSession."""
    on_gpu = options.gpu_index is not None
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
        optimized_path=optimized_path,
        device=options.gpu_index,
        cuda_graph=cuda_graph,
        use_tf32=options.precision == "tf32",
        conv_search=options.conv_search if on_gpu else "exhaustive",
        include_transfers=options.include_transfers,
        wait=options.wait,
        gate=options.gate,
    )
