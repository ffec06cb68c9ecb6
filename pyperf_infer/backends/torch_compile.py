# SPDX-License-Identifier: Apache-2.0
"""PyTorch through `torch.compile`, called from the native loop as a user calls it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pyperf_infer.backends.compile_log import (
    cuda_graphs_skipped,
    frames_compiled,
    graph_breaks,
    graphs_compiled,
    last_recompile_reason,
    warnings_kept,
)
from pyperf_infer.backends.compiling import (
    compile_explained,
    compilers_end_with_this,
    fresh_inductor_cache,
    no_workers_left,
    try_instructions,
)
from pyperf_infer.backends.torch_cpu import cpu_autocast, cpu_module, cpu_tensor
from pyperf_infer.backends.torch_eager import PreparedTorch, TorchEager
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import UsageError
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.backends.base import Array, BackendOptions, Facts, PreparedBackend
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import Setting

_WITH_CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
MODES = ("default", *_WITH_CUDA_GRAPHS, "max-autotune-no-cudagraphs")


class TorchCompile(TorchEager):
    """Backend `torch-compile`.

    Raises:
        UsageError: a mode that torch.compile does not have, or that does not go with several streams.
        What TorchEager raises.
    """

    name: ClassVar[str] = "torch-compile"

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(options)
        mode = options.compile_mode
        if mode not in MODES:
            raise UsageError(f"torch.compile has no mode '{mode}'; it can be {', '.join(MODES)}")
        if options.streams > 1 and mode in _WITH_CUDA_GRAPHS:
            raise UsageError(
                f"--compile-mode {mode} puts the model into CUDA graphs, which keep their inputs and outputs in one "
                f"place, and {options.streams} streams would write there at once; use --streams 1, or --compile-mode "
                f"{'default' if mode == 'reduce-overhead' else 'max-autotune-no-cudagraphs'}"
            )

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedBackend:
        module = self._module_of(model)
        index = self._options.gpu_index
        compilation = Compilation(model.name, self._options.compile_mode, on_gpu=index is not None)
        try:
            if index is None:
                plain: PreparedBackend = self._on_cpu(model, module, inputs, compilation)
            else:
                from pyperf_infer.backends.torch_cuda import prepare_on_gpu

                plain = prepare_on_gpu(self.name, model, module, inputs, self._gpu, self._options, compilation)
        except BaseException:
            compilation.close()
            raise
        return PreparedTorchCompile(self.name, plain, compilation)

    def _on_cpu(
        self, model: LoadedModel, module: torch.nn.Module, inputs: Mapping[str, Array], compilation: Compilation
    ) -> PreparedTorch:
        options = self._options
        compiled = compilation.of(cpu_module(module, options, model.name))
        call = functools.partial(compiled, *(cpu_tensor(inputs[spec.name], options) for spec in model.inputs))
        with torch.inference_mode(), cpu_autocast(options):
            compilation.first_call(call)
        return PreparedTorch(model, compiled, inputs, options)


class Compilation:
    """A module that torch.compile has compiled, once its first call is over, and what became of it."""

    def __init__(self, model: str, mode: str, *, on_gpu: bool) -> None:
        import_module("torch._inductor.compile_fx")  # hundreds of modules, whose time is no compile's
        torch._dynamo.reset()  # what other models and batch sizes have left counts towards its limits
        self._model, self._mode = model, mode
        self._on_gpu, self._in_graphs = on_gpu, on_gpu and mode in _WITH_CUDA_GRAPHS
        self._folder = tempfile.TemporaryDirectory(prefix="pyperf-infer-", ignore_cleanup_errors=True)
        self._recompiled, self._watched_from = 0, list[int]()
        self.compile_s = 0.0
        self.breaks: tuple[str, ...] = ()
        self.settings: dict[str, Setting] = {}

    def of(self, module: torch.nn.Module) -> Any:
        """What stands in for the module: a module, or a function where CUDA graphs want one. It is not compiled yet."""
        compiled = torch.compile(module, mode=self._mode, dynamic=False)
        return _stepping(compiled) if self._in_graphs else compiled

    def first_call(self, call: Callable[[], object]) -> None:
        """Makes `call`, inside of which the module is compiled.

        Raises:
            BackendError: there is no compiler that works. OutOfMemoryError, MeasurementError: it fails otherwise.
        """
        graphs, skipped = graphs_compiled(), cuda_graphs_skipped()
        with (
            no_workers_left(),
            compilers_end_with_this(),
            captured_chatter(),
            fresh_inductor_cache(Path(self._folder.name)),
            graph_breaks() as breaks,
            compile_explained(self._model),
        ):
            if not self._on_gpu:
                try_instructions()
            with Stopwatch() as watch:
                call()
        self.compile_s = watch.ns / 1e9
        self.breaks = tuple(str(one) for one in breaks)
        self.settings = {
            "compile_mode": self._mode,
            "compile_cache": "fresh folder",
            "dynamic_shapes": False,
            "graphs": graphs_compiled() - graphs,
            "cuda_graphs": self._cuda_graphs(cuda_graphs_skipped() - skipped),
        }

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While the block runs, what torch.compile compiles counts as compiled again."""
        self._watched_from.append(frames_compiled())
        try:
            with warnings_kept():  # that it gave up after so many times, for one
                yield
        finally:
            self._recompiled += frames_compiled() - self._watched_from.pop()

    @property
    def recompiled(self) -> int:
        """How often something was compiled while `watched`, until now."""
        return self._recompiled + sum(frames_compiled() - begin for begin in self._watched_from)

    def close(self) -> None:
        torch._dynamo.reset()
        self._folder.cleanup()

    def _cuda_graphs(self, skipped: int) -> str:
        if self._mode not in _WITH_CUDA_GRAPHS:
            return "not asked for"
        if not self._on_gpu:
            return "none on the CPU"
        return f"skipped for {skipped} of the graphs" if skipped else "used"


