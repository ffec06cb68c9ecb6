# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model that AOTInductor has compiled, run through its C interface. Public as timers.AotiModel."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError, MeasurementError, OutOfMemoryError, UsageError
from pyperf_infer.timing.cuda import TIMEOUT_S, as_stream, open_gpu, parse_device
from pyperf_infer.timing.target import to_ns

if TYPE_CHECKING:
    # What these import takes time, which a script that never loads a compiled model need not wait for.
    from collections.abc import Iterator, Sequence

    import torch

    from pyperf_infer.aoti_inputs import Array, Layout
    from pyperf_infer.aoti_package import AotiPackage
    from pyperf_infer.timing.cuda import Wait

_CHECK_INPUTS = "AOTI_RUNTIME_CHECK_INPUTS"
_NO_MEMORY = re.compile(r"out of memory|bad_alloc|can't allocate|failed to allocate", re.IGNORECASE)
_GATE_TIMEOUT_NS = 500_000_000

# Checking an input changes an environment variable and standard error, of which a process has one each.
_checking = threading.Lock()


class AotiModel:
    """A model in a .pt2 package of AOTInductor, loaded without torch's loader and run without Python.

    A target for `timers.measure` and `timers.compare`. The compiled code calls the library of torch (2.9 or newer),
    which is imported for that. Tensors that are bound are used where they are. What a run allocates for its outputs is
    a part of the run; it is freed outside of the window of modes latency and cold.

    Compiled code is made for shapes, strides and types that it does not look at when it runs. With `check` they are
    compared, by that code's own checks, when tensors of a new kind are bound: a second copy of the library is loaded
    for that and runs once. That costs the package's size in temporary files until `close`, the weights once more in
    memory while it runs, and loading them. Meanwhile the process's standard error goes elsewhere and one variable of
    its environment is set, so that no other thread should run a compiled model for the first time. Without `check`
    inputs that do not fit give wrong numbers or end the process.

    Args:
        path: the .pt2 file.
        device: "cpu", "cuda" or "cuda:N": the one that the package was compiled for.
        stream: of the GPU, anything with ``__cuda_stream__`` (torch.cuda.Stream, `timers.CudaStream`); by default a new
            one.
        model_name: the model in the package.
        include_transfers: copy inputs in and outputs out with every call, through pinned memory; adds the quantities
            h2d and d2h.
        check: compare what is bound with what was compiled for.
        wait: "spin" or "block", as in `timers.on_stream`.
        gate: hold the stream back until a call of mode cold is queued.
        timeout: seconds after which a call on a GPU that has not ended is given up.

    Raises:
        InputError: no such file, no package, or one whose model cannot be run here or in this way; it says why.
        BackendError: no torch, one before 2.9, no GPU or driver, or a library that does not load.
        UsageError: options that contradict each other.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str = "cpu",
        stream: object | None = None,
        model_name: str = "model",
        include_transfers: bool = False,
        check: bool = True,
        wait: Wait = "spin",
        gate: bool = True,
        timeout: float = TIMEOUT_S,
    ) -> None:
        import shutil

        from pyperf_infer.aoti_inputs import torch_library
        from pyperf_infer.aoti_package import AotiPackage, private_folder

        index = parse_device(device)
        if index is None and (stream is not None or include_transfers):
            raise UsageError("a model on the CPU takes no stream and has no transfers; device='cuda' has")
        self.path = os.fspath(path)
        package = AotiPackage(self.path, model_name)
        if package.device != device.partition(":")[0]:
            raise InputError(f"{self.path} is compiled for device {package.device}, and {device} was asked for")
        self._torch_library = torch_library()
        self.stream = None if index is None else _open_stream(stream, device, package)
        self._device = "cpu" if self.stream is None else f"cuda:{self.stream.context.facts.ordinal}"
        self._plan = _plan(wait, include_transfers=include_transfers, gate=gate, timeout=timeout)
        self._transfers, self._check, self._unrelated = include_transfers, check, package.unrelated_sizes
        self._checking_library: str | None = None  # the copy that checks its inputs
        folder = private_folder()
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            self._library = package.extract(folder)
            self._cubins = folder if package.needs_folder else ""
            native = self._loaded(self._library)
            self._binding: _core.AotiTarget | _core.AotiStreamBinding | None = self._bound_to(native)
        except BaseException:
            self._remove_folder()
            raise
        self.inputs = tuple(native.input_names)
        self.outputs = tuple(native.output_names)
        self.create_ns = native.create_ns
        self.first_run_ns: int | None = None
        self._target: _core.Target | None = None  # made when inputs are bound
        self._checked: set[tuple[Layout, ...]] = set()
        if not check and not package.needs_folder:
            self._remove_folder()  # the library is loaded, and stays so without its file

    @property
    def target(self) -> _core.Target:
        """What the native loop runs: a `_core.AotiStreamTarget` on a GPU.

        Raises:
            UsageError: no inputs are bound yet, or the model is closed.
        """
        self._open()
        if self._target is None:
            raise UsageError("bind the inputs first: model.bind(tensor, ...)")
        return self._target

    def bind(self, *tensors: torch.Tensor | Array) -> None:
        """Takes the inputs, in the model's order. Tensors of torch are used in place and kept alive; arrays are copied.

        Raises:
            InputError: a wrong number of them; or one that is no dense tensor, is on another device or wants a
                gradient; or (with `check`) one of a type, shape or strides that the model was not compiled for.
            OutOfMemoryError: there is no memory for the check.
        """
        from pyperf_infer.aoti_inputs import describe, layout_of, take, wait_for_torch

        binding = self._open()
        if len(tensors) != len(self.inputs):
            known = f" ({', '.join(self.inputs)})" if self.inputs else ""
            raise InputError(f"{self.path} takes {len(self.inputs)} inputs{known}, and {len(tensors)} were given")
        names = [f"input {number} ({name})" for number, name in enumerate(self.inputs)]
        taken = [take(name, tensor, self._device) for name, tensor in zip(names, tensors, strict=True)]
        layouts = tuple(map(layout_of, taken))
        natives = list(map(describe, names, taken))
        if self.stream is not None:
            wait_for_torch(self._device)
        if self._check and layouts not in self._checked:
            self._try_out(natives, layouts)
            self._checked.add(layouts)
        binding.bind(natives)
        if isinstance(binding, _core.AotiTarget):
            self._target = binding
        elif self._target is None:
            self._target = _core.AotiStreamTarget([binding], self._plan)

    def run(self, *tensors: torch.Tensor | Array) -> list[Array]:
        """Runs, the first time twice, and returns copies of the outputs. Given inputs are bound first.

        Raises:
            UsageError: no inputs are bound yet, or the model is closed.
            MeasurementError: the model fails.
        """
        from pyperf_infer.aoti_inputs import as_array

        binding = self._open()
        if tensors:
            self.bind(*tensors)
        elif self._target is None and self.inputs:
            raise UsageError("bind the inputs first: model.bind(tensor, ...)")
        elif self._target is None:
            self.bind()
        if self.first_run_ns is None:
            begin = time.perf_counter_ns()
            binding.run()
            self.first_run_ns = time.perf_counter_ns() - begin
        return [as_array(dtype, shape, strides, data) for _, dtype, shape, strides, data in binding.outputs()]

    def close(self) -> None:
        """Lets go of the weights and the inputs; what is measured right now keeps them until it ends."""
        self._binding = self._target = None
        self._remove_folder()

    def _open(self) -> _core.AotiTarget | _core.AotiStreamBinding:
        if self._binding is None:
            raise UsageError(f"{self.path} is closed; load it again")
        return self._binding

    def _loaded(self, library: str) -> _core.AotiModel:
        try:
            return _core.AotiModel(library, self._torch_library, device=self._device, cubin_folder=self._cubins)
        except BackendError as error:
            raise _explained(self.path, error) from error

    def _bound_to(self, native: _core.AotiModel) -> _core.AotiTarget | _core.AotiStreamBinding:
        if self.stream is None:
            return _core.AotiTarget(native)
        timeout_ns = self._plan.timeout_ns
        return _core.AotiStreamBinding(native, self.stream, transfers=self._transfers, timeout_ns=timeout_ns)

    def _try_out(self, natives: list[_core.AotiTensor], layouts: tuple[Layout, ...]) -> None:
        """Runs the inputs through a copy of the library that looks at them.

        The code asks the environment once, in the first run of a library, whether to look; and the loader knows a
        library by its file. So the copy is another file, and what is timed is not told to look.
        """
        from pyperf_infer.aoti_package import copy_of

        sizes = {layouts[number].shape[dimension : dimension + 1] for number, dimension in self._unrelated}
        if len(self._unrelated) > 1 and len(sizes) > 1:
            raise InputError(
                f"{self.path} has open sizes in several places, and the torch that compiled it writes no code that "
                "compares them; compile it with a newer torch, or give them one size, or pass check=False"
            )
        if self._checking_library is None:
            self._checking_library = copy_of(self._library)
        try:
            with _checking, _environment(_CHECK_INPUTS, "1"), _standard_error() as said:
                checked = self._bound_to(self._loaded(self._checking_library))
                checked.bind(natives)
                checked.run()
        except MeasurementError as error:
            told = _first_line(said) or str(error)
            if isinstance(error, OutOfMemoryError) or _NO_MEMORY.search(told):
                raise OutOfMemoryError(f"there is no memory for checking the inputs of {self.path}: {told}") from error
            given = "; ".join(f"{name} is {layout}" for name, layout in zip(self.inputs, layouts, strict=True))
            raise InputError(f"{self.path} cannot run with these inputs: {self._named(told)} ({given})") from error

    def _named(self, told: str) -> str:
        def name(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"input {number} ({self.inputs[number]})" if number < len(self.inputs) else found[0]

        return re.sub(r"input_handles\[(\d+)\]", name, told)


def several_streams(models: Sequence[AotiModel]) -> _core.AotiStreamTarget:
    """One target over models on a GPU with inputs bound, each on a stream of its own, for mode throughput.

    It is timed as the first model wants it.

    Raises:
        UsageError: a model on the CPU, without inputs, or on another GPU than the rest.
    """
    bindings = []
    for model in models:
        binding = model._open()
        if isinstance(binding, _core.AotiTarget):
            raise UsageError(f"{model.path} runs on the CPU, which has no streams")
        if model._target is None:
            raise UsageError("bind the inputs of every model first")
        bindings.append(binding)
    if not bindings:
        raise UsageError("there is no model to run")
    return _core.AotiStreamTarget(bindings, models[0]._plan)


def _open_stream(stream: object | None, device: str, package: AotiPackage) -> _core.GpuStream:
    from pyperf_infer.aoti_inputs import prepare_gpu

    index = parse_device(device) or 0
    opened = _core.GpuStream(open_gpu(index)) if stream is None else as_stream(stream, index)
    facts = opened.context.facts
    if ":" in device and facts.ordinal != index:
        raise UsageError(f"the stream is on GPU {facts.ordinal}, and device {device} was given")
    package.refuse_other_gpu(facts.compute_major, facts.compute_minor)
    prepare_gpu(f"cuda:{facts.ordinal}")
    return opened


def _plan(wait: Wait, *, include_transfers: bool, gate: bool, timeout: float) -> _core.StreamPlan:
    timeout_ns = to_ns("timeout", timeout)
    return _core.StreamPlan(
        wait=wait,
        include_transfers=include_transfers,
        gate=gate,
        timeout_ns=timeout_ns,
        gate_timeout_ns=max(1, min(_GATE_TIMEOUT_NS, timeout_ns // 4)),
    )


def _explained(path: str, error: BackendError) -> BackendError | InputError:
    """What the loader says of a library, with what to do about it where that is known."""
    text = str(error)
    if "undefined symbol" in text:
        return BackendError(f"{path} was compiled with another torch than the installed one; compile it again ({text})")
    if "failed to map segment" in text:
        return InputError(
            f"{path} is unpacked where nothing may be run from; set TMPDIR to a folder on another file system ({text})"
        )
    return error


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _standard_error() -> Iterator[list[str]]:
    """Holds what native code of this process writes to standard error. Where the block fails, the list has the lines in
    the end; elsewhere they are written there after all.
    """
    import tempfile

    lines: list[str] = []
    with ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            terminal = os.dup(2)
        except OSError:  # nothing can be held, or there is no standard error
            yield lines
            return
        original = stack.enter_context(os.fdopen(terminal, "wb", buffering=0))
        os.dup2(held.fileno(), 2)
        try:
            yield lines
        except BaseException:
            os.dup2(original.fileno(), 2)
            held.seek(0)
            lines += held.read().decode(errors="replace").splitlines()
            raise
        os.dup2(original.fileno(), 2)
        held.seek(0)
        original.write(held.read())


def _first_line(lines: Sequence[str]) -> str:
    """That says what failed; others may have written to standard error too."""
    told = [line.removeprefix("Error: ").strip() for line in lines if line.startswith("Error: ")]
    return next((line for line in [*told, *lines] if line.strip()), "")
