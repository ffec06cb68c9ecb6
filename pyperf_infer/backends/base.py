# SPDX-License-Identifier: Apache-2.0
"""What a backend is to the rest of the package."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray

from pyperf_infer import _core
from pyperf_infer.timing.cuda import Wait, parse_device

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import NodeAssignment, Setting

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """What the user asked of the backends; each takes what concerns it."""

    threads: int
    inter_op_threads: int = 1
    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    session_options: Mapping[str, str] = field(default_factory=dict)
    opt_level: str = "all"
    execution_mode: str = "sequential"
    allow_cpu_fallback: bool = False
    opset: int | None = None
    device: str = "cpu"  # or cuda, cuda:N
    precision: str = "float32"  # tf32, float16, bfloat16
    autocast: bool = False
    channels_last: bool = False
    conv_search: Literal["exhaustive", "heuristic"] = "exhaustive"
    streams: int = 1
    include_transfers: bool = False
    wait: Wait = "spin"
    gate: bool = True
    allow_eager_fallback: bool = False
    compile_mode: str = "default"  # of torch.compile: reduce-overhead, max-autotune, max-autotune-no-cudagraphs

    @property
    def gpu_index(self) -> int | None:
        """Of the GPU to run on; None on the CPU."""
        return parse_device(self.device)

    def stream_plan(self) -> _core.StreamPlan:
        """How work on a stream is timed."""
        return _core.StreamPlan(wait=self.wait, include_transfers=self.include_transfers, gate=self.gate)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a prepared backend says of itself. `load_s` is None where it runs the module that was loaded before."""

    backend: str
    provider: str | None
    loop: str
    settings: Mapping[str, Setting]
    load_s: float | None
    first_inference_ms: float
    first_inference_warm: bool = False
    providers: NodeAssignment | None = None
    log: tuple[str, ...] = ()  # what the backend warned of while loading
    threads: int | None = None  # in use after the first run; None where that cannot be asked
    compile_s: float | None = None  # None where nothing was compiled, or an earlier run had
    graph_breaks: int | None = None  # None where the backend does not trace
    graph_break_reasons: tuple[str, ...] = ()


class PreparedBackend(Protocol):
    """A model that is loaded, with inputs in place, and ready to be timed."""

    @property
    def facts(self) -> Facts:
        """What is known by now."""
        ...

    @property
    def target(self) -> _core.Target:
        """What the native loop runs, on the inputs bound last."""
        ...

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """Puts other inputs of the same shapes and types in place."""
        ...

    def outputs(self) -> dict[str, Array]:
        """Runs once and returns copies of the outputs, in the model's order."""
        ...

    def measuring(self) -> AbstractContextManager[object]:
        """What must hold while the loop runs."""
        ...

    def close(self) -> None:
        """Frees what was made for these inputs."""
        ...


class Backend(Protocol):
    """Prepares models. One object a run: it may keep what is the same for every batch size, such as an export."""

    name: ClassVar[str]

    def accepts(self, model: LoadedModel) -> bool:
        """Whether it can run models of this kind at all."""
        ...

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
        """Makes the form of the model that it loads. Returns the seconds taken, None where there is nothing to do."""
        ...

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedBackend:
        """Loads the model, binds the inputs and runs once.

        Raises:
            InputError, BackendError: a model, provider or option that it cannot use.
            OutOfMemoryError, or what `system.memory.is_out_of_memory` knows: it does not fit.
        """
        ...
