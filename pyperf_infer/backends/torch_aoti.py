# SPDX-License-Identifier: Apache-2.0
"""PyTorch without Python: the module exported, compiled by AOTInductor, and run by the native loop."""

from __future__ import annotations

import contextlib
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from pyperf_infer.aoti_model import AotiModel, several_streams
from pyperf_infer.backends.base import Array, BackendOptions, Facts, PreparedBackend
from pyperf_infer.backends.compiling import compilers_end_with_this
from pyperf_infer.backends.torch_common import explained
from pyperf_infer.backends.torch_eager import TorchEager
from pyperf_infer.backends.torch_places import OnCpu, OnGpu, Place
from pyperf_infer.convert.aoti_cache import CachedPackage, cached_package, compile_package
from pyperf_infer.errors import InputError
from pyperf_infer.models.inputs import make_inputs

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import Setting

Shapes = Mapping[str, tuple[int, ...]]

_EXAMPLE_SEED = 0  # of the inputs that the export is traced with; no value of them is compiled in


class TorchAoti(TorchEager):
    """Backend `torch-aoti`. Packages are kept between runs, but for those of factories. Raises as TorchEager."""

    name: ClassVar[str] = "torch-aoti"

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(options)
        self._place: Place = OnCpu(options) if options.gpu_index is None else OnGpu(self._gpu, options)
        # Of the model and the shapes at hand, which are compiled in.
        self._made: tuple[weakref.ref[LoadedModel], Shapes, CachedPackage] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of a package that is not kept

    def convert(self, model: LoadedModel, shapes: Shapes) -> float | None:
        module = self._module_of(model)
        if self._package_of(model, shapes) is not None:
            return None
        self._made = None
        with compilers_end_with_this(), self._place.running():
            package = self._compiled(model, module, shapes)
        self._place.release()
        self._made = weakref.ref(model), dict(shapes), package
        return package.export_s

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedBackend:
        self._module_of(model)
        package = self.package_of(model, {name: array.shape for name, array in inputs.items()})
        return PreparedAoti(model, package, inputs, self._place, self._options)

    def package_of(self, model: LoadedModel, shapes: Shapes) -> CachedPackage:
        """What `prepare` loads. Raises InputError before `convert`."""
        package = self._package_of(model, shapes)
        if package is None:
            raise InputError(f"{model.name} has not been compiled for inputs of these shapes")
        return package

    def _package_of(self, model: LoadedModel, shapes: Shapes) -> CachedPackage | None:
        if self._made is None or self._made[0]() is not model or self._made[1] != dict(shapes):
            return None
        return self._made[2]

    def _compiled(self, model: LoadedModel, module: torch.nn.Module, shapes: Shapes) -> CachedPackage:
        options = self._options

        def prepared() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
            inputs = make_inputs(model.inputs, shapes, _EXAMPLE_SEED)
            return self._place.module(model, module), tuple(self._place.tensors(model, inputs))

        if model.source == "factory":
            # Nothing tells whether any of the Python behind a factory has changed, so its package is not kept.
            self._folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-", ignore_cleanup_errors=True)
            folder = Path(self._folder.name)
            return compile_package(model, folder, threads=options.threads, device=options.device, prepared=prepared)
        return cached_package(
            model,
            shapes=shapes,
            threads=options.threads,
            precision=options.precision,
            device=options.device,
            channels_last=options.channels_last,
            autocast=options.autocast,
            prepared=prepared,
        )


class PreparedAoti:
    """A compiled model with its input tensors; on a GPU one a stream."""

    def __init__(
        self, model: LoadedModel, package: CachedPackage, inputs: Mapping[str, Array], place: Place,
        options: BackendOptions,
    ) -> None:  # fmt: skip
        self._model, self._package, self._place, self._options = model, package, place, options
        self._models: list[AotiModel] = []
        self._joint: _core.Target | None = None  # over all streams, where there are several
        try:
            with explained(model.name), self._running():
                with self._named():
                    for number in range(options.streams):
                        self._models.append(self._loaded(number))
                self.bind(inputs)
                for one in self._models:
                    one.run()
                settings = self._settings()
        except BaseException:
            self.close()
            raise
        first = self._models[0]
        assert first.first_run_ns is not None  # noqa: S101  it has run
        self.facts = Facts(
            backend=TorchAoti.name,
            provider=None,
            loop="native",
            settings=settings,
            load_s=first.create_ns / 1e9,
            first_inference_ms=first.first_run_ns / 1e6,
            threads=torch.get_num_threads(),
            compile_s=package.compile_s,
        )

    @property
    def target(self) -> _core.Target:
        if len(self._open) == 1:
            return self._open[0].target
        if self._joint is None:
            self._joint = several_streams(self._open)
        return self._joint

    def bind(self, inputs: Mapping[str, Array]) -> None:
        with explained(self._model.name), self._running():
            for one in self._open:
                one.bind(*self._place.tensors(self._model, inputs))

    def outputs(self) -> dict[str, Array]:
        with explained(self._model.name), self._running():
            return dict(zip(self._package.outputs, self._open[0].run(), strict=True))

    def measuring(self) -> AbstractContextManager[object]:
        return self._running()

    def close(self) -> None:
        self._joint = None
        for one in self._models:
            one.close()
        self._models = []
        self._place.release()

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        # What the compiled code calls in libtorch looks at this thread's state, as it does in a server in C++.
        with torch.inference_mode(), self._place.running():
            yield

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Has a package that is refused be called by its model: its own path is in the cache, or gone by then."""
        try:
            yield
        except InputError as error:
            before, _, why = str(error).partition(f"{self._package.path} ")
            if before or not why:
                raise
            raise InputError(
                f"{self._model.name}, compiled by AOTInductor, {why}; --backend torch runs it as it is"
            ) from error

    def _loaded(self, number: int) -> AotiModel:
        options = self._options
        if options.gpu_index is None:
            # The package was compiled for the very inputs that are bound, so that they need no check.
            return AotiModel(self._package.path, check=False)
        from pyperf_infer.backends.torch_device import lane_stream

        return AotiModel(
            self._package.path,
            device=options.device,
            stream=lane_stream(options.gpu_index, number),
            include_transfers=options.include_transfers,
            check=False,
            wait=options.wait,
            gate=options.gate,
        )

    def _settings(self) -> dict[str, Setting]:
        return {
            **self._place.settings(),
            **self._package.settings,
            "package_cached": self._package.hit,
            "package_rebuilt": self._package.rebuilt,
        }

    @property
    def _open(self) -> list[AotiModel]:
        if not self._models:
            raise InputError("this compiled model is closed")
        return self._models
