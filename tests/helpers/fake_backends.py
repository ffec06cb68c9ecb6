# SPDX-License-Identifier: Apache-2.0
"""Backends that do nothing, fail, or run out of memory, and a run of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import pytest

from pyperf_infer import _core
from pyperf_infer.backends.base import BackendOptions, Facts
from pyperf_infer.errors import InputError
from pyperf_infer.measure import run as module
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.measure.run import Run
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo

Array = np.ndarray[Any, Any]
Action = Callable[[int], object]  # called with the batch size
MakeTarget = Callable[[Callable[[], object]], _core.Target]


def a_little(_: int) -> None:
    """Some microseconds: of calls that take none there are hundreds of thousands, and looking at them takes long."""
    _core.spin(20_000)


class Prepared:
    """What FakeBackend prepares: a target, and outputs that are `factor` times the input."""

    def __init__(self, backend: FakeBackend, inputs: Mapping[str, Array]) -> None:
        self.facts = Facts(
            backend=backend.name,
            provider=None,
            loop="native",
            settings=backend.settings,
            load_s=0.1,
            first_inference_ms=1.0,
            log=backend.log,
            threads=backend.threads,
            **backend.facts,
        )
        self._backend = backend
        self._inputs = dict(inputs)
        batch = inputs["x"].shape[0]
        self.target = backend.make_target(lambda: backend.on_call(batch))

    def bind(self, inputs: Mapping[str, Array]) -> None:
        self._inputs = dict(inputs)

    def outputs(self) -> dict[str, Array]:
        return {"y": self._inputs["x"] * self._backend.factor}

    def measuring(self) -> nullcontext[None]:
        return nullcontext()

    def close(self) -> None:
        self._backend.closed += 1


class FakeBackend:
    """A backend that does what a test tells it to."""

    name: ClassVar[str] = ""

    def __init__(
        self,
        name: str,
        *,
        on_prepare: Action = lambda _: None,
        on_call: Action = a_little,
        factor: float = 2.0,
        make_target: MakeTarget = _core.CallableTarget,
    ) -> None:
        self.name = name  # type: ignore[misc]
        self.on_prepare = on_prepare
        self.on_call = on_call
        self.factor = factor
        self.make_target = make_target
        self.prepared = 0
        self.closed = 0
        self.settings: dict[str, Any] = {}
        self.log: tuple[str, ...] = ()
        self.threads: int | None = None
        self.facts: dict[str, Any] = {}  # others than these

    def accepts(self, model: LoadedModel) -> bool:
        return True

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
        return None

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> Prepared:
        self.on_prepare(inputs["x"].shape[0])
        self.prepared += 1
        return Prepared(self, inputs)


class Source:
    """A model without a module; one called "bad" does not load."""

    source = "factory"

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, **_: object) -> LoadedModel:
        if self.name == "bad":
            raise InputError("this one is bad")
        weights = WeightsInfo("factory", 42, "0" * 64)
        return LoadedModel(self.name, self.source, (InputSpec("x", ("batch", 4), "float32"),), weights, 0, None, None)


def executed(
    monkeypatch: pytest.MonkeyPatch, *backends: FakeBackend, raises: type[BaseException] | None = None, **plan: Any
) -> Run:
    """A run of these backends, as far as it went."""
    by_name = {one.name: one for one in backends}
    monkeypatch.setattr(module, "make_backend", lambda name, options: by_name[name])
    monkeypatch.setattr(module, "resolve", Source)
    asked: dict[str, Any] = {
        "models": ("m",), "backends": tuple(by_name), "options": BackendOptions(threads=1), "duration_s": 0.0,
        "max_duration_s": 0.05, "warmup_ms": 1.0,
    }  # fmt: skip
    job = Run(RunPlan(**{**asked, **plan}), command=["pyperf-infer"])
    if raises is None:
        job.execute()
    else:
        with pytest.raises(raises):
            job.execute()
    assert len(job.results) == len(job.samples) == len(job.document("complete").results)
    return job
