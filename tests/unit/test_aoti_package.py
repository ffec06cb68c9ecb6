# SPDX-License-Identifier: Apache-2.0
"""Packages of AOTInductor: what is read from them, what is refused by name, and what unpacking leaves."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aoti_archives import CONSTRUCTOR, LIBRARY, model_files, write_archive
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.aoti_package import AotiPackage, copy_of, private_folder
from pyperf_infer.errors import InputError

DYNAMIC = """
    ss << "input_handles[0]: dim value is too small at 0, "
    ss << "input_handles[1]: dim value is too small at 0, "
    ss << "input_handles[1]: dim value is too large at 0, "
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.pt2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "unpacked"
    made.mkdir()
    return made


def package(path: Path, **options: Any) -> AotiPackage:
    return AotiPackage(write_archive(path, {"model": model_files(**options)}))


def cpuinfo(root: Path, flags: str) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    return root


# ---- what is read


@pytest.mark.parametrize("root", ["tiny/", "package/", ""])
def test_only_the_library_is_unpacked(path: Path, folder: Path, root: str) -> None:
    """Under any root folder, and, as torch before 2.8 wrote it, under none."""
    made = AotiPackage(write_archive(path, {"model": model_files(), "other": model_files()}, root=root))
    assert made.device == "cpu"
    assert not made.needs_folder
    library = Path(made.extract(str(folder)))
    assert library.read_bytes() == LIBRARY
    assert list(folder.iterdir()) == [library]


def test_the_files_that_a_library_opens_are_unpacked_beside_it(path: Path, folder: Path) -> None:
    made = package(path, triton_abc__cubin=b"kernel", script__ld="", c3__weights__o=b"object")
    assert made.needs_folder
    made.extract(str(folder))
    assert {file.name for file in folder.iterdir()} == {"c1.wrapper.so", "triton_abc.cubin"}


def test_the_asked_model_is_the_one_that_is_unpacked(path: Path, folder: Path) -> None:
    write_archive(path, {"encoder": model_files(), "decoder": model_files(library=b"the other")})
    library = AotiPackage(path, "decoder").extract(str(folder))
    assert Path(library).read_bytes() == b"the other"


def test_of_several_libraries_the_one_that_is_described_is_the_model(path: Path, folder: Path) -> None:
    """Triton's kernels for the CPU are libraries too."""
    made = package(path, triton_add__so=b"kernel")
    assert Path(made.extract(str(folder))).name == "c1.wrapper.so"
    assert made.needs_folder


def test_the_copy_of_a_library_is_another_file(path: Path, folder: Path) -> None:
    """The dynamic loader knows a library by device and inode."""
    library = Path(package(path).extract(str(folder)))
    copy = Path(copy_of(str(library)))
    assert copy.read_bytes() == LIBRARY
    assert copy.stat().st_ino != library.stat().st_ino


def test_a_folder_of_ones_own_is_closed_to_others() -> None:
    folder = private_folder()
    try:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    finally:
        shutil.rmtree(folder)


def test_open_sizes_that_the_code_does_not_compare_are_known(path: Path) -> None:
    assert package(path, text=DYNAMIC).unrelated_sizes == ((0, 0), (1, 0))


def test_open_sizes_that_the_code_compares_are_no_concern(path: Path) -> None:
    compared = DYNAMIC + 'assert_size_stride(arg4_1, {s23, 8L}, {8L, 1L}, "input");'
    assert package(path, text=compared).unrelated_sizes == ()
    other = DYNAMIC + 'assert_size_stride(buf3, {s23, 8L}, {8L, 1L}, "aten.topk");'
    assert package(path, text=other).unrelated_sizes == ((0, 0), (1, 0))


# ---- what is refused


