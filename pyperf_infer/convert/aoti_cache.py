# SPDX-License-Identifier: Apache-2.0
"""Models compiled by AOTInductor, kept between runs as the ONNX exports are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pyperf_infer.convert.fingerprint import describe_package
from pyperf_infer.convert.kept import Shelf, kept
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    import torch

    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import Setting

# Makes the module that is compiled, in the asked precision and memory format and on the asked device, and its example
# inputs in the model's order. Called only where a compile is needed.
Prepared: TypeAlias = "Callable[[], tuple[torch.nn.Module, tuple[torch.Tensor, ...]]]"

_PACKAGE = "model.pt2"
# Compiling takes minutes where exporting takes seconds.
_SHELF = Shelf("compiled", surroundings=("versions", "compiler", "cpu", "inductor_environment"), lock_timeout_s=1800.0)


@dataclass(frozen=True)
class CachedPackage:
    """A compiled model.

    `rebuilt`: why an entry of the cache that was there was not used, a clause such as "it is damaged: model.pt2 is not
    what was written" or "torch was 2.13.0 and is 2.14.1"; said once, since the next run finds the new entry.
    """

    path: Path
    hit: bool
    export_s: float | None  # None for a hit
    compile_s: float | None  # None for a hit
    outputs: tuple[str, ...]  # in convert.outputs.named_outputs' order, which is the package's
    rebuilt: str | None
    settings: Mapping[str, Setting]


def cached_package(
    model: LoadedModel,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    threads: int,
    precision: str,
    device: str,
    channels_last: bool,
    autocast: bool,
    prepared: Prepared,
) -> CachedPackage:
    """The package of `model` for exactly `shapes` (full shapes by input name), compiled unless one is there.

    An entry that is damaged is rebuilt. Several processes that ask for the same compile it once.

    Raises:
        What export_for_aoti and compile_to_package raise.
        InputError: the model is an ONNX file, or the cache folder is of no use, naming PYPERF_INFER_CACHE_DIR.
    """
    _refuse_onnx(model)
    description = describe_package(
        model,
        shapes,
        threads=threads,
        precision=precision,
        device=device,
        channels_last=channels_last,
        autocast=autocast,
    )

    def build(folder: Path) -> dict[str, Any]:
        return _make(model, folder / _PACKAGE, threads, device, prepared)

    entry = kept(_SHELF, f"The compiled model of {model.name}", description, build)
    return _package(entry.folder, entry.facts, hit=entry.hit, rebuilt=entry.rebuilt)


def compile_package(
    model: LoadedModel, folder: Path, *, threads: int, device: str, prepared: Prepared
) -> CachedPackage:
    """As cached_package, into `folder` and kept by nobody: for factories, whose code nothing can vouch for."""
    _refuse_onnx(model)
    facts = _make(model, folder / _PACKAGE, threads, device, prepared)
    return _package(folder, facts, hit=False, rebuilt=None)


def _make(model: LoadedModel, path: Path, threads: int, device: str, prepared: Prepared) -> dict[str, Any]:
    """What the manifest says of it: JSON's types alone."""
    from pyperf_infer.convert import aoti, aoti_export

    module, inputs = prepared()
    named = dict(zip((spec.name for spec in model.inputs), inputs, strict=True))
    exported = aoti_export.export_for_aoti(model.name, module, named)
    compiled = aoti.compile_to_package(model.name, exported.program, path, threads=threads, device=device)
    return {
        "export_s": exported.seconds,
        "compile_s": compiled.seconds,
        "outputs": list(exported.outputs),
        "settings": dict(compiled.settings),
    }


def _package(folder: Path, facts: Mapping[str, Any], *, hit: bool, rebuilt: str | None) -> CachedPackage:
    return CachedPackage(
        path=folder / _PACKAGE,
        hit=hit,
        export_s=None if hit else facts["export_s"],
        compile_s=None if hit else facts["compile_s"],
        outputs=tuple(facts["outputs"]),
        rebuilt=rebuilt,
        settings=facts["settings"],
    )


def _refuse_onnx(model: LoadedModel) -> None:
    if model.module is None:
        raise InputError(f"{model.name} is an ONNX file, which AOTInductor does not compile; use --backend onnxruntime")
