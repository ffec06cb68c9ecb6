# SPDX-License-Identifier: Apache-2.0
"""Short types of numbers take a CPU with instructions for them; which are lacking is said. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.backends.cpu_precision import check_instructions
from pyperf_infer.errors import BackendError, UsageError

X86 = "processor\t: 0\nmodel name\t: Example 1000\nflags\t\t: fpu sse2 avx512f avx512bw {}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


def _machine(folder: Path, text: str) -> Path:
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc/cpuinfo").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("precision", "text", "expected"),
    [
        ("bfloat16", X86.format("avx512_bf16"), ("avx512_bf16",)),
        ("bfloat16", X86.format("amx_tile amx_bf16 avx512_bf16"), ("amx_bf16", "avx512_bf16")),
        ("bfloat16", ARM.format("fphp asimdhp bf16"), ("bf16",)),
        ("float16", X86.format("avx512_fp16"), ("avx512_fp16",)),
        ("float16", X86.format("amx_fp16"), ("amx_fp16",)),
        ("float16", ARM.format("fphp asimdhp"), ("asimdhp", "fphp")),
    ],
)
def test_what_computes_in_a_type_is_named(precision: str, text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    assert check_instructions(precision, _machine(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("precision", "text", "said"),
    [
        ("bfloat16", X86.format("avx512_fp16 f16c"), "Example 1000 has no instructions for bfloat16 (avx512_bf16"),
        ("float16", X86.format("avx512_bf16 f16c"), "Example 1000 has no instructions for float16 (avx512_fp16"),
        ("float16", ARM.format("fphp bf16"), "has no instructions for float16"),  # one of the two is not enough
        ("bfloat16", ARM.format("fphp asimdhp"), "part 0xd40 has no instructions for bfloat16"),
    ],
)
def test_a_cpu_without_is_refused_by_name(precision: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError) as refused:
        check_instructions(precision, _machine(tmp_path, text))
    assert said in str(refused.value)
    assert "--precision float32" in str(refused.value)


def test_a_system_that_does_not_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="proc/cpuinfo lists no features"):
        check_instructions("bfloat16", tmp_path)


@pytest.mark.parametrize(
    ("variable", "limit", "precision", "refused"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", "bfloat16", True),
        ("DNNL_MAX_CPU_ISA", "avx2", "bfloat16", True),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "float16", True),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "bfloat16", False),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16", "float16", False),
        ("ONEDNN_MAX_CPU_ISA", "ALL", "float16", False),
    ],
)
def test_an_environment_that_keeps_onednn_from_them_is_refused(
    variable: str, limit: str, precision: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, limit)
    machine = _machine(tmp_path, X86.format("avx512_bf16 avx512_fp16"))
    if not refused:
        assert check_instructions(precision, machine)
        return
    with pytest.raises(UsageError, match=f"{variable}={limit.upper()} keeps oneDNN from this CPU's .* {precision}"):
        check_instructions(precision, machine)


@given(st.lists(st.sampled_from(["avx2", "f16c", "avx512_bf16", "amx_bf16", "bf16", "avx512_fp16", "fphp", "asimdhp"])))
def test_what_is_named_is_there(has: list[str]) -> None:
    """Whatever a CPU has: the instructions named are of its own, and those of the type."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        machine = _machine(Path(folder), ARM.format(" ".join(has)))
        for precision, names in (("bfloat16", {"avx512_bf16", "amx_bf16", "bf16"}), ("float16", {"avx512_fp16"})):
            if names & set(has):
                found = set(check_instructions(precision, machine))
                assert found <= set(has)
                assert found & names