def _stepping(compiled: Callable[..., object]) -> Callable[..., object]:
    """Says before each call that the outputs of the last one are done with.

    CUDA graphs write them over. Where some are still referred to, as with calls in flight, torch would otherwise take
    the call for a part of the same step and record another graph.
    """
    begin_step: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin

    def call(*inputs: torch.Tensor) -> object:
        begin_step()
        return compiled(*inputs)

    return call


class PreparedTorchCompile:
    """What runs the compiled module, and what compiling it took."""

    def __init__(self, backend: str, plain: PreparedBackend, compilation: Compilation) -> None:
        self._backend, self._plain, self._compilation = backend, plain, compilation

    @property
    def facts(self) -> Facts:
        compilation, facts = self._compilation, self._plain.facts
        recompiled = compilation.recompiled
        why = last_recompile_reason() if recompiled else None
        settings: dict[str, Any] = {
            **facts.settings, **compilation.settings, "recompiled": recompiled, "recompiled_because": why
        }  # fmt: skip
        return dataclasses.replace(
            facts,
            backend=self._backend,
            settings=settings,
            first_inference_warm=True,  # compiling has called it
            compile_s=compilation.compile_s,
            graph_breaks=len(compilation.breaks),
            graph_break_reasons=compilation.breaks,
        )

    @property
    def target(self) -> _core.Target:
        return self._plain.target

    def bind(self, inputs: Mapping[str, Array]) -> None:
        self._plain.bind(inputs)

    def outputs(self) -> dict[str, Array]:
        with captured_chatter(), compilers_end_with_this():  # another branch of the model may be compiled only here
            return self._plain.outputs()

    def measuring(self) -> AbstractContextManager[object]:
        return self._measuring()

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        with self._compilation.watched(), self._plain.measuring():
            yield

    def close(self) -> None:
        try:
            self._compilation.close()  # first, so that a GPU's memory that its graphs hold is given back with the rest
        finally:
            self._plain.close()
