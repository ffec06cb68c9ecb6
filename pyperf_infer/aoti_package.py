# SPDX-License-Identifier: Apache-2.0
"""What is in a .pt2 package of AOTInductor, read without torch; refused where its model cannot be run without Python.

A package is a zip archive with a folder for each compiled model, `<name>/data/aotinductor/<model>/`: a shared library,
the C++ text that it was compiled from, what it was compiled for (`*_metadata.json`), the operators that it calls
through PyTorch's proxy executor (the library's name with .json), and a GPU's kernels. The layout is that of torch 2.9
to 2.15.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pyperf_infer.errors import InputError
from pyperf_infer.system import cpu
from pyperf_infer.units import format_bytes

_MEMBER = re.compile(r"(?:[^/]+/)?data/aotinductor/([^/]+)/(.+)")
_EXPORTED = re.compile(r"(?:[^/]+/)?(?:models/[^/]+\.json|serialized_exported_program\.json)")
# What the library was made from; it needs none of it when it runs.
_SOURCES = (".cpp", ".h", ".o", ".json", ".txt", ".ld", ".cmake", ".blob")
# The C++ text's own words for: the number of constants, and whether their values are in the library.
_CONSTANTS = re.compile(r"AOTInductorModelBase\(\s*\d+,\s*\d+,\s*(\d+),\s*device_str,[^,]*,\s*(true|false)\s*\)")
_OPEN_SIZE = re.compile(r"input_handles\[(\d+)\]: dim value is too (?:small|large) at (\d+)")
_CHECKS_SIZES = re.compile(r'assert_size_stride\([^;]*"input"\)')
_COMPILE = "compile it with torch._inductor.aoti_compile_and_package"
# As torch names vector instructions and the kernel does, where the two differ. "avx512" is compiled with these four.
_KERNEL_NAMES = {"avx2": ("avx2", "fma"), "avx512": ("avx512f", "avx512dq", "avx512vl", "avx512bw", "fma")}
_NO_VECTORS = "invalid_vec_isa"
_ANOTHER = "set TMPDIR to a folder that can be written"


class AotiPackage:
    """One model of a package, which was compiled for `device`: "cpu" or "cuda".

    Raises:
        InputError: the file is not there or no package, has no such model, or one for another machine; or the model
            cannot be run through its C interface. The message says which, and what to do.
    """

    def __init__(self, path: str | os.PathLike[str], model_name: str = "model", *, root: Path = Path("/")) -> None:
        self.path = os.fspath(path)
        self.model_name = model_name
        with self._opened() as archive:
            self._members = self._find(archive)
            self._library = self._find_library()
            stem = self._library.removesuffix(".so")
            facts = self._json(archive, f"{stem}_metadata.json")
            text = self._text(archive, f"{stem}.cpp")
            self._refuse_proxied(self._json(archive, f"{stem}.json"))
        self.device = str(facts.get("AOTI_DEVICE_KEY", ""))
        self.capability = str(facts.get("AOTI_COMPUTE_CAPABILITY", ""))
        self._refuse_other_machine(facts, root)
        self._refuse_missing_weights(text)
        self.unrelated_sizes = _unrelated_sizes(text)

    @property
    def needs_folder(self) -> bool:
        """Whether the library opens other files of its folder for as long as it is used: a GPU's kernels, say."""
        return any(name != self._library for name in self._needed())

    def extract(self, folder: str) -> str:
        """Writes the library and what it opens into `folder`, which is empty. Returns the library's path.

        Raises:
            InputError: the package is damaged, or the folder cannot be written: no space, no permission.
        """
        members = self._needed()
        with self._opened() as archive:
            for name, member in members.items():
                with archive.open(member) as source:
                    _write(self.path, source, Path(folder) / name, member.file_size)
        return str(Path(folder) / self._library)

    def refuse_other_gpu(self, major: int, minor: int) -> None:
        """Raises InputError where the model is compiled for GPUs of another compute capability than this one's."""
        if not self.capability.isdigit() or len(self.capability) < 2:
            return
        asked = int(self.capability[:-1]), int(self.capability[-1])
        if asked[0] != major or asked[1] > minor:
            raise InputError(
                f"{self.path} is compiled for GPUs of compute capability {asked[0]}.{asked[1]}, and this one has "
                f"{major}.{minor}; compile it on this machine"
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        path = Path(self.path)
        if path.is_dir():
            raise InputError(f"{path} is a folder; a package of AOTInductor is a .pt2 file")
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            with file, zipfile.ZipFile(file) as archive:
                yield archive
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error) as error:  # what damaged entries end in
            raise InputError(f"{path} is no .pt2 package, or a damaged one ({error}); {_COMPILE}") from error
        except (RuntimeError, NotImplementedError) as error:  # what zipfile says of encryption and other compressions
            raise InputError(f"{path} cannot be unpacked ({error}); {_COMPILE}") from error

    def _find(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        """The model's files by name."""
        models: dict[str, dict[str, zipfile.ZipInfo]] = {}
        for info in archive.infolist():
            if ".." in PurePosixPath(info.filename).parts or info.filename.startswith("/") or "\\" in info.filename:
                raise InputError(f"{self.path} has an entry that leaves its folder, {info.filename!r}; it is not used")
            found = _MEMBER.fullmatch(info.filename)
            if found is None or info.is_dir():
                continue
            files = models.setdefault(found[1], {})
            if found[2] in files:
                raise InputError(f"{self.path} is damaged: it has two entries {info.filename!r}; {_COMPILE}")
            files[found[2]] = info
        if not models:
            if any(map(_EXPORTED.fullmatch, archive.namelist())):
                raise InputError(f"{self.path} is an exported program that nobody has compiled yet; {_COMPILE}")
            raise InputError(f"{self.path} holds no model that AOTInductor has compiled; {_COMPILE}")
        if self.model_name not in models:
            names = ", ".join(repr(name) for name in sorted(models))
            raise InputError(f"{self.path} has no model {self.model_name!r}; it has {names} (model_name=...)")
        return models[self.model_name]

    def _find_library(self) -> str:
        libraries = [name for name in self._members if name.endswith(".so")]
        described = [name for name in libraries if f"{name.removesuffix('.so')}_metadata.json" in self._members]
        if len(described) == 1 and "/" not in described[0]:
            return described[0]
        if not libraries and any(name.endswith(".cpp") for name in self._members):
            raise InputError(
                f"{self.path} holds C++ sources and no compiled library (package_cpp_only); compile it without that"
            )
        raise InputError(
            f"{self.path} holds {len(libraries)} libraries for model {self.model_name!r}, {len(described)} with a "
            "description of what they were compiled for, where there should be one; compile it with torch 2.9 or newer"
        )

    def _needed(self) -> Mapping[str, zipfile.ZipInfo]:
        needed = {name: info for name, info in self._members.items() if not name.endswith(_SOURCES)}
        for name in needed:
            if "/" in name:
                raise InputError(
                    f"{self.path} keeps {name!r} in a folder of its own, where the model would not find it"
                )
        return needed

    def _refuse_proxied(self, nodes: Mapping[str, Any]) -> None:
        try:
            operators = sorted({str(node["node"]["target"]) for node in nodes.get("nodes", ())})
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path} has a list of operators that is none; {_COMPILE}") from error
        if "custom_objs_config.json" in self._members:
            raise InputError(
                f"{self.path} holds custom (TorchBind) objects, which only PyTorch's own loader makes; run it with "
                "torch._inductor.aoti_load_package"
            )
        if operators:
            raise InputError(
                f"{self.path} calls {', '.join(operators)} through PyTorch's proxy executor, which its C interface "
                "cannot make; run it with torch._inductor.aoti_load_package, or change the model"
            )

    def _refuse_other_machine(self, facts: Mapping[str, Any], root: Path) -> None:
        if self.device not in ("cpu", "cuda"):
            raise InputError(
                f"{self.path} is compiled for device {self.device or 'of no name'}; models for cpu and cuda can be run"
            )
        here = {"AOTI_PLATFORM": sys.platform, "AOTI_MACHINE": platform.machine()}
        for key, value in here.items():
            if facts.get(key, value) != value:
                raise InputError(f"{self.path} is compiled for {facts[key]}, and this is {value}; compile it here")
        missing = _missing_instructions(str(facts.get("AOTI_CPU_ISA", "")), cpu.features(root))
        if missing and platform.machine() in ("x86_64", "AMD64"):
            raise InputError(
                f"{self.path} is compiled for a CPU with {str(facts['AOTI_CPU_ISA']).lower()}, and this one has no "
                f"{', '.join(missing)}; compile it here"
            )

    def _refuse_missing_weights(self, text: str) -> None:
        found = _CONSTANTS.search(text)
        blobs = [name for name in self._members if name.endswith("_weights.blob")]
        if blobs or (found is not None and int(found[1]) > 0 and found[2] == "false"):
            where = f"in {blobs[0]}" if blobs else "not in its library"
            raise InputError(
                f"{self.path} has its weights {where}, and only those in the library can be used; compile it with "
                "aot_inductor.package_constants_in_so and without package_constants_on_disk_format"
            )

    def _json(self, archive: zipfile.ZipFile, name: str) -> Mapping[str, Any]:
        """Empty where there is no such file."""
        text = self._text(archive, name)
        try:
            value = json.loads(text or "{}")
        except ValueError as error:
            raise InputError(f"{self.path} is damaged: {name} is no JSON ({error}); {_COMPILE}") from error
        if not isinstance(value, dict):
            raise InputError(f"{self.path} is damaged: {name} holds no object; {_COMPILE}")
        return value

    def _text(self, archive: zipfile.ZipFile, name: str) -> str:
        info = self._members.get(name)
        return "" if info is None else archive.read(info).decode(errors="replace")


