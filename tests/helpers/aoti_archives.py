# SPDX-License-Identifier: Apache-2.0
"""Made-up .pt2 packages, for what no compile on this machine gives. No torch."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# As torch writes it, for one constant whose values are in the library.
CONSTRUCTOR = """
    : AOTInductorModelBase(1,
                           1,
                           {constants},
                           device_str,
                           std::move(cubin_dir),
                           {in_library}) {{
"""
LIBRARY = b"\x7fELF of a kind"
FACTS = {
    "AOTI_DEVICE_KEY": "cpu",
    "AOTI_PLATFORM": sys.platform,
    "AOTI_MACHINE": platform.machine(),
    "AOTI_CPU_ISA": "INVALID_VEC_ISA",
    "AOTI_COMPUTE_CAPABILITY": "",
}


def model_files(
    *,
    facts: Mapping[str, Any] | None = None,
    text: str = CONSTRUCTOR.format(constants=1, in_library="true"),
    library: bytes = LIBRARY,
    **more: bytes | str,
) -> dict[str, bytes | str]:
    """What torch 2.14 puts into a model's folder. `more` by name, with "__" for a dot."""
    return {
        "c1.wrapper.cpp": text,
        "c2.kernel.cpp": "// kernels",
        "c1.wrapper_metadata.json": json.dumps({**FACTS, **(facts or {})}),
        "c2.kernel_metadata.json": json.dumps({**FACTS, **(facts or {})}),
        "c1.wrapper.so": library,
        **{name.replace("__", "."): content for name, content in more.items()},
    }


def write_archive(
    path: Path, models: Mapping[str, Mapping[str, bytes | str]], *, root: str = "tiny/", **others: bytes | str
) -> Path:
    """A zip of these models' files, and `others` beside them by name with "__" for a slash."""
    with zipfile.ZipFile(path, "w") as archive:
        for model, files in models.items():
            for name, content in files.items():
                archive.writestr(f"{root}data/aotinductor/{model}/{name}", content)
        archive.writestr(f"{root}archive_format", "pt2")
        for name, content in others.items():
            archive.writestr(root + name.replace("__", "/"), content)
    return path
