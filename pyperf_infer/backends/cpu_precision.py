# SPDX-License-Identifier: Apache-2.0
"""Which short types of numbers this CPU computes in by itself; the others would be emulated, and that timed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.system.cpu import features, model_name

# The kernel's names of the instructions, of which any one set computes in the type. Arm's scalar (fphp) and vector
# (asimdhp) arithmetic in float16 are named apart and come together.
_INSTRUCTIONS: Mapping[str, tuple[frozenset[str], ...]] = {
    "bfloat16": tuple(frozenset({name}) for name in ("avx512_bf16", "amx_bf16", "bf16")),
    "float16": (frozenset({"avx512_fp16"}), frozenset({"amx_fp16"}), frozenset({"fphp", "asimdhp"})),
}
_NAMED = {
    "bfloat16": "avx512_bf16 or amx_bf16 on x86, bf16 on Arm",
    "float16": "avx512_fp16 or amx_fp16 on x86, fphp and asimdhp on Arm",
}
# What oneDNN, whose kernels PyTorch calls, may be kept to: https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html
_ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
_ISAS_WITHOUT = {"bfloat16": _WITHOUT_BFLOAT16, "float16": _WITHOUT_BFLOAT16 | {"AVX512_CORE_BF16"}}


def check_instructions(precision: str, root: Path = Path("/")) -> tuple[str, ...]:
    """The instructions of this CPU for bfloat16 or float16, by the kernel's names.

    Raises:
        BackendError: it has none, or the system does not tell. UsageError: the environment keeps oneDNN from them.
    """
    has = features(root)
    named = _NAMED[precision]
    if not has:
        raise BackendError(
            f"whether this CPU computes in {precision} cannot be told, as {root / 'proc/cpuinfo'} lists no features; "
            "use --precision float32"
        )
    found = [one for one in _INSTRUCTIONS[precision] if one <= has]
    if not found:
        name = model_name(root) or "this CPU"
        raise BackendError(
            f"{name} has no instructions for {precision} ({named}), and emulating them is slower than float32; "
            "use --precision float32"
        )
    for variable in _ISA_LIMITS:
        limit = os.environ.get(variable, "").strip().upper()
        if limit in _ISAS_WITHOUT[precision]:
            raise UsageError(
                f"{variable}={limit} keeps oneDNN from this CPU's instructions for {precision}; unset it, or use "
                "--precision float32"
            )
    return tuple(sorted(name for one in found for name in one))


def isa_limit() -> str | None:
    """What the environment keeps oneDNN to."""
    return next((os.environ[name] for name in _ISA_LIMITS if os.environ.get(name)), None)
