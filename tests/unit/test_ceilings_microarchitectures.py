# SPDX-License-Identifier: Apache-2.0
"""What a core can do in a cycle: known where number and features agree, or features alone tell; otherwise nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyperf_infer.roofline.ceilings.microarchitectures import Identity, identify, read_identity, rows

AVX2 = frozenset({"avx2", "fma"})
AVX512 = AVX2 | {"avx512f"}
SERVER = AVX512 | {"avx512_fp16", "avx512_bf16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8"}


def intel(model: int, features: frozenset[str], family: int = 6) -> Identity:
    return Identity("GenuineIntel", family, model, features)


def amd(family: int, model: int, features: frozenset[str]) -> Identity:
    return Identity("AuthenticAMD", family, model, features)


@pytest.mark.parametrize(
    ("identity", "name", "float32", "float64"),
    [
        (intel(60, AVX2), "Haswell", 32, 16),
        (intel(79, AVX2), "Broadwell", 32, 16),
        (intel(158, AVX2), "Skylake, Kaby Lake, Coffee Lake or Comet Lake", 32, 16),
        (intel(106, AVX512), "Ice Lake server", 64, 32),
        (intel(140, AVX512), "Tiger Lake", 32, 16),
        (intel(167, AVX512), "Rocket Lake", 32, 16),
        (intel(143, SERVER), "Sapphire Rapids or Emerald Rapids", 64, 32),
        (intel(173, SERVER | {"amx_fp16"}), "Granite Rapids", 64, 32),
        (amd(23, 1, AVX2), "Zen or Zen+", 16, 8),
        (amd(23, 0x31, AVX2), "Zen 2", 32, 16),
        (amd(25, 0x01, AVX2), "Zen 3", 32, 16),
        (amd(25, 0x11, AVX512), "Zen 4", 32, 16),
        (amd(26, 0x02, AVX512), "Zen 5", 64, 32),
        (amd(26, 0x24, AVX512), "Zen 5 mobile", 32, 16),
        (Identity("0x41", 8, 0xD0C, frozenset({"asimd"})), "Neoverse N1", 16, 8),
        (Identity("0x41", 8, 0xD40, frozenset({"asimd", "sve"})), "Neoverse V1", 32, 16),
        (Identity("0x41", 8, 0xD49, frozenset({"asimd", "sve"})), "Neoverse N2", 16, 8),
        (Identity("0x41", 8, 0xD4F, frozenset({"asimd", "sve"})), "Neoverse V2", 32, 16),
    ],
)
def test_numbers_that_agree_with_the_features_are_believed(
    identity: Identity, name: str, float32: float, float64: float
) -> None:
    found = identify(identity)
    assert found.name == name
    assert found.flops_per_cycle("float32", "any fma") == float32
    assert found.flops_per_cycle("float64", "any fma") == float64


def test_a_clients_number_on_a_servers_features_is_not_believed() -> None:
    found = identify(intel(167, SERVER))
    assert found.name == "Sapphire Rapids, Emerald Rapids or Granite Rapids"
    assert found.flops_per_cycle("float32", "avx512 fma") == 64
    assert "the number of Rocket Lake, but the processor has amx_tile" in found.source
    assert "the number is not believed; amx_tile with avx512_fp16 is found on these alone" in found.source


def test_features_found_on_one_kind_alone_tell_it_where_the_number_is_new() -> None:
    found = identify(intel(250, SERVER))
    assert found.flops_per_cycle("bfloat16", "amx bf16") == 1024
    assert "model 250 is not in the table" in found.source


@pytest.mark.parametrize(
    "identity",
    [
        intel(167, AVX512 | {"avx_vnni", "avx512_bf16"}),  # contradicts, and other kinds have these too
        intel(143, AVX512),  # a server's number without a server's features
        intel(158, AVX512),
        intel(250, AVX512),
        intel(1, SERVER, family=19),  # a family that is not known may have other units
        amd(27, 1, AVX512),
        amd(25, 0xF0, AVX2),
        Identity("0x61", 8, 0x25, frozenset({"asimd"})),
        Identity(None, None, None, frozenset()),
    ],
)
def test_what_is_not_known_has_no_figures_and_says_why(identity: Identity) -> None:
    found = identify(identity)
    assert found.name is None
    assert found.flops_per_cycle("float32", "avx512 fma") is None
    assert "not in the table" in found.source or "is not believed" in found.source


@pytest.mark.parametrize("model", [85, 108, 151])
def test_kinds_whose_cores_differ_have_a_name_and_no_figures(model: int) -> None:
    found = identify(intel(model, AVX2 if model == 151 else AVX512))
    assert found.name is not None
    assert found.flops_per_cycle("float32", "avx512 fma") is None


def test_instructions_decide_between_tiles_and_vectors() -> None:
    found = identify(intel(143, SERVER))
    assert found.flops_per_cycle("int8", "amx int8") == 2048
    assert found.flops_per_cycle("int8", "avx512 vnni") == 256
    assert found.flops_per_cycle("float16", "avx512 fp16") == 128
    assert found.flops_per_cycle("bfloat16", "avx512 bf16") is None


def test_every_row_has_a_source_and_no_number_stands_in_two() -> None:
    assert all(len(row.source) > 20 for row in rows())
    numbers = [(row.vendor, row.family, model) for row in rows() for model in row.models]
    assert len(numbers) == len(set(numbers)) > 50
    for row in rows():
        float32, float64 = (row.flops_per_cycle.get(name) for name in ("float32", "float64"))
        assert (float32 is None and float64 is None) or float32 == 2 * (float64 or 0)
        assert not row.requires & row.forbids
        assert row.only_here <= row.requires


def test_the_kernels_words_are_read(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 167\nflags\t\t: fma avx2 amx_tile\n"
    )
    assert read_identity(tmp_path) == intel(167, frozenset({"fma", "avx2", "amx_tile"}))
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n"
    )
    assert read_identity(tmp_path) == Identity("0x41", 8, 0xD0C, frozenset({"fp", "asimd"}))
    assert identify(read_identity(tmp_path / "nowhere")).name is None
