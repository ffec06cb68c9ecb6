# SPDX-License-Identifier: Apache-2.0
"""Prints the folder of cuda.h in the installed nvidia-cuda-runtime wheel (of any CUDA: the name may end in -cu12)."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path


def find() -> Path | None:
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13", "nvidia-cuda-runtime-cu12"):
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == "cuda.h" and (path := Path(str(file.locate()))).is_file():
                return path.parent
    return None


folder = find()
if folder is None:
    sys.exit("no nvidia-cuda-runtime wheel with cuda.h is installed")
print(folder)
