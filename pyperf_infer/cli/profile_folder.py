# SPDX-License-Identifier: Apache-2.0
"""The folder that a profile is written to: empty at the beginning, and gone again where nothing came of it."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.results.atomic import explained

DOCUMENT, PAGE = "profile.json", "profile.md"
_OWN = re.compile(r"(profile\.(json|md)|(torch|onnxruntime)-.*)", re.IGNORECASE)  # names that profiles use
_LONGEST_NAME = 80


class ProfileFolder:
    """Where the files go.

    Raises:
        InputError: it cannot be made, or holds files already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = not path.exists()
        with explained("make the folder", path):
            path.mkdir(parents=True, exist_ok=True)
            held = sorted(one.name for one in path.iterdir())
        if held:
            raise InputError(
                f"The folder {str(path)!r} is not empty (it holds {held[0]!r}), and a profile's files would mix with "
                "others. Name another --output-dir, or empty this one."
            )

    @property
    def files(self) -> list[str]:
        """Names of what is in it."""
        return sorted(one.name for one in self.path.iterdir()) if self.path.is_dir() else []

    def refuse(self, results_file: Path | None) -> None:
        """Raises UsageError where `results_file` is one of the profile's own files."""
        if results_file is None or results_file.resolve().parent != self.path.resolve():
            return
        if _OWN.fullmatch(results_file.name):
            raise UsageError(
                f"--results-file {results_file} is a name that the profile uses in its folder; name another"
            )

    def remove_if_empty(self) -> None:
        """Where this object has made it and nothing was written."""
        if self._made:
            with suppress(OSError):  # not empty, or gone
                self.path.rmdir()


def default_folder(model: str, now: datetime) -> Path:
    """`resnet18-profile-20261125-093000` in the working directory: no path and no colon of the model's name is left."""
    name = Path(model).stem if model.endswith((".onnx", ".yaml", ".yml")) else model
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_LONGEST_NAME] or "model"
    return Path(f"{plain}-profile-{now:%Y%m%d-%H%M%S}")