def private_folder() -> str:
    """The path of a new folder that nobody else may look into. It is the caller's to remove.

    Raises:
        InputError: there is no folder for temporary files, or it cannot be written.
    """
    try:
        return tempfile.mkdtemp(prefix="pyperf-infer-aoti-")
    except OSError as error:
        raise InputError(
            f"no folder for the compiled model can be made: {error.strerror or error}; {_ANOTHER}"
        ) from error


def copy_of(library: str) -> str:
    """Another file with the same content in the same folder. Returns its path; raises as `AotiPackage.extract`."""
    original = Path(library)
    copy = original.with_name(f"copy-{original.name}")
    with original.open("rb") as source:
        _write(library, source, copy, original.stat().st_size)
    return str(copy)


def _write(package: str, source: IO[bytes], path: Path, size: int) -> None:
    try:
        with path.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = f"there is no room for {format_bytes(size)}; free some"
            raise InputError(
                f"{package} cannot be unpacked into {path.parent.parent}: {free}, or {_ANOTHER}"
            ) from error
        raise InputError(
            f"{package} cannot be unpacked into {path.parent}: {error.strerror or error}; {_ANOTHER}"
        ) from error


def _unrelated_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """The open sizes, as (input, dimension), whose relations the code itself never compares. Older torch writes none of
    the checks that do, so that a model whose inputs share a batch size would read past the end of the smaller one.
    """
    if _CHECKS_SIZES.search(text):
        return ()
    return tuple(sorted({(int(number), int(dimension)) for number, dimension in _OPEN_SIZE.findall(text)}))


def _missing_instructions(asked: str, features: Collection[str]) -> list[str]:
    """What this CPU lacks of the instructions that torch names, by the kernel's names; nothing where that is silent."""
    if not features or asked.lower() == _NO_VECTORS:
        return []
    wanted = [name for word in asked.lower().split() for name in _KERNEL_NAMES.get(word, (word,))]
    return [name for name in wanted if name not in features]
