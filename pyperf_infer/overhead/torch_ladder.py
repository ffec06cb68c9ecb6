# SPDX-License-Identifier: Apache-2.0
"""The ways of making a request to PyTorch: eager, compiled, and a compiled package through Python and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.backends.torch_aoti import TorchAoti
from pyperf_infer.backends.torch_compile import TorchCompile
from pyperf_infer.backends.torch_eager import TorchEager
from pyperf_infer.overhead.aoti_loader import AotiLoaderPath
from pyperf_infer.overhead.paths import NATIVE_LOOP, BackendPath, Kind, OnceARequest, Request, Rung

if TYPE_CHECKING:
    from pyperf_infer.overhead.paths import CallPath
    from pyperf_infer.overhead.plan import OverheadPlan

EAGER = "eager"


class TorchLadder:
    """PyTorch's rungs. One object a run: it keeps what can serve several batch sizes.

    Raises:
        BackendError: a GPU that is not there, a precision that the CPU has no instructions for. UsageError: options
            that contradict each other.
    """

    def __init__(self, plan: OverheadPlan) -> None:
        self._options, self._compiles = plan.options, plan.compile
        self._eager = TorchEager(plan.options)
        self._compiled = TorchCompile(plan.options) if plan.compile else None
        self._aoti = TorchAoti(plan.options)
        self._packed = OnceARequest(lambda request: self._aoti.convert(request.model, request.shapes))

    def rungs(self) -> list[Rung]:
        """Eager first, whose outputs the others are compared with."""
        compiled = self._compiled
        eager = Rung(
            kind=Kind(runtime="torch", name=EAGER, does="Python calls each operator", same_code=False),
            make=lambda request: BackendPath(self._eager, request),
        )
        loader = Rung(
            kind=Kind(runtime="torch", name="AOTI Python loader", does="Python calls the compiled package"),
            make=self._loader,
        )
        native = Rung(
            kind=Kind(
                runtime="torch",
                name="AOTI native loop",
                does="C calls the compiled package",
                loop=NATIVE_LOOP,
                is_baseline=True,
            ),
            make=self._native,
        )
        if compiled is None:
            return [eager, loader, native]
        by_compile = Rung(
            kind=Kind(
                runtime="torch",
                name="compiled",
                does="Python calls what torch.compile made",
                same_code=False,
            ),
            make=lambda request: BackendPath(compiled, request),
        )
        return [eager, by_compile, loader, native]

    def _loader(self, request: Request) -> CallPath:
        self._packed(request)
        return AotiLoaderPath(request, self._aoti.package_of(request.model, request.shapes), self._options)

    def _native(self, request: Request) -> CallPath:
        self._packed(request)
        return BackendPath(self._aoti, request)
