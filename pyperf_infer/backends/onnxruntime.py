# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime in the native loop, with bound inputs and outputs."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pyperf_infer.backends.prepared_session import OnnxFile, PreparedSession
from pyperf_infer.backends.provider import provider_named
from pyperf_infer.convert.half import half_copy
from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.models.spec import LoadedModel


class OnnxRuntime:
    """Backend `onnxruntime`. Modules are exported, and the export kept between runs."""

    name: ClassVar[str] = "onnxruntime"
    cuda_graph: ClassVar[bool] = False

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._provider = provider_named(options.provider, options.device)
        self._half = options.precision == "float16"
        self._converted: tuple[weakref.ref[LoadedModel], OnnxFile] | None = None  # the model at hand; one at a time
        self._folders: list[tempfile.TemporaryDirectory[str]] = []  # removed with this object

    def accepts(self, model: LoadedModel) -> bool:  # noqa: ARG002
        return True

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
        _refuse_precision(self._options)
        if self._file_of(model) is not None:
            return None  # for another batch size: what is exported leaves the batch open
        if model.onnx_path is not None:
            if self._half:
                half_copy(model)  # says why it cannot be
            self._converted = weakref.ref(model), OnnxFile(model.onnx_path, {})
            return None
        with Stopwatch() as watch:
            file, made_now = self._export(model, shapes)
        self._converted = weakref.ref(model), file
        if not made_now:
            return None
        model.has_run = True  # the exporter calls it
        return watch.ns / 1e9

    def _export(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> tuple[OnnxFile, bool]:
        if model.source == "factory":
            # Nothing tells whether any of the Python behind a factory has changed, so its export is not kept.
            from pyperf_infer.convert.export import export_to_onnx

            folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-")
            self._folders.append(folder)
            whole = half_copy(model) if self._half else model
            made = export_to_onnx(whole, Path(folder.name) / "model.onnx", opset=self._options.opset, shapes=shapes)
            return OnnxFile(made.path, {"opset": made.opset, "export_cached": False}), True
        from pyperf_infer.convert.cache import cached_export

        export = cached_export(model, opset=self._options.opset, shapes=shapes, half=self._half)
        return OnnxFile(export.path, {"opset": export.opset, "export_cached": export.hit}), not export.hit

    def _file_of(self, model: LoadedModel) -> OnnxFile | None:
        if self._converted is None or self._converted[0]() is not model:
            return None
        return self._converted[1]

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedSession:
        file = self._file_of(model)
        if file is None:
            raise InputError(f"{model.name} has not been converted to ONNX")
        try:
            return PreparedSession(self.name, file, self._provider, self._options, inputs, cuda_graph=self.cuda_graph)
        except InputError as error:
            raise InputError(_explained(str(error), model.name)) from error


class OnnxRuntimeCudaGraph(OnnxRuntime):
    """Backend `onnxruntime-cudagraph`: the CUDA provider captures the model in a graph, and replays that."""

    name = "onnxruntime-cudagraph"
    cuda_graph = True


def _refuse_precision(options: BackendOptions) -> None:
    if options.autocast:
        raise UsageError(
            "--autocast is PyTorch's, which chooses a type for every operator as it runs; an ONNX graph has its types "
            "in it. --precision float16 without it converts the whole model for ONNX Runtime"
        )
    if options.precision == "bfloat16":
        raise UsageError(
            "--precision bfloat16 is not for ONNX Runtime: its CUDA provider has bfloat16 kernels for some operators "
            "only, and the others would run on the CPU. Use --backend torch, or --precision float16"
        )


def _explained(message: str, model: str) -> str:
    """ONNX Runtime's own words, but for what it takes a paragraph of C++ to say."""
    too_new = re.search(r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)", message, re.DOTALL)
    if too_new:
        opset, domain, newest = too_new.groups()
        return (
            f"{model} uses opset {opset} of {domain}, and this ONNX Runtime knows up to {newest}. "
            "Upgrade onnxruntime, or export the model with an older opset."
        )
    if re.search("No Op registered|is not a registered function/op|Could not find an implementation", message):
        return f"{model}: {message.strip()}. Upgrade onnxruntime, or export the model without this operator."
    return message if model in message else f"{model}: {message}"
