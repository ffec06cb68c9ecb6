# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime in the native loop, with bound inputs and outputs."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pyperf_infer.backends.assignment import assignment_of, check_assignment
from pyperf_infer.backends.base import Array, BackendOptions, Facts
from pyperf_infer.backends.provider import provider_named
from pyperf_infer.backends.session import open_session
from pyperf_infer.errors import InputError
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.ort_session import OnnxSession
    from pyperf_infer.results.schema import Setting


class OnnxRuntime:
    """Backend `onnxruntime`. Modules are exported, and the export kept between runs."""

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._provider = provider_named(options.provider)
        self._converted: tuple[weakref.ref[LoadedModel], _OnnxFile] | None = None  # the model at hand; one at a time
        self._folders: list[tempfile.TemporaryDirectory[str]] = []  # removed with this object

    def accepts(self, model: LoadedModel) -> bool:  # noqa: ARG002
        return True

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
        if self._file_of(model) is not None:
            return None  # for another batch size: what is exported leaves the batch open
        if model.onnx_path is not None:
            self._converted = weakref.ref(model), _OnnxFile(model.onnx_path, {})
            return None
        with Stopwatch() as watch:
            file, made_now = self._export(model, shapes)
        self._converted = weakref.ref(model), file
        if not made_now:
            return None
        model.has_run = True  # the exporter calls it
        return watch.ns / 1e9

    def _export(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> tuple[_OnnxFile, bool]:
        if model.source == "factory":
            # Nothing tells whether any of the Python behind a factory has changed, so its export is not kept.
            from pyperf_infer.convert.export import export_to_onnx

            folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-")
            self._folders.append(folder)
            made = export_to_onnx(model, Path(folder.name) / "model.onnx", opset=self._options.opset, shapes=shapes)
            return _OnnxFile(made.path, {"opset": made.opset, "export_cached": False}), True
        from pyperf_infer.convert.cache import cached_export

        export = cached_export(model, opset=self._options.opset, shapes=shapes)
        return _OnnxFile(export.path, {"opset": export.opset, "export_cached": export.hit}), not export.hit

    def _file_of(self, model: LoadedModel) -> _OnnxFile | None:
        if self._converted is None or self._converted[0]() is not model:
            return None
        return self._converted[1]

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedSession:
        file = self._file_of(model)
        if file is None:
            raise InputError(f"{model.name} has not been converted to ONNX")
        try:
            return PreparedSession(file, self._provider, self._options, inputs)
        except InputError as error:
            raise InputError(_explained(str(error), model.name)) from error


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


class _OnnxFile:
    def __init__(self, path: Path, settings: Mapping[str, Setting]) -> None:
        self.path = path
        self.settings = settings


class PreparedSession:
    """A session with its bound inputs and outputs."""

    def __init__(self, file: _OnnxFile, provider: str, options: BackendOptions, inputs: Mapping[str, Array]) -> None:
        self._session: OnnxSession | None = open_session(file.path, options, provider)
        session = self._session
        session.bind(inputs)
        assignment = assignment_of(session, file.path, options, provider, inputs)
        shape_nodes = check_assignment(assignment, file.path, provider, allow=options.allow_cpu_fallback)
        self.facts = Facts(
            backend=OnnxRuntime.name,
            provider=provider,
            loop="native",
            settings={
                "onnxruntime": session.version,
                "opt_level": options.opt_level,
                "execution_mode": options.execution_mode,
                "allow_cpu_fallback": options.allow_cpu_fallback,
                "shape_nodes_on_cpu": shape_nodes,
                "outputs_made_anew": ", ".join(session.unbound_outputs) or None,
                **file.settings,
                **{f"session:{key}": value for key, value in options.session_options.items()},
                **{f"provider:{key}": value for key, value in options.provider_options.items()},
            },
            load_s=session.create_ns / 1e9,
            first_inference_ms=session.first_run_ns / 1e6,
            providers=assignment.summary(),
            log=session.log,
        )

    @property
    def target(self) -> _core.Target:
        return self._open.target

    def bind(self, inputs: Mapping[str, Array]) -> None:
        self._open.bind(inputs)

    def outputs(self) -> dict[str, Array]:
        return self._open.run()

    def measuring(self) -> AbstractContextManager[object]:
        return nullcontext()

    def close(self) -> None:
        self._session = None  # the last reference: threads and arenas go with it

    @property
    def _open(self) -> OnnxSession:
        if self._session is None:
            raise InputError("this session is closed")
        return self._session