def test_no_file(path: Path) -> None:
    with pytest.raises(InputError, match=r"tiny\.pt2: no such file"):
        AotiPackage(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; a package of AOTInductor is a \.pt2 file"):
        AotiPackage(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all", b"\x00" * 4096])
def test_no_zip(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is no \.pt2 package, or a damaged one .*aoti_compile_and_package"):
        AotiPackage(path)


def test_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    package(path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"tiny\.pt2 cannot be read: Permission denied"):
        AotiPackage(path)


@pytest.mark.parametrize("name", ["models__model.json", "serialized_exported_program.json"])
def test_a_program_that_is_exported_only(path: Path, name: str) -> None:
    write_archive(path, {}, **{name: "{}"})
    with pytest.raises(InputError, match="exported program that nobody has compiled yet; compile it with torch"):
        AotiPackage(path)


def test_weights_saved_by_torch(path: Path) -> None:
    write_archive(path, {}, data__pkl=b"")
    with pytest.raises(InputError, match="holds no model that AOTInductor has compiled"):
        AotiPackage(path)


def test_a_model_of_another_name(path: Path) -> None:
    write_archive(path, {"encoder": model_files(), "decoder": model_files()})
    with pytest.raises(InputError, match=r"no model 'model'; it has 'decoder', 'encoder' \(model_name=\.\.\.\)"):
        AotiPackage(path)


def test_sources_without_a_library(path: Path) -> None:
    files = {name: content for name, content in model_files().items() if not name.endswith(".so")}
    with pytest.raises(InputError, match=r"C\+\+ sources and no compiled library \(package_cpp_only\)"):
        AotiPackage(write_archive(path, {"model": files}))


def test_a_library_that_nothing_describes(path: Path) -> None:
    with pytest.raises(InputError, match=r"holds 1 libraries for model 'model', 0 with a description"):
        AotiPackage(write_archive(path, {"model": {"c1.so": LIBRARY}}))


@pytest.mark.parametrize("facts", [{"AOTI_DEVICE_KEY": "xpu"}, {"AOTI_DEVICE_KEY": "mps"}, {"AOTI_DEVICE_KEY": ""}])
def test_a_device_of_another_kind(path: Path, facts: dict[str, str]) -> None:
    device = facts["AOTI_DEVICE_KEY"] or "of no name"
    with pytest.raises(InputError, match=f"is compiled for device {device}; models for cpu and cuda"):
        package(path, facts=facts)


@pytest.mark.parametrize(
    ("key", "value"), [("AOTI_MACHINE", "riscv64"), ("AOTI_PLATFORM", "win32"), ("AOTI_PLATFORM", "darwin")]
)
def test_another_machine(path: Path, key: str, value: str) -> None:
    with pytest.raises(InputError, match=f"is compiled for {value}, and this is .*; compile it here"):
        package(path, facts={key: value})


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86's instructions")
@pytest.mark.parametrize(
    ("asked", "flags", "missing"),
    [
        ("AVX2", "sse2 avx avx2 fma", None),
        ("AVX2", "sse2 avx", "avx2, fma"),
        ("AVX512 AVX512_VNNI AMX_TILE", "avx512f avx512dq avx512vl avx512bw fma avx512_vnni", "amx_tile"),
        ("AVX512 AVX512_VNNI", "avx512f avx512dq avx512vl avx512bw fma avx512_vnni", None),
        ("AVX512", "avx512f avx512dq avx512vl fma", "avx512bw"),
        ("INVALID_VEC_ISA", "sse2", None),
        ("AVX512", "", None),  # the kernel does not tell
    ],
)
def test_instructions_that_this_cpu_lacks(
    path: Path, tmp_path: Path, asked: str, flags: str, missing: str | None
) -> None:
    write_archive(path, {"model": model_files(facts={"AOTI_CPU_ISA": asked})})
    root = cpuinfo(tmp_path, flags)
    if missing is None:
        assert AotiPackage(path, root=root).device == "cpu"
        return
    with pytest.raises(InputError, match=f"for a CPU with {asked.lower()}, and this one has no {missing}; compile"):
        AotiPackage(path, root=root)


@pytest.mark.parametrize(
    ("capability", "gpu", "runs"),
    [("90", (9, 0), True), ("80", (8, 6), True), ("86", (8, 0), False), ("80", (9, 0), False), ("120", (12, 0), True),
     ("", (9, 0), True), ("gfx942", (9, 0), True)],
)  # fmt: skip
def test_gpus_of_another_compute_capability(path: Path, capability: str, gpu: tuple[int, int], runs: bool) -> None:
    """A kernel runs on GPUs of its own major version from its minor one on; what is no number says nothing."""
    made = package(path, facts={"AOTI_DEVICE_KEY": "cuda", "AOTI_COMPUTE_CAPABILITY": capability})
    if runs:
        made.refuse_other_gpu(*gpu)
        return
    with pytest.raises(InputError, match=rf"compute capability {capability[:-1]}\.{capability[-1]}, and this one has"):
        made.refuse_other_gpu(*gpu)


def test_operators_of_the_proxy_executor_are_named(path: Path) -> None:
    nodes = [{"node": {"target": name}} for name in ("aten::_unique2", "aten::_unique2", "aten::_linalg_eigh")]
    named = "aten::_linalg_eigh, aten::_unique2"
    with pytest.raises(InputError, match=f"calls {named} through PyTorch's proxy executor.*aoti_load_package"):
        package(path, c1__wrapper__json=json.dumps({"nodes": nodes}))


@pytest.mark.parametrize(
    "nodes", ['{"nodes": 1}', '{"nodes": ["aten::a"]}', '{"nodes": [{}]}', '{"nodes": [{"node": 1}]}']
)
def test_a_list_of_operators_that_is_none(path: Path, nodes: str) -> None:
    with pytest.raises(InputError, match="has a list of operators that is none"):
        package(path, c1__wrapper__json=nodes)


def test_a_list_of_no_operators_is_no_reason(path: Path) -> None:
    assert package(path, c1__wrapper__json='{"nodes": []}').device == "cpu"


def test_torchbind_objects(path: Path) -> None:
    with pytest.raises(InputError, match=r"custom \(TorchBind\) objects"):
        package(path, custom_objs_config__json='{"queue": "custom_obj_0"}')


def test_weights_that_are_nowhere(path: Path) -> None:
    """torch's own loader ends the process when such a model runs."""
    with pytest.raises(InputError, match="has its weights not in its library, and only those in the library"):
        package(path, text=CONSTRUCTOR.format(constants=2, in_library="false"))


def test_weights_in_a_file_of_their_own(path: Path) -> None:
    with pytest.raises(InputError, match=r"has its weights in c1\.wrapper_weights\.blob"):
        package(path, **{"c1.wrapper_weights.blob": b"\x00"})


def test_a_model_without_weights_needs_none(path: Path) -> None:
    assert package(path, text=CONSTRUCTOR.format(constants=0, in_library="false")).device == "cpu"


@pytest.mark.parametrize("name", ["../../evil.so", "/etc/evil", "data/aotinductor/model/../../../evil.so", "a\\b"])
def test_entries_that_leave_the_folder(path: Path, name: str) -> None:
    package(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match="has an entry that leaves its folder"):
        AotiPackage(path)


def test_a_link_in_the_archive_is_written_as_a_plain_file(path: Path, folder: Path) -> None:
    package(path)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("tiny/data/aotinductor/model/kernel.cubin")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    AotiPackage(path).extract(str(folder))
    assert not (folder / "kernel.cubin").is_symlink()


def test_a_file_in_a_deeper_folder(path: Path) -> None:
    with pytest.raises(InputError, match=r"keeps 'kernels/a\.cubin' in a folder of its own"):
        _ = package(path, **{"kernels/a.cubin": b""}).needs_folder


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(path: Path) -> None:
    package(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiny/data/aotinductor/model/c1.wrapper.so", b"another")
    with pytest.raises(InputError, match="is damaged: it has two entries"):
        AotiPackage(path)


@pytest.mark.parametrize("content", ["{", "[]", b"\xff\xfe"])
def test_a_description_that_is_none(path: Path, content: bytes | str) -> None:
    files = {**model_files(), "c1.wrapper_metadata.json": content}
    with pytest.raises(InputError, match=r"is damaged: c1\.wrapper_metadata\.json"):
        AotiPackage(write_archive(path, {"model": files}))


def test_a_library_whose_bytes_have_changed(path: Path, folder: Path) -> None:
    made = package(path)
    content = path.read_bytes()
    assert content.count(LIBRARY) == 1
    path.write_bytes(content.replace(LIBRARY, LIBRARY[::-1]))
    with pytest.raises(InputError, match=r"damaged one .*CRC"):
        made.extract(str(folder))


def test_an_encrypted_entry(path: Path) -> None:
    package(path)
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")  # the directory, whose entries' flags stand at 8
    while first != -1:
        content[first + 8] |= 1
        first = content.find(b"PK\x01\x02", first + 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be unpacked \(.*encrypted"):
        AotiPackage(path)


@given(
    cut=st.integers(900, 1000),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_file_that_is_cut_or_overwritten_is_refused_or_right(
    tmp_path_factory: pytest.TempPathFactory, cut: int, changes: list[tuple[float, int]]
) -> None:
    """Whatever is damaged: an InputError, or the library as it was."""
    folder = tmp_path_factory.mktemp("damaged")
    path = write_archive(folder / "tiny.pt2", {"model": model_files()})
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[int(place * (len(content) - 1))] = byte
    path.write_bytes(content[: cut * len(content) // 1000])
    try:
        library = AotiPackage(path).extract(str(folder))
    except InputError:
        return
    assert Path(library).read_bytes() == LIBRARY


# ---- where nothing can be written


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    made = package(path)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InputError, match=r"tiny\.pt2 cannot be unpacked into .*: there is no room for .*set TMPDIR"):
        made.extract(str(folder))


def test_a_folder_that_is_gone(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be unpacked into .*gone: No such file or directory; set TMPDIR"):
        package(path).extract(str(tmp_path / "gone"))


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"no folder for the compiled model can be made: No such file.*set TMPDIR"):
        private_folder()
