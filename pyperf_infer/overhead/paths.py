# SPDX-License-Identifier: Apache-2.0
"""One way of making a request, ready to be called: what it is, what it gives, and what it is timed through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pyperf_infer.overhead.blocks import Lane, LocalLane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer.backends.base import Array, Backend, PreparedBackend
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.overhead.plan import Runtime
    from pyperf_infer.results.schema import Setting

    Outs = Mapping[str, NDArray[Any]]
    Shapes = Mapping[str, tuple[int, ...]]

_Made = TypeVar("_Made")

NATIVE_LOOP, PYTHON_LOOP = "native", "native, Python callable"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What stands in the table of a path before anything is known of it. See results.overhead_schema.OverheadPath."""

    runtime: Runtime
    name: str
    does: str
    loop: str = PYTHON_LOOP
    process: Literal["own", "shared"] = "shared"
    same_code: bool = True
    is_baseline: bool = False  # the runtime's native loop, which the others are compared with


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every path is made for: one model at one batch size, and two sets of inputs."""

    model: LoadedModel
    shapes: Shapes
    first: Mapping[str, Array]
    second: Mapping[str, Array]
    seed: int  # that the first were drawn with; the second with the next


class CallPath(Protocol):
    """A path that is ready."""

    @property
    def lane(self) -> Lane:
        """What it is timed through, on the first inputs."""
        ...

    def outputs(self) -> tuple[Outs, Outs]:
        """On the first inputs and on the second, in the model's order; the first are in place afterwards."""
        ...

    def measuring(self) -> AbstractContextManager[object]:
        """What must hold while it is timed."""
        ...

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The effective value of what can be switched."""
        ...

    @property
    def remarks(self) -> list[str]:
        """What a reader of its row should know; to be asked after it was timed."""
        ...

    def close(self) -> None:
        """Frees what was made for this request."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A path that is to be made."""

    kind: Kind
    make: Callable[[Request], CallPath]


class BackendPath:
    """What a backend prepares, once it has converted the model."""

    def __init__(self, backend: Backend, request: Request) -> None:
        self._prepared: PreparedBackend = backend.prepare(request.model, request.first)
        self._request = request
        self._lane: Lane | None = None

    @property
    def lane(self) -> Lane:
        if self._lane is None:
            self._lane = LocalLane(self._prepared.target)
        return self._lane

    def outputs(self) -> tuple[Outs, Outs]:
        first = self._prepared.outputs()
        self._prepared.bind(self._request.second)
        second = self._prepared.outputs()
        self._prepared.bind(self._request.first)
        return first, second

    def measuring(self) -> AbstractContextManager[object]:
        return self._prepared.measuring()

    @property
    def settings(self) -> Mapping[str, Setting]:
        return self._prepared.facts.settings

    @property
    def remarks(self) -> list[str]:
        facts, settings = self._prepared.facts, self._prepared.facts.settings
        said = []
        if facts.graph_breaks:
            said.append(
                f"{facts.graph_breaks} graph break{'s' * (facts.graph_breaks != 1)}: "
                f"{'; '.join(facts.graph_break_reasons)}"
            )
        if settings.get("graphs") == 0:
            said.append("torch.compile made no graph of the model, which ran eagerly")
        if recompiled := settings.get("recompiled"):
            said.append(f"compiled {recompiled} times more while it was timed")
        if casts := settings.get("casts"):
            said.append(str(casts))
        for line in dict.fromkeys(facts.log):
            first = line.strip().partition("\n")[0]
            said.append(f"said while loading: {first}")
        return said

    def close(self) -> None:
        self._lane = None
        self._prepared.close()


class MeasuredAsItIs:
    """A base for paths that nothing must hold for, and that have nothing to say."""

    def measuring(self) -> AbstractContextManager[object]:
        return nullcontext()

    @property
    def remarks(self) -> list[str]:
        return []


class OnceARequest(Generic[_Made]):
    """What several paths of a request share. Where making it fails, each of them fails with the same error."""

    def __init__(self, make: Callable[[Request], _Made]) -> None:
        self._make = make
        self._last: tuple[Request, tuple[_Made] | Exception] | None = None

    def __call__(self, request: Request) -> _Made:
        if self._last is None or self._last[0] is not request:
            try:
                self._last = request, (self._make(request),)
            except Exception as error:
                self._last = request, error
        found = self._last[1]
        if isinstance(found, Exception):
            raise found
        return found[0]
