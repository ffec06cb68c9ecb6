# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime in the native loop, with bound inputs and outputs."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pyperf_infer.backends.onnx_types import float_types, operators_without_bfloat16
from pyperf_infer.backends.prepared_session import OnnxFile, PreparedSession
from pyperf_infer.backends.provider import provider_named
from pyperf_infer.convert.half import half_copy, short_type
from pyperf_infer.errors import BackendError, InputError, UsageError
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
        self._converted: tuple[weakref.ref[LoadedModel], OnnxFile] | None = None  # the model at hand; one at a time
        self._folders: list[tempfile.TemporaryDirectory[str]] = []  # removed with this object

    @property
    def provider(self) -> str:
        """By its full name."""
        return self._provider

    def accepts(self, model: LoadedModel) -> bool:  # noqa: ARG002
        return True

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
        _refuse_options(self._options)
        if self._file_of(model) is not None:
            return None  # for another batch size: what is exported leaves the batch open
        if model.onnx_path is not None:
            self._converted = weakref.ref(model), self._given(model, model.onnx_path)
            return None
        with Stopwatch() as watch:
            if self._options.precision == "bfloat16":
                # What mostly ends here; only the few models that pass are worth an export in bfloat16.
                self._refuse_operators(model.name, self._export(model, shapes, "float32")[0].path)
            file, made_now = self._export(model, shapes, self._options.precision)
        self._converted = weakref.ref(model), file
        if not made_now:
            return None
        model.has_run = True  # the exporter calls it
        return watch.ns / 1e9

    def _given(self, model: LoadedModel, path: Path) -> OnnxFile:
        """A file of the user's, whose numbers are what they are."""
        short, types = short_type(self._options.precision), float_types(path)
        if short is not None and short not in types:
            half_copy(model, short)  # says why it cannot be
        if "bfloat16" in types:
            self._refuse_operators(model.name, path)
        return OnnxFile(path, {"float_types": ", ".join(sorted(types))}, types)

    def _refuse_operators(self, name: str, path: Path) -> None:
        """Raises BackendError where the provider lacks bfloat16 kernels; on a GPU, loading the model tells that."""
        if self._options.gpu_index is not None:
            return
        lacking = operators_without_bfloat16(path, self._provider)
        if lacking:
            named = ", ".join(f"{op_type} ({count})" for op_type, count in lacking.most_common())
            raise BackendError(
                f"{self._provider} of ONNX Runtime has no bfloat16 kernels for these operators of {name}: {named}; use "
                "--backend torch, or a model in float32"
            )

    def _export(
        self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]], precision: str
    ) -> tuple[OnnxFile, bool]:
        short = short_type(precision)
        types = frozenset({short or "float32"})
        if model.source == "factory" or short == "bfloat16":
            # Nothing tells whether any of the Python behind a factory has changed, so its export is not kept.
            from pyperf_infer.convert.export import export_to_onnx

            folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-")
            self._folders.append(folder)
            whole = model if short is None else half_copy(model, short)
            made = export_to_onnx(whole, Path(folder.name) / "model.onnx", opset=self._options.opset, shapes=shapes)
            return OnnxFile(made.path, {"opset": made.opset, "export_cached": False}, types), True
        from pyperf_infer.convert.cache import cached_export

        export = cached_export(model, opset=self._options.opset, shapes=shapes, half=short is not None)
        return OnnxFile(export.path, {"opset": export.opset, "export_cached": export.hit}, types), not export.hit

    def _file_of(self, model: LoadedModel) -> OnnxFile | None:
        if self._converted is None or self._converted[0]() is not model:
            return None
        return self._converted[1]

    def file_of(self, model: LoadedModel) -> OnnxFile:
        """What `prepare` loads. Raises InputError before `convert`."""
        file = self._file_of(model)
        if file is None:
            raise InputError(f"{model.name} has not been converted to ONNX")
        return file

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedSession:
        file = self.file_of(model)
        try:
            return PreparedSession(self.name, file, self._provider, self._options, inputs, cuda_graph=self.cuda_graph)
        except InputError as error:
            raise InputError(_explained(str(error), model.name)) from error


class OnnxRuntimeCudaGraph(OnnxRuntime):
    """Backend `onnxruntime-cudagraph`: the CUDA provider captures the model in a graph, and replays that."""

    name = "onnxruntime-cudagraph"
    cuda_graph = True


def _refuse_options(options: BackendOptions) -> None:
    if options.autocast:
        raise UsageError(
            "--autocast is PyTorch's, which chooses a type for every operator as it runs; an ONNX graph has its types "
            "in it. --precision float16 without it converts the whole model for ONNX Runtime"
        )
    if options.precision == "tf32" and options.gpu_index is None:
        raise UsageError("--precision tf32 is a mode of NVIDIA's matrix units; it takes --device cuda")
    if options.precision == "bfloat16" and options.gpu_index is not None:
        raise UsageError(
            "--precision bfloat16 is not for ONNX Runtime on a GPU: its CUDA provider has bfloat16 kernels for some "
            "operators only, and the others would run on the CPU. Use --backend torch, or --precision float16"
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
