# SPDX-License-Identifier: Apache-2.0
"""Exported ONNX files kept between runs.

An entry is a folder named by the hash of everything its content depends on. It is written under another name and
renamed when whole, so that no reader ever sees half of one, whenever the writer dies.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.convert import cache_folder
from pyperf_infer.convert.fingerprint import describe_export, key_of
from pyperf_infer.convert.half import half_copy
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.convert.export import ExportInfo
    from pyperf_infer.models.spec import LoadedModel

_MODEL = "model.onnx"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class CachedExport:
    """An exported file. `seconds` is what this call took; for a hit, next to nothing."""

    path: Path
    hit: bool
    seconds: float
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # in flatten_outputs' order


def cached_export(
    model: LoadedModel,
    *,
    opset: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    half: bool = False,
) -> CachedExport:
    """The ONNX file of `model`, exported unless an earlier run has left the same; `shapes` as in export_to_onnx.

    `half`: in float16, weights and inputs alike; the model given stays as it is.

    An entry that is damaged is rebuilt. Raises InputError where the export fails or the cache folder is of no use,
    naming PYPERF_INFER_CACHE_DIR.
    """
    if model.module is None:
        raise InputError(f"{model.name} is an ONNX file already; there is nothing to export.")
    start = time.perf_counter()
    description = describe_export(model, opset, shapes or {}, half=half)
    key = key_of(description)
    root = cache_folder.open_root()
    entry = root / key
    # A hit needs no lock: an entry under its own name is whole or damaged, never in the making.
    found = _read(entry, start)
    if found is not None:
        return found
    try:
        with cache_folder.locked(root, key):
            found = _read(entry, start)  # whoever held the lock before may have built it
            if found is not None:
                return found
            _build(root, entry, half_copy(model) if half else model, opset, shapes or {}, description)
            built = _read(entry, start, hit=False)
        cache_folder.evict(root, last_used=_last_used)
    except OSError as error:
        raise InputError(
            f"The ONNX file of {model.name} cannot be kept in {root}: {error.strerror or error}. "
            f"Free space there, or set {cache_folder.ENVIRONMENT_VARIABLE} to another folder."
        ) from error
    if built is None:
        raise InputError(
            f"The ONNX file of {model.name} was damaged while it was written to {entry}; is the disk sound?"
        )
    return built


def _build(
    root: Path,
    entry: Path,
    model: LoadedModel,
    opset: int | None,
    shapes: Mapping[str, tuple[int, ...]],
    description: Mapping[str, Any],
) -> None:
    from pyperf_infer.convert.export import export_to_onnx

    cache_folder.sweep(root)
    with cache_folder.temporary_folder(root) as temporary:
        info = export_to_onnx(model, temporary / _MODEL, opset=opset, shapes=shapes)
        _seal(temporary, info, description)
        # Two that build at once (a lock that timed out, a file system without locks): the first one stays.
        cache_folder.publish(temporary, entry, is_whole=lambda: _read(entry, 0.0) is not None)


def _seal(folder: Path, info: ExportInfo, description: Mapping[str, Any]) -> None:
    """Writes the manifest, the last file, and brings all to the disk before the rename makes them count."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = {
        "export": description,
        "opset": info.opset,
        "inputs": info.inputs,
        "outputs": info.outputs,
        "export_seconds": info.seconds,
        "sha256": {path.name: _sha256(path) for path in files},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for path in (*files, folder / _MANIFEST, folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(entry: Path, start: float, *, hit: bool = True) -> CachedExport | None:
    """The entry, or None where there is none or it is damaged.

    All of its content is checked: weights that rotted on the disk would be timed like any other. It takes less than
    loading them.
    """
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        if any(_sha256(entry / name) != sha256 for name, sha256 in manifest["sha256"].items()):
            return None
        inputs, outputs = tuple(manifest["inputs"]), tuple(manifest["outputs"])
        opset = int(manifest["opset"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    cache_folder.touch(entry / _MANIFEST)
    return CachedExport(entry / _MODEL, hit, time.perf_counter() - start, opset, inputs, outputs)


def _last_used(entry: Path) -> float:
    return (entry / _MANIFEST).stat().st_mtime


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
