# SPDX-License-Identifier: Apache-2.0
"""The files of a profile's folder, as the result lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.results.atomic import sha256_of
from pyperf_infer.results.profile_schema import ProfileFile

if TYPE_CHECKING:
    from pathlib import Path


def listed(folder: Path, name: str, what: str) -> ProfileFile:
    """One that has been written."""
    return ProfileFile(name=name, what=what, sha256=sha256_of(folder / name))
